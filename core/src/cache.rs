//! What makes calls cached: a store and what is under way to it, and what invalidations and clocks leave of what is in it.

use std::{
    any::type_name,
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use serde::de::DeserializeOwned;
use tokio::time::Instant;

use crate::{
    client::Client,
    clock::Moment,
    entry::{Ahead, Entry, Held, Slot},
    error::CallError,
    flight::Flights,
    invalidate::{Epochs, Verdict},
    key::Key,
    methods::Methods,
    route::Route,
    store::Shelf,
    wire,
};

/// The cache of one proxy.
pub(crate) struct Cache {
    pub(crate) shelf: Arc<Shelf>,
    pub(crate) flights: Arc<Flights>,
    pub(crate) epochs: Arc<Epochs>,
    pub(crate) methods: Methods,
    masked: Mutex<BTreeMap<String, u64>>,
}

impl Cache {
    pub(crate) fn new(client: &Client, shelf: Shelf, methods: Methods) -> Self {
        let (shelf, epochs) = (Arc::new(shelf), Arc::clone(client.epochs()));
        let transport = Arc::clone(client.transport());
        Self {
            flights: Flights::new(transport, client.clock(), Arc::clone(&shelf), Arc::clone(&epochs)),
            masked: Mutex::default(),
            shelf,
            epochs,
            methods,
        }
    }

    /// The stored entry, and what invalidations leave of it, and clocks that differ.
    pub(crate) async fn view(
        &self,
        key: &Key,
        route: &Route,
        call_ends: Option<Instant>,
    ) -> Option<(Entry, Verdict)> {
        let entry = self.shelf.look_up(key, call_ends).await?;
        let by_invalidation = self.epochs.judge(entry.sent(), key, route, entry.tags());
        let by_clock = match entry.ahead(self.shelf.now()) {
            Ahead::No => Verdict::Untouched,
            Ahead::Skewed => Verdict::Expired,
            Ahead::Beyond => Verdict::Gone,
        };
        Some((entry, by_invalidation.max(by_clock)))
    }

    /// The stored entry, and whether an invalidation made it stale. What an invalidation forbids is forgotten.
    pub(crate) async fn look_up(
        &self,
        key: &Key,
        route: &Route,
        call_ends: Option<Instant>,
    ) -> Option<(Entry, bool)> {
        match self.view(key, route, call_ends).await? {
            (entry, Verdict::Gone) if entry.ahead(self.shelf.now()) == Ahead::Beyond => {
                // Whose clock is wrong is not known. If it is ours, others need this entry.
                self.shelf.note_beyond();
                None
            }
            (entry, Verdict::Gone) => {
                self.shelf.forget(key, entry).await;
                None
            }
            (entry, verdict) => Some((entry, verdict == Verdict::Expired)),
        }
    }

    /// What a hit found, if no invalidation was about it: others came meanwhile.
    #[inline(never)]
    pub(crate) fn untouched(
        &self,
        service: &str,
        method: &str,
        key: &Key,
        sent_at: Moment,
        slot: Arc<dyn Held>,
    ) -> Option<Arc<dyn Held>> {
        let untouched = self
            .epochs
            .none_of_it_since(sent_at, key, service, method, slot.tags());
        untouched.then_some(slot)
    }

    /// Counts an error that a cached answer stands in for, and warns once of each kind.
    pub(crate) fn count_masked(&self, route: &Route, error: &CallError) {
        const MOST: usize = 64;
        let kind = match error.remote() {
            Some(remote) => remote
                .exc_type
                .chars()
                .take(128)
                .flat_map(char::escape_debug)
                .collect(),
            None => format!("{:?}", error.class()),
        };
        let mut masked = self.masked.lock().unwrap_or_else(PoisonError::into_inner);
        let kind = if masked.len() < MOST || masked.contains_key(&kind) {
            kind
        } else {
            "others".to_owned()
        };
        let count = masked.entry(kind.clone()).or_default();
        *count += 1;
        let is_first = *count == 1;
        // Whoever is told may ask for the counts.
        drop(masked);
        if is_first {
            tracing::warn!(%route, error = kind, "cached answers stand in for an error of this kind; warned of once");
        }
    }

    /// How often cached answers stood in for errors, by their kind.
    pub(crate) fn masked(&self) -> BTreeMap<String, u64> {
        self.masked.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// The value of an entry as a `T`: the one it holds, or one decoded from its text, which leaves the entry alone.
pub(crate) fn value_of<T>(route: &Route, entry: Entry) -> Result<Arc<Slot<T>>, CallError>
where
    T: DeserializeOwned + Send + Sync + 'static,
{
    if entry.holds::<T>()
        && let Some(slot) = entry.slot.clone().downcast()
    {
        return Ok(slot);
    }
    tracing::trace!(%route, expected = type_name::<T>(), "the cached reply is decoded for another type");
    let value = wire::decode(route, entry.body())?;
    Ok(Arc::new(Slot::alone(value)))
}
