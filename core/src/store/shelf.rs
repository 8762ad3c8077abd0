//! The engine's side of a store: whatever a store does, a call ends no worse than without one.

use std::{
    any::Any,
    future::{Future, poll_fn, ready},
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::{sync::Semaphore, time::Instant};

use super::{MemoryStore, Peek, Put, Store};
use crate::{
    clock::{Clock, Moment},
    entry::{Ahead, Entry, Sent},
    error::{StoreError, Timer},
    key::Key,
    sync,
};

/// A store as a proxy's builder keeps it. The one in memory is known by its type, so that a hit needs no virtual
/// call, and a reply that is put no box.
#[derive(Clone)]
pub(crate) struct AnyStore {
    store: Arc<dyn Store>,
    memory: Option<MemoryStore>,
}

impl AnyStore {
    pub(crate) fn new(store: impl Store) -> Self {
        Self {
            memory: (&store as &dyn Any).downcast_ref().cloned(),
            store: Arc::new(store),
        }
    }

    pub(crate) fn time_to_live(&self) -> Option<Duration> {
        self.store.time_to_live()
    }
}

/// A store behind a guard: errors, panics and stalls become misses, counted and traced.
pub(crate) struct Shelf {
    store: Arc<dyn Store>,
    memory: Option<MemoryStore>,
    clock: Clock,
    /// The longest wait for one operation.
    timeout: Duration,
    /// Places for operations in the background.
    writes: Arc<Semaphore>,
    troubles: AtomicU64,
    /// Whether an entry was found that comes from beyond any clock's error.
    beyond: AtomicBool,
}

/// Most operations in the background; the surplus is left undone, and counted.
const MAX_WRITES: usize = 256;

/// An operation of a store, as async-trait boxes it.
type Operation<'a, T> = Pin<Box<dyn Future<Output = Result<T, StoreError>> + Send + 'a>>;

impl Shelf {
    pub(crate) fn new(store: AnyStore, clock: Clock, timeout: Duration) -> Self {
        Self {
            store: store.store,
            memory: store.memory,
            clock,
            timeout,
            writes: Arc::new(Semaphore::new(MAX_WRITES)),
            troubles: AtomicU64::new(0),
            beyond: AtomicBool::new(false),
        }
    }

    /// How many operations failed, stalled or panicked.
    pub(crate) fn troubles(&self) -> u64 {
        self.troubles.load(Ordering::Relaxed)
    }

    /// The time to reckon ages by.
    pub(crate) fn now(&self) -> Moment {
        self.clock.now()
    }

    /// The entry under `key`, if the store has it at once.
    #[inline]
    pub(crate) fn peek(&self, key: &Key, now: Moment) -> Option<Entry> {
        match &self.memory {
            Some(memory) => memory.look_up(key, now),
            None => match self.peek_guarded(key, now) {
                Peek::Hit(entry) => Some(entry),
                Peek::Miss | Peek::Ask => None,
            },
        }
    }

    fn peek_guarded(&self, key: &Key, now: Moment) -> Peek {
        catch_unwind(AssertUnwindSafe(|| self.store.peek(key, now))).unwrap_or_else(|_| {
            self.trouble("peek", "it panicked");
            Peek::Miss
        })
    }

    /// The entry under `key`, or none, within the time limit, and at most one time limit after `call_ends`.
    pub(crate) async fn look_up(&self, key: &Key, call_ends: Option<Instant>) -> Option<Entry> {
        let now = self.clock.now();
        match self.peek_guarded(key, now) {
            Peek::Hit(entry) => Some(entry),
            Peek::Miss => None,
            Peek::Ask => {
                let latest = call_ends.and_then(|ends| ends.checked_add(self.timeout));
                let limit = latest.map_or(self.timeout, |latest| latest.duration_since(Instant::now()));
                let get = catch_unwind(AssertUnwindSafe(|| self.store.get(key, now)));
                self.bounded("get", limit, get).await?
            }
        }
    }

    /// Stores `entry` and says what became of it. A store that doesn't do so at once is left to it in the background
    /// (`None`): no reply waits for a store.
    pub(crate) async fn put(self: &Arc<Self>, key: &Key, entry: Entry) -> Option<Put> {
        if let Some(memory) = &self.memory {
            // Guarded all the same: dropping the value that is replaced runs its owner's code.
            let put = catch_unwind(AssertUnwindSafe(|| memory.insert(key, entry)));
            return put.map_err(|_| self.trouble("put", "it panicked")).ok();
        }
        let (shelf, key) = (Arc::clone(self), key.clone());
        let put = Box::pin(async move {
            let put = shelf.put_once(&key, entry.clone()).await;
            if put == Some(Put::Older) && shelf.forget_beyond(&key).await {
                return shelf.put_once(&key, entry).await;
            }
            put
        });
        self.at_once_or_behind("put", put).await
    }

    async fn put_once(&self, key: &Key, entry: Entry) -> Option<Put> {
        let put = catch_unwind(AssertUnwindSafe(|| self.store.put(key, entry)));
        self.bounded("put", self.timeout, put).await
    }

    /// Remembers that an entry was found that comes from beyond any clock's error. It is no answer, and it keeps its
    /// place until a reply is there to take it.
    pub(crate) fn note_beyond(&self) {
        self.beyond.store(true, Ordering::Relaxed);
    }

    /// Forgets what is stored under `key` if it is of that kind.
    async fn forget_beyond(&self, key: &Key) -> bool {
        if !self.beyond.load(Ordering::Relaxed) {
            return false;
        }
        match self.look_up(key, None).await {
            Some(there) if there.ahead(self.now()) == Ahead::Beyond => {
                self.remove(key, Some(&there)).await;
                true
            }
            _ => false,
        }
    }

    /// Forgets this entry under `key`, if it is still there. No reply waits for that either.
    pub(crate) async fn forget(self: &Arc<Self>, key: &Key, seen: Entry) {
        let (shelf, key) = (Arc::clone(self), key.clone());
        let remove = Box::pin(async move {
            shelf.remove(&key, Some(&seen)).await;
            // Its last owner runs its value's own code.
            if catch_unwind(AssertUnwindSafe(|| drop(seen))).is_err() {
                shelf.trouble("remove", "a value panicked when it was dropped");
            }
            None::<()>
        });
        self.at_once_or_behind("remove", remove).await;
    }

    /// What comes of `operation`, if it ends at once; else it goes on in the background, and `None`.
    async fn at_once_or_behind<T: Send + 'static>(
        &self,
        name: &'static str,
        mut operation: Pin<Box<impl Future<Output = Option<T>> + Send + 'static>>,
    ) -> Option<T> {
        tokio::select! {
            biased;
            result = &mut operation => return result,
            () = ready(()) => {}
        }
        match Arc::clone(&self.writes).try_acquire_owned() {
            Err(_) => self.trouble(name, format_args!("{MAX_WRITES} others are under way")),
            Ok(place) => {
                sync::spawn(async move { (operation.await, place) });
            }
        }
        None
    }

    /// Forgets what is stored under `key`; with `seen`, only if that is it.
    pub(crate) async fn remove(&self, key: &Key, seen: Option<&Entry>) {
        self.remove_within(self.timeout, key, seen).await;
    }

    async fn remove_within(&self, limit: Duration, key: &Key, seen: Option<&Entry>) {
        let remove = catch_unwind(AssertUnwindSafe(|| self.store.remove(key, seen)));
        self.bounded("remove", limit, remove).await;
    }

    /// Forgets what is stored under `key`, if it was asked for before `sent`. Takes no longer than one operation may.
    pub(crate) async fn evict(&self, key: &Key, sent: Sent) {
        let began = Instant::now();
        if let Some(entry) = self.look_up(key, None).await
            && entry.sent() < sent
        {
            let left = self.timeout.saturating_sub(began.elapsed());
            self.remove_within(left, key, Some(&entry)).await;
        }
    }

    /// Boxed, so that calls that wait for no store are not as large as those that do.
    async fn bounded<T>(
        &self,
        name: &'static str,
        limit: Duration,
        operation: std::thread::Result<Operation<'_, T>>,
    ) -> Option<T> {
        match operation {
            Ok(operation) => Box::pin(self.guarded(name, limit, operation)).await,
            Err(_) => {
                self.trouble(name, "it panicked");
                None
            }
        }
    }

    async fn guarded<T>(
        &self,
        name: &'static str,
        limit: Duration,
        mut operation: Operation<'_, T>,
    ) -> Option<T> {
        let guarded = poll_fn(
            |cx| match catch_unwind(AssertUnwindSafe(|| operation.as_mut().poll(cx))) {
                Ok(poll) => poll.map(Ok),
                Err(_) => std::task::Poll::Ready(Err("it panicked")),
            },
        );
        let ended = sync::timeout(limit.min(self.timeout), guarded).await;
        // A future that is given up may panic, too.
        let _ = catch_unwind(AssertUnwindSafe(|| drop(operation)));
        match ended {
            Ok(Ok(Ok(value))) => return Some(value),
            Ok(Ok(Err(error))) => self.trouble(name, error),
            Ok(Err(panic)) => self.trouble(name, panic),
            Err(_) => self.trouble(
                name,
                format_args!("{} of {:?} ran out", Timer::StoreTimeout, limit.min(self.timeout)),
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
