//! What the cache evicts, kept until it is whole again and its locks are free.

use quick_cache::Lifecycle;

use super::slot_key::SlotKey;
use crate::entry::Entry;

/// Letting go of a value runs its owner's code, which may panic, or ask the same store: the cache itself must not do it.
#[derive(Debug, Clone)]
pub(super) struct LetGoLater;

/// The entries that made room for one that was put, few as a rule.
#[derive(Default)]
pub(super) struct LetGo {
    first: Option<Entry>,
    others: Vec<Entry>,
}

impl Lifecycle<SlotKey, Entry> for LetGoLater {
    type RequestState = LetGo;

    #[inline]
    fn on_evict(&self, evicted: &mut LetGo, _: SlotKey, entry: Entry) {
        match evicted.first {
            None => evicted.first = Some(entry),
            Some(_) => evicted.others.push(entry),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{
        future::Future,
        pin::pin,
        sync::mpsc,
        task::{Context, Waker},
        thread,
        time::Duration,
    };

    use bytes::Bytes;

    use crate::{
        clock::{Clock, Moment},
        entry::{Entry, Marks, Sent},
        key::Key,
        store::{MemoryStore, Store},
    };

    /// A value that looks into its store, and puts something there, when it is let go of.
    struct Asks(MemoryStore, Key);

    impl Drop for Asks {
        fn drop(&mut self) {
            self.0.insert(&self.1, Entry::new(Moment::default(), ""));
        }
    }

    /// Whether both end: to put such values under each of so many keys, and to do something else meanwhile.
    fn both_end(keys: usize, other: fn(&MemoryStore, &Key)) {
        let (store, (ended, end)) = (MemoryStore::new(), mpsc::channel());
        let put = |store: &MemoryStore, key: &Key| {
            let marks = Marks::new(Sent::now(Clock::Tokio), None);
            let value = Asks(store.clone(), key.clone());
            store.insert(key, Entry::decoded(marks, Bytes::new(), value));
        };
        for job in [put, other] {
            let (store, ended) = (store.clone(), ended.clone());
            thread::spawn(move || {
                for n in 0..100_000 {
                    job(&store, &Key::from_bytes((n % keys).to_be_bytes()));
                }
                ended.send(())
            });
        }
        for _ in 0..2 {
            assert!(
                end.recv_timeout(Duration::from_secs(60)).is_ok(),
                "they wait for themselves"
            );
        }
    }

    fn at_once(operation: impl Future) {
        let mut cx = Context::from_waker(Waker::noop());
        assert!(pin!(operation).poll(&mut cx).is_ready());
    }

    #[test]
    fn a_value_that_is_removed_while_it_is_replaced_may_ask_its_store() {
        both_end(1, |store, key| at_once(store.remove(key, None)));
    }

    #[test]
    fn a_value_that_is_put_while_all_are_cleared_may_ask_its_store() {
        both_end(100, |store, _| at_once(store.clear()));
    }
}
