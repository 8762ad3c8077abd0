//! The store in memory: whatever tasks do to one key, there is an order in which one after the other would have done the
//! same (linearizability, after Wing and Gong).

use std::{sync::Arc, time::Duration};

use nameko_cachetools::{Entry, Key, MemoryStore, Moment, Peek, Put, Store};
use shuttle::{
    future::block_on,
    sync::atomic::{AtomicUsize, Ordering::SeqCst},
    thread,
};

use crate::stage::below;

const TASKS: u64 = 3;
const OPERATIONS: u64 = 3;
/// Entries this old are none.
const LIFE: u64 = 10;

/// What a task did, and what it was told.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Did {
    /// Asked at this time, and found an entry of this age rank.
    Got(u64, Option<u64>),
    Put(u64, Put),
    /// Only if it is this one, if it is one; whether it was there.
    Removed(Option<u64>, bool),
    Cleared,
}

/// With the moments of its beginning and end.
#[derive(Clone, Copy, Debug)]
struct Event {
    began: usize,
    ended: usize,
    did: Did,
}

/// An entry that was sent at `rank`, and says so.
fn entry(rank: u64) -> Entry {
    Entry::new(Moment::from_nanos(rank), rank.to_string())
}

fn rank(entry: &Entry) -> u64 {
    let rank = entry.sent_at().as_nanos();
    assert_eq!(entry.body(), &rank.to_string(), "a torn entry");
    rank
}

/// Proves: 8, S3, S5, S6, S7.
pub(crate) fn one_key() {
    let store = MemoryStore::ttl(100, Duration::from_nanos(LIFE));
    let clock = Arc::new(AtomicUsize::new(0));
    let tasks: Vec<_> = (0..TASKS)
        .map(|task| {
            let (store, clock) = (store.clone(), Arc::clone(&clock));
            thread::spawn(move || {
                let mut events = Vec::new();
                for operation in 0..OPERATIONS {
                    let began = clock.fetch_add(1, SeqCst);
                    let did = act(&store, 1 + task + TASKS * operation);
                    let ended = clock.fetch_add(1, SeqCst);
                    events.push(Event { began, ended, did });
                }
                events
            })
        })
        .collect();
    let events: Vec<_> = tasks
        .into_iter()
        .flat_map(|task| task.join().expect("it did not panic"))
        .collect();
    assert!(
        has_an_order(&events, &mut vec![false; events.len()], None),
        "in no order: {events:#?}"
    );
}

/// One operation by chance. `rank` is its own.
fn act(store: &MemoryStore, rank_of_its_own: u64) -> Did {
    let key = Key::from_bytes("k");
    match below(10) {
        0..4 => {
            let put = block_on(store.put(&key, entry(rank_of_its_own))).expect("it has no trouble");
            Did::Put(rank_of_its_own, put)
        }
        4..7 => {
            let now = below(2 * LIFE);
            let found = match store.peek(&key, Moment::from_nanos(now)) {
                Peek::Hit(found) => Some(rank(&found)),
                _ => None,
            };
            Did::Got(now, found)
        }
        7..9 => {
            let seen = (below(2) == 0).then(|| 1 + below(TASKS * OPERATIONS));
            let removed = block_on(store.remove(&key, seen.map(entry).as_ref()));
            Did::Removed(seen, removed.expect("it has no trouble"))
        }
        _ => {
            block_on(store.clear()).expect("it has no trouble");
            Did::Cleared
        }
    }
}

/// Whether what is not done yet can be done one after the other, with `there` in the store.
fn has_an_order(events: &[Event], done: &mut Vec<bool>, there: Option<u64>) -> bool {
    let left = |done: &[bool]| {
        (0..events.len())
            .filter(|&index| !done[index])
            .collect::<Vec<_>>()
    };
    // Only what began before the first end can be next.
    let Some(first_end) = left(done).iter().map(|&index| events[index].ended).min() else {
        return true;
    };
    for index in left(done) {
        if events[index].began > first_end {
            continue;
        }
        done[index] = true;
        if after(there, events[index].did)
            .into_iter()
            .any(|there| has_an_order(events, done, there))
        {
            return true;
        }
        done[index] = false;
    }
    false
}

/// What may be in the store after one operation that was told so; nothing, if it can't have been.
fn after(there: Option<u64>, did: Did) -> Vec<Option<u64>> {
    let only = |is_right: bool, then| if is_right { vec![then] } else { Vec::new() };
    match did {
        Did::Got(now, found) => {
            let is_old = there.is_some_and(|there| now.saturating_sub(there) >= LIFE);
            match found {
                Some(_) => only(found == there && !is_old, there),
                None if is_old => vec![there, None], // another may be there when it comes to removing it
                None => only(there.is_none(), None),
            }
        }
        Did::Put(rank, Put::Stored) => only(there.is_none_or(|there| there <= rank), Some(rank)),
        Did::Put(rank, Put::Older) => only(there.is_some_and(|there| there > rank), there),
        Did::Put(..) => Vec::new(),
        Did::Removed(seen, was_there) => {
            let matches = there.is_some() && (seen.is_none() || seen == there);
            only(matches == was_there, if matches { None } else { there })
        }
        Did::Cleared => vec![None],
    }
}

/// Several tasks fill a store that has room for two: it never holds more, and no key has another's entry.
///
/// Proves: 69, S3, S4.
pub(crate) fn full() {
    const ROOM: usize = 2;
    let store = MemoryStore::builder().max_entries(ROOM).build();
    let tasks: Vec<_> = (0..TASKS)
        .map(|task| {
            let store = store.clone();
            thread::spawn(move || {
                for operation in 0..OPERATIONS {
                    let number = below(4);
                    let key = Key::from_bytes(number.to_string());
                    if operation == 0 || below(3) > 0 {
                        let put = block_on(
                            store.put(&key, Entry::new(Moment::from_nanos(task), number.to_string())),
                        );
                        assert!(put.is_ok_and(|put| put != Put::TooLarge));
                    }
                    if let Peek::Hit(found) = store.peek(&key, Moment::from_nanos(9)) {
                        assert_eq!(found.body(), &number.to_string(), "another key's entry");
                    }
                    assert!(store.len() <= ROOM, "{} entries", store.len());
                }
            })
        })
        .collect();
    tasks
        .into_iter()
        .for_each(|task| task.join().expect("it did not panic"));
    assert!(!store.is_empty());
}
