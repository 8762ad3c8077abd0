//! Answers that say there is no such thing, remembered for a while where the policy wants that.
//!
//! They are kept apart from the store, which holds good answers only: an outage makes none of these, and none of these
//! outlives the process.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use crate::{
    clock::Moment,
    entry::{Sent, Tags},
    error::CallError,
    key::Key,
};

/// Most keys that are remembered at once; the surplus is asked for again.
const MOST: usize = 4096;

/// Longest error that is remembered, in bytes of its texts: its service decides how long it is.
const LARGEST: usize = 4096;

/// The last definitive word on each key of one proxy, by the keys' digests, which are short.
#[derive(Default)]
pub(crate) struct Negatives(Mutex<Words>);

#[derive(Default)]
struct Words {
    by_key: HashMap<[u8; 32], Word>,
    /// The latest good answer that found no room, or had to make some.
    unremembered: Option<Sent>,
}

impl Words {
    /// Drops what is over and, if that is not enough, good answers, which are here for the sake of order alone: there
    /// are many more of them than of others.
    fn make_room(&mut self, now: Moment) {
        self.by_key.retain(|_, word| now < word.until);
        if self.by_key.len() < MOST {
            return;
        }
        let unremembered = &mut self.unremembered;
        self.by_key.retain(|_, word| {
            if word.negative.is_none() {
                *unremembered = (*unremembered).max(Some(word.sent));
            }
            word.negative.is_some()
        });
    }
}

/// The latest answer to one call. Good ones are noted too: an older negative one, still on its way, must not follow.
struct Word {
    sent: Sent,
    until: Moment,
    negative: Option<Negative>,
}

/// An error that is an answer.
#[derive(Clone)]
pub(crate) struct Negative {
    pub(crate) error: CallError,
    pub(crate) sent: Sent,
    pub(crate) tags: Tags,
    pub(crate) until: Moment,
}

impl Negatives {
    /// What is remembered of `key`.
    pub(crate) fn get(&self, key: &Key, now: Moment) -> Option<Negative> {
        let words = self.lock();
        if words.by_key.is_empty() {
            return None;
        }
        let word = words.by_key.get(&key.digest())?;
        word.negative.clone().filter(|_| now < word.until)
    }

    /// Remembers how a request was answered until `life` after it was sent; an `error` if it is a negative answer.
    pub(crate) fn note(
        &self,
        key: &Key,
        error: Option<&CallError>,
        sent: Sent,
        tags: &Tags,
        life: Duration,
        now: Moment,
    ) {
        let (digest, until) = (key.digest(), sent.moment().after(life));
        let mut words = self.lock();
        if until <= now || words.by_key.get(&digest).is_some_and(|word| word.sent > sent) {
            return;
        }
        if words.by_key.len() >= MOST && !words.by_key.contains_key(&digest) {
            words.make_room(now);
        }
        let has_room = words.by_key.len() < MOST || words.by_key.contains_key(&digest);
        match error {
            None if !has_room => words.unremembered = words.unremembered.max(Some(sent)),
            Some(_) if !has_room || words.unremembered > Some(sent) => {}
            _ => {
                let negative = error
                    .filter(|error| size(error) <= LARGEST)
                    .map(|error| Negative {
                        error: error.clone(),
                        sent,
                        tags: tags.clone(),
                        until,
                    });
                words.by_key.insert(
                    digest,
                    Word {
                        sent,
                        until,
                        negative,
                    },
                );
            }
        }
    }

    /// Forgets one answer: it was invalidated.
    pub(crate) fn forget(&self, key: &Key, sent: Sent) {
        let (digest, mut words) = (key.digest(), self.lock());
        if let Some(word) = words.by_key.get_mut(&digest)
            && word.sent == sent
        {
            word.negative = None;
        }
    }

    fn lock(&self) -> MutexGuard<'_, Words> {
        // A map of words is whole after every step; a panic elsewhere changes nothing.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn size(error: &CallError) -> usize {
    error.remote().map_or(0, |remote| {
        let args = remote.exc_args.iter().map(|arg| arg.to_string().len());
        remote.exc_type.len() + remote.exc_path.len() + remote.value.to_string().len() + args.sum::<usize>()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{RemoteError, Route, clock::Clock};

    const LIFE: Duration = Duration::from_secs(5);

    fn key(n: usize) -> Key {
        Key::from_bytes(n.to_be_bytes())
    }

    fn gone() -> CallError {
        CallError::Remote {
            route: Route::new("shop", "get").unwrap(),
            error: Box::new(RemoteError::new("NotFound", "1")),
        }
    }

    fn note(negatives: &Negatives, n: usize, error: Option<&CallError>, sent: Sent) {
        negatives.note(&key(n), error, sent, &None, LIFE, sent.moment());
    }

    #[tokio::test(start_paused = true)]
    async fn it_lives_from_when_it_was_asked_for_to_the_end_of_its_life() {
        let (negatives, sent) = (Negatives::default(), Sent::now(Clock::Tokio));
        note(&negatives, 1, Some(&gone()), sent);
        let last = sent.moment().after(LIFE - Duration::from_nanos(1));
        assert!(negatives.get(&key(1), last).is_some() && negatives.get(&key(2), last).is_none());
        assert!(negatives.get(&key(1), sent.moment().after(LIFE)).is_none());
        negatives.note(
            &key(3),
            Some(&gone()),
            sent,
            &None,
            LIFE,
            sent.moment().after(LIFE),
        );
        assert!(
            !negatives.lock().by_key.contains_key(&key(3).digest()),
            "slower than its life"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn the_answer_to_the_later_request_counts_in_whatever_order_they_come() {
        let (older, newer) = (Sent::now(Clock::Tokio), Sent::now(Clock::Tokio));
        for (first, second, is_gone) in [
            ((Some(gone()), older), (None, newer), false),
            ((None, newer), (Some(gone()), older), false),
            ((None, older), (Some(gone()), newer), true),
            ((Some(gone()), newer), (None, older), true),
        ] {
            let negatives = Negatives::default();
            for (error, sent) in [first, second] {
                note(&negatives, 1, error.as_ref(), sent);
            }
            assert_eq!(negatives.get(&key(1), newer.moment()).is_some(), is_gone);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn an_error_of_any_length_is_not_remembered() {
        let (negatives, sent) = (Negatives::default(), Sent::now(Clock::Tokio));
        for (text, is_remembered) in [
            ("x".repeat(LARGEST / 2 - 20), true),
            ("x".repeat(LARGEST / 2), false),
        ] {
            let error = CallError::Remote {
                route: Route::new("shop", "get").unwrap(),
                error: Box::new(RemoteError::new("NotFound", text)),
            };
            note(&negatives, 1, Some(&error), sent);
            assert_eq!(negatives.get(&key(1), sent.moment()).is_some(), is_remembered);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn it_is_bounded_and_what_found_no_room_still_counts() {
        let (negatives, older) = (Negatives::default(), Sent::now(Clock::Tokio));
        (0..MOST).for_each(|n| note(&negatives, n, Some(&gone()), Sent::now(Clock::Tokio)));
        note(&negatives, MOST, None, Sent::now(Clock::Tokio));
        note(&negatives, MOST, Some(&gone()), older);
        assert_eq!(negatives.lock().by_key.len(), MOST);
        negatives.forget(&key(0), negatives.get(&key(0), older.moment()).unwrap().sent);
        assert!(negatives.get(&key(0), older.moment()).is_none());
        tokio::time::sleep(LIFE).await;
        note(&negatives, MOST, Some(&gone()), older);
        assert!(
            negatives.get(&key(MOST), Clock::Tokio.now()).is_none(),
            "a later one was good"
        );
        (0..2).for_each(|n| note(&negatives, MOST + n, Some(&gone()), Sent::now(Clock::Tokio)));
        assert_eq!(negatives.lock().by_key.len(), 2, "what is over makes room");
    }

    /// Good answers took all places, as there are many more of them, and no error was remembered any more.
    #[tokio::test(start_paused = true)]
    async fn good_answers_leave_room_for_others_and_still_count() {
        let (negatives, older) = (Negatives::default(), Sent::now(Clock::Tokio));
        (0..3 * MOST).for_each(|n| note(&negatives, n, None, Sent::now(Clock::Tokio)));
        assert!(negatives.lock().by_key.len() <= MOST);
        note(&negatives, 0, Some(&gone()), older);
        assert!(
            negatives.get(&key(0), older.moment()).is_none(),
            "a later one was good"
        );
        for n in [0, MOST] {
            let sent = Sent::now(Clock::Tokio);
            note(&negatives, n, Some(&gone()), sent);
            assert!(negatives.get(&key(n), sent.moment()).is_some(), "{n}");
        }
    }
}
