//! The store within the process: bounded by entries, by bytes and by age.

use std::{
    fmt,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use quick_cache::{OptionsBuilder, Weighter, sync::Cache};

use super::{
    Peek, Put, Store,
    let_go::{LetGo, LetGoLater},
    slot_key::{Probe, SlotKey},
};
use crate::{
    clock::{Moment, saturated},
    entry::Entry,
    error::StoreError,
    key::{ByKey, Key},
    sync::Mutex,
};

/// Keeps replies in memory, bounded by number, by bytes and, if wanted, by age. Cloning it shares it.
///
/// Under pressure it evicts what was not asked for lately or often (CLOCK-PRO, which resists scans): newcomers have
/// a twenty-fifth of the room to share until they are asked for, or put, again. A reply that would take more than an eighth
/// of the bytes is not kept, and the one it would have replaced stays. Each entry is charged about
/// `max_bytes / max_entries` at least, which is how one budget bounds both.
///
/// ```
/// use nameko_cachetools::MemoryStore;
/// use std::time::Duration;
///
/// let store = MemoryStore::ttl(1024, Duration::from_secs(30)); // 1,024 interactions, 30 s each
/// let other = MemoryStore::builder().max_entries(100_000).max_bytes(256 << 20).build();
/// ```
#[derive(Clone)]
pub struct MemoryStore(Arc<Inner>);

struct Inner {
    cache: Cache<SlotKey, Entry, Weigh, ByKey, LetGoLater>,
    weigh: Weigh,
    max_entry_weight: u64,
    time_to_live: Option<Duration>,
    /// The same in nanoseconds.
    life: u64,
    too_large: AtomicU64,
    /// One of these is held while an entry is put, by its key.
    puts: [Mutex<()>; PUT_LOCKS],
}

const PUT_LOCKS: usize = 16;

/// How much of a full store belongs to what was asked for or put again; the rest is for newcomers. With more, they would
/// be gone before anybody asks for them a second time; with less, scans would push out what is in use.
const HOT: f64 = 0.96;

impl Default for MemoryStore {
    /// 10,000 entries and 64 MiB: small beside a service, large beside what one usually asks for.
    fn default() -> Self {
        Self::builder().build()
    }
}

impl MemoryStore {
    /// The default bounds: 10,000 entries, 64 MiB, any age.
    pub fn new() -> Self {
        Self::default()
    }

    /// At most `max_entries` entries, each for `time_to_live` after its request was sent, and 64 MiB in all.
    ///
    /// This is what `TTLCache(1024, 30)` promises. (In the Python original it bounds neither: the cache holds one dict
    /// per service, which every call renews.)
    pub fn ttl(max_entries: usize, time_to_live: Duration) -> Self {
        Self::builder()
            .max_entries(max_entries)
            .time_to_live(time_to_live)
            .build()
    }

    /// Other bounds.
    pub fn builder() -> MemoryStoreBuilder {
        MemoryStoreBuilder {
            max_entries: 10_000,
            max_bytes: 64 << 20,
            time_to_live: None,
        }
    }

    /// How many entries it holds now, those too old to answer with included.
    pub fn len(&self) -> usize {
        self.0.cache.len()
    }

    /// Whether it holds none.
    pub fn is_empty(&self) -> bool {
        self.0.cache.is_empty()
    }

    /// How many replies were too large to be kept.
    pub fn rejected_too_large(&self) -> u64 {
        self.0.too_large.load(Ordering::Relaxed)
    }

    #[inline(always)]
    pub(super) fn look_up(&self, key: &Key, now: Moment) -> Option<Entry> {
        let entry = self.0.cache.get(&Probe(key))?;
        if now.nanos_since(entry.sent_at) < self.0.life {
            return Some(entry);
        }
        self.forget_too_old(key, entry);
        None
    }

    #[cold]
    #[inline(never)]
    fn forget_too_old(&self, key: &Key, entry: Entry) {
        // Letting go of a value runs its owner's code: the call goes on, whatever that does.
        let let_go = catch_unwind(AssertUnwindSafe(|| {
            self.0.cache.remove_if(&Probe(key), |there| there.is(&entry));
            drop(entry);
        }));
        if let_go.is_err() {
            tracing::warn!("a cached value panicked when it was dropped, too old to answer with");
        }
    }

    pub(super) fn insert(&self, key: &Key, entry: Entry) -> Put {
        let slot_key = SlotKey::new(key);
        // A heavier entry would be refused by the cache, and take the one it replaces with it.
        if self.0.weigh.weight(&slot_key, &entry) > self.0.max_entry_weight {
            self.0.too_large.fetch_add(1, Ordering::Relaxed);
            return Put::TooLarge;
        }
        // Both are declared before the lock, and so dropped after it: who removes what is there, leaves it to us.
        let mut let_go = LetGo::default();
        let there;
        // Comparing and inserting have to be one step. The cache's own way to do that would let a full cache evict the
        // new entry at once, in favour of those that it knows better.
        let _turn = self.0.puts[key.hash64() as usize % PUT_LOCKS]
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        there = self.0.cache.peek(&Probe(key));
        if there.as_ref().is_some_and(|there| there.is_newer_than(&entry)) {
            return Put::Older;
        }
        self.0.cache.insert_with_lifecycle(slot_key, entry, &mut let_go);
        Put::Stored
    }
}

impl fmt::Debug for MemoryStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryStore")
            .field("entries", &self.len())
            .field("time_to_live", &self.0.time_to_live)
            .finish_non_exhaustive()
    }
}

#[async_trait]
impl Store for MemoryStore {
    #[inline]
    fn peek(&self, key: &Key, now: Moment) -> Peek {
        self.look_up(key, now).into()
    }

    async fn get(&self, key: &Key, now: Moment) -> Result<Option<Entry>, StoreError> {
        Ok(self.look_up(key, now))
    }

    async fn put(&self, key: &Key, entry: Entry) -> Result<Put, StoreError> {
        Ok(self.insert(key, entry))
    }

    async fn remove(&self, key: &Key, seen: Option<&Entry>) -> Result<bool, StoreError> {
        let matches = |there: &Entry| seen.is_none_or(|seen| seen.is(there));
        Ok(self.0.cache.remove_if(&Probe(key), matches).is_some())
    }

    async fn clear(&self) -> Result<(), StoreError> {
        // Taken out one by one, and let go of when all are.
        let _all: Vec<_> = self.0.cache.drain().collect();
        Ok(())
    }

    fn time_to_live(&self) -> Option<Duration> {
        self.0.time_to_live
    }
}

/// The bounds of a [`MemoryStore`].
#[derive(Debug, Clone)]
#[must_use]
pub struct MemoryStoreBuilder {
    max_entries: usize,
    max_bytes: usize,
    time_to_live: Option<Duration>,
}

impl MemoryStoreBuilder {
    /// Most entries, at least 1. Default: 10,000.
    pub fn max_entries(mut self, entries: usize) -> Self {
        self.max_entries = entries.max(1);
        self
    }

    /// Most bytes of keys and entries, at least 1 KiB. Default: 64 MiB. What an entry takes is [estimated](Entry::weight)
    /// by its text: where values are `serde_json::Value`s, expect several times as much.
    pub fn max_bytes(mut self, bytes: usize) -> Self {
        self.max_bytes = bytes.max(1024);
        self
    }

    /// The age, since its request was sent, from which on an entry is no answer any more. Default: none.
    pub fn time_to_live(mut self, life: Duration) -> Self {
        self.time_to_live = Some(life);
        self
    }

    /// Makes the store.
    pub fn build(self) -> MemoryStore {
        // A budget is split evenly over shards: only large ones have several, or the split would be felt.
        const BYTES_PER_SHARD: usize = 4 << 20;
        const ENTRIES_PER_SHARD: usize = 1024;
        let shards = (self.max_bytes / BYTES_PER_SHARD)
            .min(self.max_entries / ENTRIES_PER_SHARD)
            .clamp(1, 64);
        // More than any machine has, and little enough for sums of it.
        const MOST_BYTES: u64 = 1 << 60;
        // Between 1/n and 1/(n+1) of the budget: n entries fit, n+1 don't, and even one leaves the cache its slack.
        let (capacity, entries) = ((self.max_bytes as u64).min(MOST_BYTES), self.max_entries as u64);
        let weigh = Weigh {
            least: (capacity * 2 / entries.saturating_mul(2).saturating_add(1)).max(1),
        };
        // Of half as many as fit, the cache remembers for a while that they were there.
        let nothing = (
            SlotKey::new(&Key::from_bytes([])),
            Entry::new(Moment::default(), ""),
        );
        let fit = entries.min(capacity / weigh.weight(&nothing.0, &nothing.1)) as usize;
        let options = OptionsBuilder::new()
            .estimated_items_capacity(fit)
            .weight_capacity(capacity)
            .hot_allocation(HOT)
            .shards(if shards.is_power_of_two() {
                shards
            } else {
                shards.next_power_of_two() / 2
            })
            .build();
        let cache = match options {
            Ok(options) => Cache::with_options(options, weigh, ByKey::default(), LetGoLater),
            Err(_) => Cache::with(fit, capacity, weigh, ByKey::default(), LetGoLater),
        };
        // The cache refuses what fills more of a shard than its hot part.
        let max_entry_weight = (cache.shard_capacity() / 100 * 88).min((capacity / 8).max(weigh.least));
        MemoryStore(Arc::new(Inner {
            cache,
            weigh,
            max_entry_weight,
            time_to_live: self.time_to_live,
            life: self.time_to_live.map_or(u64::MAX, saturated),
            too_large: AtomicU64::new(0),
            puts: Default::default(),
        }))
    }
}

/// What an entry is charged.
#[derive(Clone, Copy)]
struct Weigh {
    least: u64,
}

impl Weighter<SlotKey, Entry> for Weigh {
    fn weight(&self, key: &SlotKey, entry: &Entry) -> u64 {
        ((size_of::<SlotKey>() + key.heap_bytes() + entry.weight()) as u64).max(self.least)
    }
}

#[cfg(test)]
mod tests;
