//! Any sequence of operations on a store, at the boundaries of its time to live, against a map that does the same.

use std::{collections::BTreeMap, time::Duration};

use nameko_cachetools::{Entry, Key, MemoryStore, Moment, Peek, Put, Store};
use proptest::prelude::*;
use proptest_state_machine::{ReferenceStateMachine, StateMachineTest, prop_state_machine};

/// Nanoseconds.
const LIFE: u64 = 1_000;
/// Far from both ends of time.
const START: u64 = 1 << 62;
const YEARS: u64 = 100 * 365 * 24 * 3600 * 1_000_000_000;
/// The least store has room for this many.
const ROOM: usize = 3;
/// More than the narrow store takes: its bytes are shared by so few.
const LARGE: usize = 12_000;

/// What is done at some moment.
#[derive(Clone, Debug)]
enum Operation {
    Put {
        key: u8,
        sent: u64,
        large: bool,
    },
    Get(u8),
    Remove(u8),
    /// Only the entry that was sent then.
    RemoveSeen(u8, u64),
    Clear,
    /// The clock moves, or is set back.
    Clock(u64),
}

/// The naive store: what was sent last, by key, and what time it is.
#[derive(Clone, Debug, Default)]
struct Model {
    now: u64,
    entries: BTreeMap<u8, Sent>,
    /// What the last operation must have said.
    said: Said,
}

#[derive(Clone, Copy, Debug, PartialEq)]
struct Sent {
    at: u64,
    bytes: usize,
}

#[derive(Clone, Copy, Debug, Default, PartialEq)]
enum Said {
    #[default]
    Nothing,
    Put(Put),
    Found(Option<Sent>),
    Removed(bool),
}

/// Both stores in one: without a bound that matters, and with the least.
#[derive(Debug)]
struct Stores {
    roomy: MemoryStore,
    /// It may lose any entry at any time, but the one that was put just now.
    narrow: MemoryStore,
    /// What it said that it stored, and perhaps still has.
    kept: BTreeMap<u8, Sent>,
}

impl ReferenceStateMachine for Model {
    type State = Self;
    type Transition = Operation;

    fn init_state() -> BoxedStrategy<Self> {
        Just(Self {
            now: START,
            ..Self::default()
        })
        .boxed()
    }

    fn transitions(model: &Self) -> BoxedStrategy<Operation> {
        let now = model.now;
        // Moments that lie a whole life, or just not, from what there is.
        let mut moments = vec![
            now,
            now.saturating_sub(1),
            now.saturating_add(1),
            now.saturating_sub(LIFE),
            0,
            u64::MAX,
        ];
        for entry in model.entries.values() {
            let end = entry.at.saturating_add(LIFE);
            moments.extend([entry.at, end - 1, end, end.saturating_add(1)]);
        }
        let clocks = [
            moments.clone(),
            vec![now.saturating_add(YEARS), now.saturating_sub(YEARS)],
        ]
        .concat();
        let (sent, clock) = (prop::sample::select(moments), prop::sample::select(clocks));
        let key = 0u8..5;
        prop_oneof![
            6 => (key.clone(), sent.clone(), prop::bool::weighted(0.1))
                .prop_map(|(key, sent, large)| Operation::Put { key, sent, large }),
            6 => key.clone().prop_map(Operation::Get),
            1 => key.clone().prop_map(Operation::Remove),
            2 => (key, sent).prop_map(|(key, sent)| Operation::RemoveSeen(key, sent)),
            1 => Just(Operation::Clear),
            4 => clock.prop_map(Operation::Clock),
        ]
        .boxed()
    }

    fn apply(mut model: Self, operation: &Operation) -> Self {
        let there = |model: &Self, key: &u8| model.entries.get(key).copied();
        model.said = match operation {
            Operation::Put { key, sent, large } => {
                let entry = Sent {
                    at: *sent,
                    bytes: bytes(*large),
                };
                Said::Put(if there(&model, key).is_some_and(|there| there.at > *sent) {
                    Put::Older
                } else {
                    model.entries.insert(*key, entry);
                    Put::Stored
                })
            }
            Operation::Get(key) => {
                if there(&model, key).is_some_and(|there| model.now.saturating_sub(there.at) >= LIFE) {
                    model.entries.remove(key); // what is too old makes room
                }
                Said::Found(there(&model, key))
            }
            Operation::Remove(key) => Said::Removed(model.entries.remove(key).is_some()),
            Operation::RemoveSeen(key, sent) => {
                let is_it = there(&model, key).is_some_and(|there| {
                    there
                        == Sent {
                            at: *sent,
                            bytes: bytes(false),
                        }
                });
                if is_it {
                    model.entries.remove(key);
                }
                Said::Removed(is_it)
            }
            Operation::Clear => {
                model.entries.clear();
                Said::Nothing
            }
            Operation::Clock(now) => {
                model.now = *now;
                Said::Nothing
            }
        };
        model
    }
}

impl StateMachineTest for Stores {
    type SystemUnderTest = Self;
    type Reference = Model;

    fn init_test(_: &Model) -> Self {
        Self {
            roomy: MemoryStore::ttl(100, Duration::from_nanos(LIFE)),
            narrow: MemoryStore::builder()
                .max_entries(ROOM)
                .max_bytes(64 << 10)
                .time_to_live(Duration::from_nanos(LIFE))
                .build(),
            kept: BTreeMap::new(),
        }
    }

    fn apply(mut stores: Self, model: &Model, operation: Operation) -> Self {
        let said = act(&stores.roomy, model, &operation);
        assert_eq!(said, model.said, "{operation:?}");

        let said = act(&stores.narrow, model, &operation);
        stores.judge_narrow(model, &operation, said);
        stores
    }

    fn check_invariants(stores: &Self, model: &Model) {
        assert_eq!(stores.roomy.len(), model.entries.len());
        assert!(stores.narrow.len() <= ROOM, "{} entries", stores.narrow.len());
    }
}

impl Stores {
    fn judge_narrow(&mut self, model: &Model, operation: &Operation, said: Said) {
        let kept = |key| self.kept.get(key).copied();
        let is_right = match (operation, said) {
            (Operation::Put { large: true, .. }, Said::Put(put)) => put == Put::TooLarge,
            (Operation::Put { key, sent, .. }, Said::Put(Put::Older)) => {
                kept(key).is_some_and(|kept| kept.at > *sent)
            }
            (Operation::Put { key, sent, large }, Said::Put(Put::Stored)) => {
                let (at, bytes) = (*sent, bytes(*large));
                self.kept.insert(*key, Sent { at, bytes });
                let peeked = self.narrow.peek(&name(*key), Moment::default());
                matches!(peeked, Peek::Hit(there) if shown(&there) == Sent { at, bytes })
            }
            (Operation::Get(key), Said::Found(Some(found))) => {
                kept(key) == Some(found) && model.now.saturating_sub(found.at) < LIFE
            }
            (Operation::Remove(key) | Operation::RemoveSeen(key, _), Said::Removed(true)) => {
                let removed = self.kept.remove(key);
                let seen =
                    |removed: Sent| !matches!(operation, Operation::RemoveSeen(_, at) if *at != removed.at);
                removed.is_some_and(seen)
            }
            (Operation::Clear, _) => {
                self.kept.clear();
                true
            }
            (_, said) => matches!(said, Said::Nothing | Said::Found(None) | Said::Removed(false)),
        };
        assert!(is_right, "{operation:?}: the narrow store said {said:?}");
    }
}

fn act(store: &MemoryStore, model: &Model, operation: &Operation) -> Said {
    let now = Moment::from_nanos(model.now);
    match operation {
        Operation::Put { key, sent, large } => {
            Said::Put(at_once(store.put(&name(*key), entry(*sent, *large))))
        }
        Operation::Get(key) => {
            let found = match store.peek(&name(*key), now) {
                Peek::Hit(found) => Some(shown(&found)),
                _ => None,
            };
            let got = at_once(store.get(&name(*key), now)).map(|found| shown(&found));
            assert_eq!(found, got, "`peek` and `get` agree");
            Said::Found(found)
        }
        Operation::Remove(key) => Said::Removed(at_once(store.remove(&name(*key), None))),
        Operation::RemoveSeen(key, sent) => {
            Said::Removed(at_once(store.remove(&name(*key), Some(&entry(*sent, false)))))
        }
        Operation::Clear => {
            at_once(store.clear());
            Said::Nothing
        }
        Operation::Clock(_) => Said::Nothing,
    }
}

fn name(key: u8) -> Key {
    Key::from_bytes([key])
}

fn bytes(large: bool) -> usize {
    if large { LARGE } else { 30 }
}

/// Its body is its moment, so that a torn entry shows.
fn entry(sent: u64, large: bool) -> Entry {
    let width = bytes(large);
    Entry::new(Moment::from_nanos(sent), format!("{sent:>width$}"))
}

fn shown(entry: &Entry) -> Sent {
    let at = entry.sent_at().as_nanos();
    let text = String::from_utf8_lossy(entry.body());
    assert_eq!(text.trim_start(), at.to_string(), "a torn entry");
    Sent {
        at,
        bytes: text.len(),
    }
}

/// What a store that never waits brings.
fn at_once<T>(operation: impl Future<Output = Result<T, nameko_cachetools::StoreError>>) -> T {
    let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
    match std::pin::pin!(operation).poll(&mut cx) {
        std::task::Poll::Ready(Ok(value)) => value,
        _ => unreachable!("a store in memory neither waits nor fails"),
    }
}

prop_state_machine! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// Proves: 69, S1, S2, S3, S4, S5, S7, S8.
    #[test]
    fn the_store_in_memory_does_as_a_map_would(sequential 1..60 => Stores);
}
