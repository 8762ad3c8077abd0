//! Refreshes that fail are not repeated at once: each key has a growing pause of its own.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use crate::{clock::Moment, key::Key};

const FIRST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(30);

/// Most keys that have a pause at once; the surplus has none.
const MOST: usize = 4096;

/// The pauses of all keys of one proxy, by the keys' digests, which are short.
#[derive(Default)]
pub(crate) struct Backoffs(Mutex<HashMap<[u8; 32], Pause>>);

struct Pause {
    until: Moment,
    length: Duration,
}

impl Backoffs {
    /// Whether a refresh of `key` has to wait.
    pub(crate) fn hold(&self, key: &Key, now: Moment) -> bool {
        let pauses = self.lock();
        !pauses.is_empty() && pauses.get(&key.digest()).is_some_and(|pause| now < pause.until)
    }

    /// A refresh of `key` failed: the next one waits 1 s, then 2, 4, .. up to 30 s.
    pub(crate) fn note(&self, key: &Key, now: Moment) {
        let (key, mut pauses) = (key.digest(), self.lock());
        let length = pauses
            .get(&key)
            .map_or(FIRST, |pause| (pause.length * 2).min(LONGEST));
        if pauses.len() >= MOST && !pauses.contains_key(&key) {
            pauses.retain(|_, pause| now < pause.until);
        }
        if pauses.len() < MOST || pauses.contains_key(&key) {
            pauses.insert(
                key,
                Pause {
                    until: now.after(length),
                    length,
                },
            );
        }
    }

    /// `key` was fetched.
    pub(crate) fn forget(&self, key: &Key) {
        let mut pauses = self.lock();
        if !pauses.is_empty() {
            pauses.remove(&key.digest());
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<[u8; 32], Pause>> {
        // A map of pauses is whole after every step; a panic elsewhere changes nothing.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(n: usize) -> Key {
        Key::from_bytes(n.to_be_bytes())
    }

    /// Proves: 51.
    #[test]
    fn pauses_double_up_to_the_longest_and_end_with_a_success() {
        let backoffs = Backoffs::default();
        let mut now = Moment::default();
        for seconds in [1, 2, 4, 8, 16, 30, 30] {
            backoffs.note(&key(1), now);
            let length = Duration::from_secs(seconds);
            assert!(backoffs.hold(&key(1), now.after(length - Duration::from_nanos(1))));
            now = now.after(length);
            assert!(!backoffs.hold(&key(1), now) && !backoffs.hold(&key(2), now));
        }
        backoffs.note(&key(1), now);
        backoffs.forget(&key(1));
        assert!(!backoffs.hold(&key(1), now));
    }

    /// Proves: R19.
    #[test]
    fn no_more_keys_are_remembered_than_there_may_be() {
        let backoffs = Backoffs::default();
        (0..MOST + 10).for_each(|n| backoffs.note(&key(n), Moment::default()));
        assert_eq!(backoffs.lock().len(), MOST);
        assert!(!backoffs.hold(&key(MOST), Moment::default()));
        backoffs.note(&key(MOST), Moment::default().after(FIRST));
        assert_eq!(backoffs.lock().len(), 1, "pauses that are over make room");
    }
}
