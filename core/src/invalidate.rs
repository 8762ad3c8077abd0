//! Invalidation that always wins: what was asked for before an invalidation is never an answer after it, whether it is
//! stored already, still on its way, or copied from somewhere later.
//!
//! Every request takes a place in one order of all requests and invalidations when it starts ([`Sent`]). An
//! invalidation is a barrier in that order: stored entries, late replies and refreshes of requests before it are judged
//! by it when they are read, stored or joined. Nothing has to be searched for, so invalidating a whole service costs no
//! more than one call.

use std::{
    collections::HashMap,
    hash::Hash,
    sync::{PoisonError, atomic::Ordering},
};

#[cfg(test)]
use crate::clock::Clock;
use crate::{
    clock::Moment,
    entry::Sent,
    key::Key,
    route::Route,
    sync::{AtomicU64, Mutex, MutexGuard},
};

/// Most barriers of single calls, and most of tags, that are remembered one by one. When there are more, one barrier
/// takes the place of the older half: it invalidates more than was asked for, and never less.
const MAX_BARRIERS: usize = 65_536;

/// What an invalidation is about, beyond [one call](crate::Call::invalidate).
///
/// It reaches all proxies of one client and its clones, whatever stores they use.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Scope {
    /// Every answer of every service.
    Everything,
    /// Every answer of one service.
    Service(String),
    /// Every answer of one method of a service.
    Method(String, String),
    /// Every answer that was stored with this [tag](crate::Call::tag).
    Tag(String),
}

impl Scope {
    /// Every answer of `method` of `service`.
    pub fn method(service: impl Into<String>, method: impl Into<String>) -> Self {
        Self::Method(service.into(), method.into())
    }

    /// Every answer of `service`.
    pub fn service(service: impl Into<String>) -> Self {
        Self::Service(service.into())
    }

    /// Every answer with this tag.
    pub fn tag(tag: impl Into<String>) -> Self {
        Self::Tag(tag.into())
    }
}

/// How thoroughly something is invalidated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Force {
    /// Gone, for failover too.
    Hard,
    /// No longer fresh; may still stand in for an error.
    Soft,
}

/// What invalidations leave of something that was asked for once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Verdict {
    /// None touched it.
    Untouched,
    /// It is stale.
    Expired,
    /// It must not be used.
    Gone,
}

/// All invalidations of one client.
#[derive(Default)]
pub(crate) struct Epochs {
    /// The moment of the latest one: what was asked for after it needs no closer look.
    latest: AtomicU64,
    barriers: Mutex<Barriers>,
}

#[derive(Default)]
struct Barriers {
    everything: Barrier,
    services: HashMap<String, Service>,
    tags: HashMap<String, Barrier>,
    /// For whatever has a tag, in place of too many.
    all_tags: Barrier,
    /// The latest of any tag.
    latest_tag: Option<Sent>,
    /// For single calls, by their keys' digests, which are short; `everything` stands in place of too many.
    calls: HashMap<[u8; 32], Barrier>,
}

#[derive(Default)]
struct Service {
    barrier: Barrier,
    methods: HashMap<String, Barrier>,
}

/// The latest invalidations of one thing.
#[derive(Clone, Copy, Default)]
struct Barrier {
    hard: Option<Sent>,
    soft: Option<Sent>,
}

impl Barrier {
    fn raise(&mut self, to: Sent, force: Force) {
        match force {
            Force::Hard => self.hard = self.hard.max(Some(to)),
            Force::Soft => self.soft = self.soft.max(Some(to)),
        }
    }

    fn latest(&self) -> Option<Sent> {
        self.hard.max(self.soft)
    }

    fn judge(&self, sent: Sent) -> Verdict {
        let before = |barrier: Option<Sent>| barrier.is_some_and(|barrier| sent < barrier);
        match (before(self.hard), before(self.soft)) {
            (true, _) => Verdict::Gone,
            (false, true) => Verdict::Expired,
            (false, false) => Verdict::Untouched,
        }
    }
}

impl Epochs {
    /// Whether no invalidation of anything came since this moment: the common case, at the price of one load.
    #[inline]
    pub(crate) fn none_since(&self, asked_for: Moment) -> bool {
        asked_for.as_nanos() > self.latest.load(Ordering::Acquire)
    }

    /// What invalidations leave of an answer to this call that was asked for at `sent`.
    pub(crate) fn judge(&self, sent: Sent, key: &Key, route: &Route, tags: &[String]) -> Verdict {
        if self.none_since(sent.moment()) {
            return Verdict::Untouched;
        }
        let call = key.digest();
        let barriers = self.lock();
        let service = barriers.services.get(route.service());
        let found = [
            Some(&barriers.everything),
            service.map(|service| &service.barrier),
            service.and_then(|service| service.methods.get(route.method())),
            barriers.calls.get(&call),
            (!tags.is_empty()).then_some(&barriers.all_tags),
        ];
        let tagged = tags.iter().filter_map(|tag| barriers.tags.get(tag));
        found
            .into_iter()
            .flatten()
            .chain(tagged)
            .map(|barrier| barrier.judge(sent))
            .max()
            .unwrap_or(Verdict::Untouched)
    }

    /// Whether any tag was invalidated since `sent`.
    pub(crate) fn any_tag_since(&self, sent: Sent) -> bool {
        !self.none_since(sent.moment()) && self.lock().latest_tag > Some(sent)
    }

    /// Invalidates everything in `scope` that was asked for before `now`.
    pub(crate) fn raise(&self, scope: &Scope, now: Sent, force: Force) {
        let mut barriers = self.raising(now);
        let barrier = match scope {
            Scope::Everything => &mut barriers.everything,
            Scope::Service(service) => &mut barriers.services.entry(service.clone()).or_default().barrier,
            Scope::Method(service, method) => {
                let service = barriers.services.entry(service.clone()).or_default();
                service.methods.entry(method.clone()).or_default()
            }
            Scope::Tag(tag) => {
                barriers.latest_tag = barriers.latest_tag.max(Some(now));
                barriers.tag(tag)
            }
        };
        barrier.raise(now, force);
    }

    /// Invalidates the answers to one call that were asked for before `now`.
    pub(crate) fn raise_call(&self, key: &Key, now: Sent, force: Force) {
        let call = key.digest();
        self.raising(now).call(call).raise(now, force);
    }

    /// The lock, with `latest` raised under it.
    fn raising(&self, now: Sent) -> MutexGuard<'_, Barriers> {
        let barriers = self.lock();
        self.latest.fetch_max(now.moment().as_nanos(), Ordering::AcqRel);
        barriers
    }

    fn lock(&self) -> MutexGuard<'_, Barriers> {
        // Every operation leaves whole barriers behind: a panic elsewhere changes nothing.
        self.barriers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Barriers {
    fn tag(&mut self, tag: &str) -> &mut Barrier {
        if self.tags.len() >= MAX_BARRIERS && !self.tags.contains_key(tag) {
            merge_older_half(&mut self.tags, &mut self.all_tags);
        }
        self.tags.entry(tag.to_owned()).or_default()
    }

    fn call(&mut self, call: [u8; 32]) -> &mut Barrier {
        if self.calls.len() >= MAX_BARRIERS && !self.calls.contains_key(&call) {
            merge_older_half(&mut self.calls, &mut self.everything);
        }
        self.calls.entry(call).or_default()
    }
}

fn merge_older_half<K: Hash + Eq>(barriers: &mut HashMap<K, Barrier>, all: &mut Barrier) {
    let mut latest: Vec<_> = barriers.values().map(Barrier::latest).collect();
    let middle = latest.len() / 2;
    let (_, median, _) = latest.select_nth_unstable(middle);
    barriers.retain(|_, barrier| {
        let stays = barrier.latest() > *median;
        if !stays {
            all.hard = all.hard.max(barrier.hard);
            all.soft = all.soft.max(barrier.soft);
        }
        stays
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(n: usize) -> Key {
        Key::from_bytes(n.to_be_bytes())
    }

    fn sent() -> Sent {
        Sent::now(Clock::Tokio)
    }

    fn judge(epochs: &Epochs, sent: Sent, n: usize, tags: &[&str]) -> Verdict {
        let tags: Vec<String> = tags.iter().map(|tag| (*tag).to_owned()).collect();
        epochs.judge(sent, &key(n), &Route::new("shop", "get").unwrap(), &tags)
    }

    /// Proves: 3, E10.
    #[test]
    fn each_scope_reaches_what_came_before_it_and_nothing_else() {
        let reaching = [
            Scope::Everything,
            Scope::service("shop"),
            Scope::method("shop", "get"),
            Scope::tag("a"),
        ];
        let missing = [
            Scope::service("sho"),
            Scope::method("shop", "ge"),
            Scope::method("sho", "get"),
            Scope::tag("b"),
        ];
        for (scope, reached) in reaching
            .iter()
            .map(|s| (s, true))
            .chain(missing.iter().map(|s| (s, false)))
        {
            for (force, verdict) in [(Force::Hard, Verdict::Gone), (Force::Soft, Verdict::Expired)] {
                let epochs = Epochs::default();
                let before = sent();
                epochs.raise(scope, sent(), force);
                let expected = if reached { verdict } else { Verdict::Untouched };
                assert_eq!(judge(&epochs, before, 1, &["a"]), expected, "{scope:?}");
                assert_eq!(judge(&epochs, sent(), 1, &["a"]), Verdict::Untouched, "{scope:?}");
            }
        }
    }

    #[test]
    fn hard_wins_over_soft_and_a_later_one_over_an_earlier() {
        let epochs = Epochs::default();
        let first = sent();
        epochs.raise_call(&key(1), sent(), Force::Hard);
        let second = sent();
        epochs.raise_call(&key(1), sent(), Force::Soft);
        assert_eq!(judge(&epochs, first, 1, &[]), Verdict::Gone);
        assert_eq!(judge(&epochs, second, 1, &[]), Verdict::Expired);
        assert_eq!(judge(&epochs, first, 2, &[]), Verdict::Untouched);
    }

    /// Proves: 5, E10.
    #[tokio::test(start_paused = true)]
    async fn within_one_moment_the_order_of_events_decides() {
        let epochs = Epochs::default();
        let (before, barrier, after) = (sent(), sent(), sent());
        epochs.raise(&Scope::Everything, barrier, Force::Hard);
        assert_eq!(judge(&epochs, before, 1, &[]), Verdict::Gone);
        assert_eq!(judge(&epochs, after, 1, &[]), Verdict::Untouched);
    }

    #[tokio::test(start_paused = true)]
    async fn what_came_after_the_latest_needs_no_closer_look() {
        let epochs = Epochs::default();
        let before = sent();
        assert!(epochs.none_since(before.moment()));
        let barrier = sent();
        epochs.raise(&Scope::tag("a"), barrier, Force::Soft);
        assert!(!epochs.none_since(before.moment()) && epochs.any_tag_since(before));
        assert!(!epochs.any_tag_since(barrier), "it is no invalidation of itself");
        tokio::time::advance(std::time::Duration::from_nanos(1)).await;
        assert!(epochs.none_since(sent().moment()));
    }

    /// Proves: 9.
    #[test]
    fn barriers_are_bounded_and_never_forgotten() {
        let epochs = Epochs::default();
        let old = sent();
        let mut middle = old;
        for n in 0..MAX_BARRIERS {
            epochs.raise_call(&key(n), sent(), Force::Hard);
            if n == MAX_BARRIERS / 2 {
                middle = sent();
            }
        }
        assert_eq!(judge(&epochs, old, usize::MAX, &[]), Verdict::Untouched);
        let young = sent();
        epochs.raise_call(&key(MAX_BARRIERS), sent(), Force::Soft);
        assert_eq!(epochs.lock().calls.len(), MAX_BARRIERS / 2);
        assert_eq!(
            judge(&epochs, middle, usize::MAX, &[]),
            Verdict::Untouched,
            "only the older half counts for all"
        );
        for n in [0, 1, MAX_BARRIERS / 2, MAX_BARRIERS - 1] {
            assert_eq!(judge(&epochs, old, n, &[]), Verdict::Gone, "{n} still counts");
        }
        assert_eq!(
            judge(&epochs, old, usize::MAX, &[]),
            Verdict::Gone,
            "as does more than was asked for"
        );
        assert_eq!(judge(&epochs, young, 0, &[]), Verdict::Untouched);
        assert_eq!(judge(&epochs, young, MAX_BARRIERS, &[]), Verdict::Expired);

        let epochs = Epochs::default();
        for n in 0..MAX_BARRIERS + 1 {
            epochs.raise(&Scope::tag(n.to_string()), sent(), Force::Soft);
        }
        assert_eq!(epochs.lock().tags.len(), MAX_BARRIERS / 2);
        assert_eq!(judge(&epochs, old, 0, &["0"]), Verdict::Expired);
        assert_eq!(
            judge(&epochs, old, 0, &["untold"]),
            Verdict::Expired,
            "whatever has a tag"
        );
        assert_eq!(judge(&epochs, old, 0, &[]), Verdict::Untouched);
    }
}
