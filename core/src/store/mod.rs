//! The trait for places that keep good replies.

mod let_go;
mod map;
mod memory;
mod shelf;
mod slot_key;

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;

pub use memory::{MemoryStore, MemoryStoreBuilder};
pub(crate) use shelf::{AnyStore, Shelf};

use crate::{clock::Moment, entry::Entry, error::StoreError, key::Key};

/// Keeps entries under keys.
///
/// A store knows nothing of freshness or services; it may lose any entry at any time (that is what capacity means)
/// but must never invent one.
///
/// # Contract for implementors
/// - **Own key only.** `get` answers with the entry that was put under that whole key, or with none. Compare keys in
///   full, or by [`Key::digest`]; a hash alone is not an identity.
/// - **The newer wins.** `put` keeps whichever of the old and the new entry [is newer](Entry::is_newer_than), also
///   when they are put at the same time.
/// - **Nothing gets younger.** Keep [`Entry::sent_at`] as it is; never set it to the time of storing.
/// - **Trouble is a miss.** Errors are for the caller to count: no failing or stalling store ever fails a call that
///   the service could answer. Calls bound their wait for `get`.
/// - **Cancellation.** Futures may be dropped at any await; an operation then happened wholly or not at all.
/// - **Letting go.** Dropping an entry may drop its value, which runs its owner's code: that may ask this very store. So
///   no entry is best dropped while a lock is held, be it replaced, removed or cleared.
/// - **Sharing.** Clones and `Arc`s of a store are the same store, for any number of proxies and clients.
///
/// `nameko_cachetools_testkit::store_conformance` holds the checks of this contract.
///
/// A store within the process answers in [`peek`](Self::peek): then a hit neither awaits nor allocates.
/// [`MemoryStore`] does, and so does a `HashMap` behind a `Mutex` or `RwLock`, which is a store as it is, as a dict
/// was (without any bound: for tests, or for few keys).
#[async_trait]
pub trait Store: Send + Sync + 'static {
    /// Looks `key` up without waiting, if this store can. The default can't.
    fn peek(&self, key: &Key, now: Moment) -> Peek {
        let _ = (key, now);
        Peek::Ask
    }

    /// Looks `key` up. `now` is the time to reckon ages by.
    ///
    /// # Errors
    /// Whatever keeps the store from answering; it counts as a miss.
    async fn get(&self, key: &Key, now: Moment) -> Result<Option<Entry>, StoreError>;

    /// Keeps `entry`, unless a newer one is there.
    ///
    /// # Errors
    /// Whatever keeps the store from keeping it; the call that brought the entry succeeds all the same.
    async fn put(&self, key: &Key, entry: Entry) -> Result<Put, StoreError>;

    /// Forgets `key`; with `seen`, only if that very entry ([`Entry::is`], or as close to it as this store keeps time) is
    /// still there. Says whether it forgot one.
    ///
    /// # Errors
    /// Whatever keeps the store from forgetting it.
    async fn remove(&self, key: &Key, seen: Option<&Entry>) -> Result<bool, StoreError>;

    /// Forgets everything.
    ///
    /// # Errors
    /// Whatever keeps the store from forgetting it.
    async fn clear(&self) -> Result<(), StoreError>;

    /// The age from which on this store no longer answers with an entry. The default is none.
    fn time_to_live(&self) -> Option<Duration> {
        None
    }
}

/// What a store can say at once.
#[derive(Debug, Clone)]
pub enum Peek {
    /// The entry under this key.
    Hit(Entry),
    /// There is none.
    Miss,
    /// Only [`Store::get`] can tell.
    Ask,
}

impl From<Option<Entry>> for Peek {
    fn from(entry: Option<Entry>) -> Self {
        entry.map_or(Self::Miss, Self::Hit)
    }
}

/// What became of an entry that was put.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Put {
    /// It is stored.
    Stored,
    /// A newer one was there, and stays.
    Older,
    /// It is too large for this store; what was there stays.
    TooLarge,
}

macro_rules! forward {
    ($pointer:ty) => {
        #[deny(clippy::missing_trait_methods)]
        #[async_trait]
        impl<T: Store + ?Sized> Store for $pointer {
            #[inline]
            fn peek(&self, key: &Key, now: Moment) -> Peek {
                (**self).peek(key, now)
            }

            async fn get(&self, key: &Key, now: Moment) -> Result<Option<Entry>, StoreError> {
                (**self).get(key, now).await
            }

            async fn put(&self, key: &Key, entry: Entry) -> Result<Put, StoreError> {
                (**self).put(key, entry).await
            }

            async fn remove(&self, key: &Key, seen: Option<&Entry>) -> Result<bool, StoreError> {
                (**self).remove(key, seen).await
            }

            async fn clear(&self) -> Result<(), StoreError> {
                (**self).clear().await
            }

            fn time_to_live(&self) -> Option<Duration> {
                (**self).time_to_live()
            }
        }
    };
}

forward!(Arc<T>);
forward!(Box<T>);
