//! A `HashMap` behind a lock is a store, as a dict was.

use std::{
    collections::{HashMap, hash_map},
    hash::BuildHasher,
    sync::{Mutex, PoisonError, RwLock},
};

use async_trait::async_trait;

use super::{Peek, Put, Store};
use crate::{clock::Moment, entry::Entry, error::StoreError, key::Key};

macro_rules! map_store {
    ($lock:ident, $read:ident, $write:ident) => {
        /// Unbounded: nothing is ever evicted.
        #[async_trait]
        impl<S: BuildHasher + Send + Sync + 'static> Store for $lock<HashMap<Key, Entry, S>> {
            fn peek(&self, key: &Key, _: Moment) -> Peek {
                // Poison says that another thread panicked; the map itself is whole after every operation below.
                self.$read()
                    .unwrap_or_else(PoisonError::into_inner)
                    .get(key)
                    .cloned()
                    .into()
            }

            async fn get(&self, key: &Key, _: Moment) -> Result<Option<Entry>, StoreError> {
                Ok(self
                    .$read()
                    .unwrap_or_else(PoisonError::into_inner)
                    .get(key)
                    .cloned())
            }

            async fn put(&self, key: &Key, entry: Entry) -> Result<Put, StoreError> {
                Ok(put(
                    &mut self.$write().unwrap_or_else(PoisonError::into_inner),
                    key,
                    entry,
                ))
            }

            async fn remove(&self, key: &Key, seen: Option<&Entry>) -> Result<bool, StoreError> {
                Ok(remove(
                    &mut self.$write().unwrap_or_else(PoisonError::into_inner),
                    key,
                    seen,
                ))
            }

            async fn clear(&self) -> Result<(), StoreError> {
                self.$write()
                    .unwrap_or_else(PoisonError::into_inner)
                    .clear();
                Ok(())
            }
        }
    };
}

map_store!(Mutex, lock, lock);
map_store!(RwLock, read, write);

fn put<S: BuildHasher>(map: &mut HashMap<Key, Entry, S>, key: &Key, entry: Entry) -> Put {
    match map.entry(key.clone()) {
        hash_map::Entry::Occupied(there) if there.get().is_newer_than(&entry) => return Put::Older,
        hash_map::Entry::Occupied(mut there) => _ = there.insert(entry),
        hash_map::Entry::Vacant(place) => _ = place.insert(entry),
    }
    Put::Stored
}

fn remove<S: BuildHasher>(map: &mut HashMap<Key, Entry, S>, key: &Key, seen: Option<&Entry>) -> bool {
    let matches = map
        .get(key)
        .is_some_and(|there| seen.is_none_or(|seen| seen.is(there)));
    matches && map.remove(key).is_some()
}
