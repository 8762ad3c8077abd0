//! A hit as one might write it by hand, for one method with one number: what the library is beside that.
//!
//! Its duties are the library's: the key is the same canonical bytes, hashed with a seed and compared in full; the store is
//! bounded, and holds replies of any type with the moment they were asked for; a hit looks at their age, their own lifetime
//! and the latest invalidation, is counted, lets other tasks have their turn, and says how old its answer is. What it need
//! not do is whatever is general: arguments of any shape and size, rules per method, calls with options.

use std::{
    any::Any,
    cell::{Cell, RefCell},
    hash::{BuildHasher, BuildHasherDefault, Hash, Hasher},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use nameko_cachetools::{Clock, Moment};
use quick_cache::{
    Equivalent, UnitWeighter,
    sync::{Cache, DefaultLifecycle},
};

use crate::ready::Ready;

/// A cache of one method's answers.
pub struct ByHand {
    cache: Cache<Stored, Entry, UnitWeighter, BuildHasherDefault<Ready>>,
    seed: foldhash::quality::RandomState,
    /// The nanoseconds of the latest invalidation.
    invalidated: AtomicU64,
    hits: AtomicU64,
}

/// An answer, with its age and its freshness in nanoseconds.
#[allow(missing_docs, reason = "said above")]
pub struct Answer<T> {
    pub value: Arc<T>,
    pub age: u64,
    pub fresh_for: u64,
}

/// Nothing is cached for this call, and this is no client.
#[derive(Clone, Copy)]
pub struct Miss;

#[derive(Clone)]
struct Entry {
    sent_at: Moment,
    fresh_for: u64,
    value: Arc<dyn Any + Send + Sync>,
}

/// An hour, as [`Warm`](crate::Warm) has it.
const FRESH_FOR: u64 = 3_600_000_000_000;

/// `["bench", {}, "get", [` in the library's canonical CBOR.
const PREFIX: &[u8] = b"\x87\x01\x60\x65bench\xa0\x63get\x81";

impl ByHand {
    /// With room for twice as many answers.
    pub fn new(keys: u64) -> Self {
        let room = 2 * keys;
        Self {
            cache: Cache::with(
                room as usize,
                room,
                UnitWeighter,
                BuildHasherDefault::default(),
                DefaultLifecycle::default(),
            ),
            seed: foldhash::quality::RandomState::default(),
            invalidated: AtomicU64::new(0),
            hits: AtomicU64::new(0),
        }
    }

    /// Stores the answer to `get(n)`, asked for now.
    pub fn put<T: Send + Sync + 'static>(&self, n: u64, value: T) {
        let entry = Entry {
            sent_at: Clock::Coarse.now_exact(),
            fresh_for: u64::MAX,
            value: Arc::new(value),
        };
        self.with_key(n, |probe| self.cache.insert(Stored::of(&probe), entry));
    }

    /// The answer to `get(n)`.
    ///
    /// # Errors
    /// There is none.
    pub async fn get<T: Send + Sync + 'static>(&self, n: u64) -> Result<Answer<T>, Miss> {
        thread_local! {
            static HITS: Cell<u8> = const { Cell::new(0) };
        }
        let answer = self.hit(n).ok_or(Miss)?;
        HITS.set(HITS.get().wrapping_add(1));
        if HITS.get().is_multiple_of(8) {
            tokio::task::coop::consume_budget().await;
        }
        Ok(answer)
    }

    /// Makes so many hits, each of a number that depends on what the last one returned, as `next(n, last)`; `last` is what
    /// `read` takes from an answer, 0 at first, and returned in the end.
    ///
    /// # Panics
    /// If there is no answer.
    pub async fn hits<T: Send + Sync + 'static>(
        &self,
        number: u64,
        next: impl Fn(u64, u64) -> u64,
        read: impl Fn(&T) -> u64,
    ) -> u64 {
        let mut last = 0;
        for n in 0..number {
            let answer = self.get(next(n, last)).await;
            last = answer.map(|answer| read(&answer.value)).ok().expect("a hit");
        }
        last
    }

    #[inline(never)]
    fn hit<T: Send + Sync + 'static>(&self, n: u64) -> Option<Answer<T>> {
        let now = Clock::Coarse.now();
        let entry = self.with_key(n, |probe| self.cache.get(&probe))?;
        let sent_at = entry.sent_at.as_nanos();
        let (age, fresh_for) = (
            now.as_nanos().saturating_sub(sent_at),
            FRESH_FOR.min(entry.fresh_for),
        );
        if age >= fresh_for || sent_at <= self.invalidated.load(Ordering::Acquire) {
            return None;
        }
        let value = entry.value.downcast().ok()?;
        self.hits.fetch_add(1, Ordering::Relaxed);
        Some(Answer {
            value,
            age,
            fresh_for,
        })
    }

    fn with_key<R>(&self, n: u64, f: impl FnOnce(Probe<'_>) -> R) -> R {
        thread_local! {
            static BUFFER: RefCell<Vec<u8>> = RefCell::new(PREFIX.to_vec());
        }
        BUFFER.with_borrow_mut(|bytes| {
            bytes.truncate(PREFIX.len());
            match n {
                0..24 => bytes.push(n as u8),
                24..0x100 => bytes.extend_from_slice(&[24, n as u8]),
                _ => {
                    bytes.push(27);
                    bytes.extend_from_slice(&n.to_be_bytes());
                }
            }
            bytes.push(0xa0);
            let hash = self.seed.hash_one(Raw(bytes));
            f(Probe { hash, bytes })
        })
    }
}

/// Bytes as they are, without the length that `[u8]` adds.
struct Raw<'a>(&'a [u8]);

impl Hash for Raw<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write(self.0);
    }
}

/// A key to look up with.
struct Probe<'a> {
    hash: u64,
    bytes: &'a [u8],
}

impl Hash for Probe<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.hash);
    }
}

impl Equivalent<Stored> for Probe<'_> {
    fn equivalent(&self, stored: &Stored) -> bool {
        self.hash == stored.hash && self.bytes == &stored.bytes[..usize::from(stored.length)]
    }
}

/// A key as the cache holds it.
#[derive(PartialEq, Eq)]
struct Stored {
    hash: u64,
    length: u8,
    bytes: [u8; 46],
}

impl Stored {
    fn of(probe: &Probe<'_>) -> Self {
        let mut bytes = [0; 46];
        bytes[..probe.bytes.len()].copy_from_slice(probe.bytes);
        Self {
            hash: probe.hash,
            length: probe.bytes.len() as u8,
            bytes,
        }
    }
}

impl Hash for Stored {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.hash);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn it_does_its_duties() {
        let cache = ByHand::new(1000);
        for n in 0..1000 {
            cache.put(n, n);
        }
        for n in 0..1000 {
            let answer = cache.get::<u64>(n).await.ok().expect("it is there");
            assert!(*answer.value == n && answer.age < answer.fresh_for);
        }
        assert!(cache.get::<u64>(1000).await.is_err() && cache.get::<u32>(0).await.is_err());
        cache.invalidated.store(u64::MAX, Ordering::Release);
        assert!(cache.get::<u64>(0).await.is_err());
        assert_eq!(cache.hits.load(Ordering::Relaxed), 1000);
    }
}
