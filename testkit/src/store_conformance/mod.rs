//! The contract of [`Store`] as small named checks, for every implementation, wrappers and tiers included.
//!
//! ```
//! use nameko_cachetools::MemoryStore;
//! use nameko_cachetools_testkit::store_conformance;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() {
//! store_conformance::run_all(&MemoryStore::new).await; // here: anything that makes your own store, empty
//! # }
//! ```
//!
//! A store must have room for 1,000 entries of 100 bytes: one that evicts earlier would fail by chance.

mod ages;
mod basics;

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use nameko_cachetools::{Clock, Entry, Key, Moment, Peek, Put, Store};
use tokio::time::sleep;

use crate::conformance::{self, checks};

pub use crate::conformance::{Checking, Outcome};

/// All checks, by name. [`run_all`] runs them; a test for each gives nicer names in a test run.
pub const CHECKS: &[(&str, Check)] = checks![
    basics::a_new_store_is_empty,
    basics::what_was_put_is_found,
    basics::a_null_result_is_a_hit,
    basics::bodies_are_kept_byte_exact,
    basics::keys_are_compared_in_full,
    basics::removing_forgets_one_key,
    basics::removing_what_was_seen_leaves_a_newer_entry,
    basics::clearing_forgets_everything,
    basics::a_dropped_put_happens_wholly_or_not_at_all,
    basics::pointers_forward_everything,
    ages::the_newer_entry_wins_in_any_order,
    ages::the_newer_entry_wins_among_concurrent_puts,
    ages::tasks_do_not_disturb_each_other,
    ages::an_entry_keeps_its_age,
    ages::an_entry_ends_with_its_time_to_live,
];

/// One check.
pub type Check = for<'a> fn(&'a dyn Harness) -> Checking<'a>;

/// Runs all checks, one after the other.
///
/// # Panics
/// If any failed, naming each and saying how.
pub async fn run_all(harness: &dyn Harness) {
    let checks = CHECKS.iter().map(|(name, check)| (*name, check(harness)));
    conformance::run_all("store_conformance", checks).await;
}

/// What the checks need of a store's tests. Any closure that makes an empty store is one.
#[async_trait]
pub trait Harness: Send + Sync {
    /// A new store, empty, that shares nothing with the others.
    async fn store(&self) -> Arc<dyn Store>;

    /// How exactly `sent_at` is kept: a shared store keeps wall-clock time, perhaps in whole milliseconds. Default:
    /// exactly.
    fn tolerance(&self) -> Duration {
        Duration::ZERO
    }
}

#[async_trait]
impl<F, S> Harness for F
where
    F: Fn() -> S + Send + Sync,
    S: Store,
{
    async fn store(&self) -> Arc<dyn Store> {
        Arc::new(self())
    }
}

fn key(name: &str) -> Key {
    Key::from_bytes(name)
}

/// Moments in the past to send requests at, far enough apart to stay different within the harness's tolerance.
#[derive(Clone, Copy)]
struct Past {
    first: Moment,
    step: Duration,
}

impl Past {
    async fn of(harness: &dyn Harness) -> Self {
        let step = Duration::from_micros(1) + 4 * harness.tolerance();
        let span = step * (MOMENTS + 1);
        // Moments begin with the process: it may be too young to have such a past.
        while now().since(Moment::default()) <= span {
            sleep(span).await;
        }
        Self {
            first: now().before(span),
            step,
        }
    }

    /// A moment, the later the higher its rank, which is less than [`MOMENTS`].
    fn moment(&self, rank: u32) -> Moment {
        later(self.first, self.step * rank)
    }

    /// An entry whose request was sent at that moment.
    fn entry(&self, rank: u32, body: &str) -> Entry {
        Entry::new(self.moment(rank), body.to_owned())
    }
}

const MOMENTS: u32 = 128;

fn later(moment: Moment, by: Duration) -> Moment {
    let nanos = u64::try_from(by.as_nanos()).unwrap_or(u64::MAX);
    Moment::from_nanos(moment.as_nanos().saturating_add(nanos))
}

fn now() -> Moment {
    Clock::Tokio.now_exact()
}

async fn put(store: &dyn Store, key: &Key, entry: Entry) -> Result<Put, String> {
    store
        .put(key, entry)
        .await
        .map_err(|error| format!("put: {error}"))
}

/// Looks up by both ways, which must agree.
async fn get(store: &dyn Store, key: &Key) -> Result<Option<Entry>, String> {
    let peeked = store.peek(key, now());
    let got = store
        .get(key, now())
        .await
        .map_err(|error| format!("get: {error}"))?;
    match (peeked, &got) {
        (Peek::Ask, _) | (Peek::Miss, None) => {}
        (Peek::Hit(peeked), Some(got)) if peeked.body() == got.body() => {}
        (peeked, got) => return Err(format!("peek says {peeked:?}, get says {got:?}")),
    }
    Ok(got)
}

/// The body under `key`, which must be there.
async fn body(store: &dyn Store, key: &Key) -> Result<String, String> {
    match get(store, key).await? {
        Some(entry) => Ok(String::from_utf8_lossy(entry.body()).into_owned()),
        None => Err("an entry that was put is not there".to_owned()),
    }
}
