//! A `HashMap` behind a lock is a store, as a dict was.

use std::{
    collections::HashMap,
    hash::BuildHasher,
    mem,
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
                let (put, let_go) = put(
                    &mut self.$write().unwrap_or_else(PoisonError::into_inner),
                    key,
                    entry,
                );
                drop(let_go);
                Ok(put)
            }

            async fn remove(&self, key: &Key, seen: Option<&Entry>) -> Result<bool, StoreError> {
                let let_go = remove(
                    &mut self.$write().unwrap_or_else(PoisonError::into_inner),
                    key,
                    seen,
                );
                Ok(let_go.is_some())
            }

            async fn clear(&self) -> Result<(), StoreError> {
                let all: Vec<_> = self
                    .$write()
                    .unwrap_or_else(PoisonError::into_inner)
                    .drain()
                    .collect();
                drop(all);
                Ok(())
            }
        }
    };
}

map_store!(Mutex, lock, lock);
map_store!(RwLock, read, write);

/// What became of `entry`, and which one is let go of: its value runs its owner's code, which may ask the same store.
fn put<S: BuildHasher>(map: &mut HashMap<Key, Entry, S>, key: &Key, entry: Entry) -> (Put, Option<Entry>) {
    match map.get_mut(key) {
        Some(there) if there.is_newer_than(&entry) => (Put::Older, Some(entry)),
        Some(there) => (Put::Stored, Some(mem::replace(there, entry))),
        None => (Put::Stored, map.insert(key.clone(), entry)),
    }
}

fn remove<S: BuildHasher>(
    map: &mut HashMap<Key, Entry, S>,
    key: &Key,
    seen: Option<&Entry>,
) -> Option<Entry> {
    let there = map.get(key)?;
    if seen.is_none_or(|seen| seen.is(there)) {
        map.remove(key)
    } else {
        None
    }
}
