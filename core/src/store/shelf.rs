//! The engine's side of a store: whatever a store does, a call ends no worse than without one.

use std::{
    future::{Future, poll_fn, ready},
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::sync::Semaphore;

use super::{Peek, Put, Store};
use crate::{
    clock::{Clock, Moment},
    entry::{Entry, Sent},
    error::{StoreError, Timer},
    key::Key,
};

/// A store behind a guard: errors, panics and stalls become misses, counted and traced.
pub(crate) struct Shelf {
    store: Arc<dyn Store>,
    clock: Clock,
    /// The longest wait for one operation.
    timeout: Duration,
    /// Places for entries being put in the background.
    writes: Arc<Semaphore>,
    troubles: AtomicU64,
}

/// Most entries being put in the background; the surplus is not stored, and counted.
const MAX_WRITES: usize = 256;

/// An operation of a store, as async-trait boxes it.
type Operation<'a, T> = Pin<Box<dyn Future<Output = Result<T, StoreError>> + Send + 'a>>;

impl Shelf {
    pub(crate) fn new(store: Arc<dyn Store>, clock: Clock, timeout: Duration) -> Self {
        Self {
            store,
            clock,
            timeout,
            writes: Arc::new(Semaphore::new(MAX_WRITES)),
            troubles: AtomicU64::new(0),
        }
    }

    /// How many operations failed, stalled or panicked.
    pub(crate) fn troubles(&self) -> u64 {
        self.troubles.load(Ordering::Relaxed)
    }

    /// The store's synchronous answer.
    #[inline]
    pub(crate) fn peek(&self, key: &Key, now: Moment) -> Peek {
        catch_unwind(AssertUnwindSafe(|| self.store.peek(key, now))).unwrap_or_else(|_| {
            self.trouble("peek", "it panicked");
            Peek::Miss
        })
    }

    /// The entry under `key`, or none, within the time limit.
    pub(crate) async fn look_up(&self, key: &Key) -> Option<Entry> {
        let now = self.clock.now();
        match self.peek(key, now) {
            Peek::Hit(entry) => Some(entry),
            Peek::Miss => None,
            Peek::Ask => {
                self.bounded("get", catch_unwind(AssertUnwindSafe(|| self.store.get(key, now))))
                    .await?
            }
        }
    }

    /// Stores `entry` and says what became of it. A store that doesn't do so at once is left to it in the background
    /// (`None`): no reply waits for a store.
    pub(crate) async fn put(self: &Arc<Self>, key: &Key, entry: Entry) -> Option<Put> {
        let (shelf, owned) = (Arc::clone(self), key.clone());
        let mut put: Pin<Box<dyn Future<Output = Option<Put>> + Send>> = Box::pin(async move {
            let put = catch_unwind(AssertUnwindSafe(|| shelf.store.put(&owned, entry)));
            shelf.bounded("put", put).await
        });
        tokio::select! {
            biased;
            put = &mut put => return put,
            () = ready(()) => {}
        }
        match Arc::clone(&self.writes).try_acquire_owned() {
            Err(_) => self.trouble("put", format_args!("{MAX_WRITES} others are under way")),
            Ok(place) => _ = tokio::spawn(async move { (put.await, place) }),
        }
        None
    }

    /// Forgets what is stored under `key`; with `seen`, only if that is it.
    pub(crate) async fn remove(&self, key: &Key, seen: Option<&Entry>) {
        self.bounded(
            "remove",
            catch_unwind(AssertUnwindSafe(|| self.store.remove(key, seen))),
        )
        .await;
    }

    /// Forgets what is stored under `key`, if it was asked for before `sent`.
    pub(crate) async fn evict(&self, key: &Key, sent: Sent) {
        if let Some(entry) = self.look_up(key).await
            && entry.sent() < sent
        {
            self.remove(key, Some(&entry)).await;
        }
    }

    async fn bounded<T>(
        &self,
        name: &'static str,
        operation: std::thread::Result<Operation<'_, T>>,
    ) -> Option<T> {
        let Ok(mut operation) = operation else {
            self.trouble(name, "it panicked");
            return None;
        };
        let guarded = poll_fn(
            |cx| match catch_unwind(AssertUnwindSafe(|| operation.as_mut().poll(cx))) {
                Ok(poll) => poll.map(Ok),
                Err(_) => std::task::Poll::Ready(Err("it panicked")),
            },
        );
        match tokio::time::timeout(self.timeout, guarded).await {
            Ok(Ok(Ok(value))) => return Some(value),
            Ok(Ok(Err(error))) => self.trouble(name, error),
            Ok(Err(panic)) => self.trouble(name, panic),
            Err(_) => self.trouble(
                name,
                format_args!("{} of {:?} ran out", Timer::StoreTimeout, self.timeout),
            ),
        }
        None
    }

    #[cold]
    fn trouble(&self, operation: &'static str, what: impl std::fmt::Display) {
        self.troubles.fetch_add(1, Ordering::Relaxed);
        tracing::warn!(
            operation,
            "the store is in trouble, the call goes on without it: {what}"
        );
    }
}
