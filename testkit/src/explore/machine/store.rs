//! A store that can be slow and in trouble, and writes down what it does.

use std::{
    future::pending,
    panic::resume_unwind,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use nameko_cachetools::{Clock, Entry, Key, MemoryStore, Moment, Peek, Put, Store, StoreError};
use serde_json::Value;
use tokio::time::sleep;

use super::{
    log::{Became, Event, Found, Log, Number},
    schedule::{Ms, StoreSetup, Trouble},
};

/// The store of one run. A clone is the same store.
#[derive(Clone)]
pub(super) struct Recorded {
    inner: MemoryStore,
    log: Log,
    latency: Option<Ms>,
    trouble: Arc<Mutex<Option<Trouble>>>,
}

impl Recorded {
    pub(super) fn new(setup: &StoreSetup, log: &Log) -> Self {
        Self {
            inner: match setup.time_to_live {
                None => MemoryStore::builder().max_entries(64).build(),
                Some(life) => MemoryStore::ttl(64, Duration::from_millis(life)),
            },
            log: log.clone(),
            latency: setup.latency,
            trouble: Arc::default(),
        }
    }

    /// From now on it is in this trouble, or in none.
    pub(super) fn set_trouble(&self, trouble: Option<Trouble>) {
        *self.trouble.lock().unwrap_or_else(PoisonError::into_inner) = trouble;
    }

    /// What every operation does first: take its time, and fail if the store is in trouble by then.
    async fn work(&self) -> Result<(), StoreError> {
        if let Some(latency) = self.latency.filter(|latency| *latency > 0) {
            sleep(Duration::from_millis(latency)).await;
        }
        match self.trouble() {
            None => Ok(()),
            Some(Trouble::Error) => Err(StoreError::new("as planned")),
            Some(Trouble::Stall) => pending().await,
            Some(Trouble::Panic) => resume_unwind(Box::new("as planned")),
        }
    }

    fn trouble(&self) -> Option<Trouble> {
        *self.trouble.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn read(&self, key: &Key, entry: Option<&Entry>) {
        let found = entry.map_or(Found::Nothing, |entry| Found::Entry {
            number: number(entry),
            sent: self.log.since_start(entry.sent_at()),
        });
        self.log.add(Event::Read {
            by: self.log.owner(),
            key: self.log.key(key),
            found,
        });
    }
}

/// An operation that has begun. Dropped without an end, it writes down that it failed.
struct Operation<'a> {
    log: &'a Log,
    failed: Option<Event>,
}

impl Drop for Operation<'_> {
    fn drop(&mut self) {
        if let Some(failed) = self.failed.take() {
            self.log.add(failed);
        }
    }
}

#[async_trait]
impl Store for Recorded {
    fn peek(&self, key: &Key, now: Moment) -> Peek {
        if self.latency.is_some() {
            return Peek::Ask;
        }
        if self.trouble().is_some() {
            let (by, key) = (self.log.owner(), self.log.key(key));
            let found = Found::Trouble;
            self.log.add(Event::Read { by, key, found });
            resume_unwind(Box::new("as planned")); // a store that answers at once has no other trouble
        }
        let peeked = self.inner.peek(key, now);
        let entry = match &peeked {
            Peek::Hit(entry) => Some(entry),
            _ => None,
        };
        self.read(key, entry);
        peeked
    }

    async fn get(&self, key: &Key, _: Moment) -> Result<Option<Entry>, StoreError> {
        let by = self.log.owner();
        self.log.add(Event::Reading { by });
        let mut operation = Operation {
            log: &self.log,
            failed: Some(Event::Read {
                by,
                key: self.log.key(key),
                found: Found::Trouble,
            }),
        };
        self.work().await?;
        operation.failed = None;
        let entry = self.inner.get(key, Clock::Tokio.now()).await?;
        self.read(key, entry.as_ref());
        Ok(entry)
    }

    async fn put(&self, key: &Key, entry: Entry) -> Result<Put, StoreError> {
        let (by, number, id) = (self.log.owner(), number(&entry), self.log.key(key));
        self.log.add(Event::Putting { by, key: id, number });
        let put = |became| Event::Put {
            by: self.log.owner(),
            key: id,
            number,
            became,
        };
        let mut operation = Operation {
            log: &self.log,
            failed: Some(put(Became::Trouble)),
        };
        self.work().await?;
        operation.failed = None;
        let became = self.inner.put(key, entry).await?;
        self.log.add(put(match became {
            Put::Stored => Became::Stored,
            Put::Older => Became::Older,
            _ => Became::Trouble,
        }));
        Ok(became)
    }

    async fn remove(&self, key: &Key, seen: Option<&Entry>) -> Result<bool, StoreError> {
        let (by, number, id) = (self.log.owner(), seen.map_or(0, number), self.log.key(key));
        self.log.add(Event::Removing { by, number });
        let removed = |was_there| Event::Removed {
            by,
            key: id,
            number,
            was_there,
        };
        let mut operation = Operation {
            log: &self.log,
            failed: Some(removed(None)),
        };
        self.work().await?;
        operation.failed = None;
        let was_there = self.inner.remove(key, seen).await?;
        self.log.add(removed(Some(was_there)));
        Ok(was_there)
    }

    async fn clear(&self) -> Result<(), StoreError> {
        self.inner.clear().await?;
        self.log.add(Event::Cleared);
        Ok(())
    }

    fn time_to_live(&self) -> Option<Duration> {
        self.inner.time_to_live()
    }
}

/// The request that brought an entry: services write it into their answers.
fn number(entry: &Entry) -> Number {
    let result: Value = serde_json::from_slice(entry.body()).unwrap_or_default();
    result["number"]
        .as_u64()
        .or_else(|| result["odd"].as_u64())
        .unwrap_or(0)
}
