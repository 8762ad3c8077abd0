//! Invalidation that always wins: what was asked for before an invalidation is never an answer after it, whether it is
//! stored already, still on its way, or copied from somewhere later.
//!
//! Every request takes a place in one order of all requests and invalidations when it starts ([`Sent`]). An
//! invalidation is a barrier in that order: stored entries, late replies and refreshes of requests before it are judged
//! by it when they are read, stored or joined. Nothing has to be searched for, so invalidating a whole service costs no
//! more than one call.

mod traces;

use std::{
    collections::HashMap,
    hash::Hash,
    sync::{PoisonError, atomic::Ordering},
};

use crate::{
    clock::Moment,
    entry::Sent,
    key::Key,
    route::Route,
    sync::{AtomicU64, Mutex, MutexGuard},
};
use traces::Traces;

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
    traces: Traces,
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
    /// For the same, by errors that are answers.
    errors: HashMap<[u8; 32], Barrier>,
    /// In place of too many of those. Only what is still on its way is held against it.
    all_errors: Barrier,
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

    /// Whether no invalidation of this answer came since this moment, as far as can be said at once.
    pub(crate) fn none_of_it_since(
        &self,
        asked_for: Moment,
        key: &Key,
        service: &str,
        method: &str,
        tags: &[String],
    ) -> bool {
        self.none_since(asked_for) || self.traces.none_since(asked_for, key, service, method, tags)
    }

    /// What invalidations leave of an answer to this call that was asked for at `sent`.
    pub(crate) fn judge(&self, sent: Sent, key: &Key, route: &Route, tags: &[String]) -> Verdict {
        if self.none_of_it_since(sent.moment(), key, route.service(), route.method(), tags) {
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
            barriers.errors.get(&call),
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
        let mut barriers = self.lock();
        match barriers.have_room_for(scope) {
            true => self.traces.leave(scope, now.moment()),
            false => self.traces.leave_everywhere(now.moment()),
        }
        self.note(now);
        let barrier = match scope {
            Scope::Everything => &mut barriers.everything,
            Scope::Service(service) | Scope::Method(service, _) if barriers.has_no_room_for(service) => {
                &mut barriers.everything
            }
            Scope::Service(service) => &mut barriers.services.entry(service.clone()).or_default().barrier,
            Scope::Method(service, method) => {
                let service = barriers.services.entry(service.clone()).or_default();
                one_of_few(&mut service.methods, &mut service.barrier, method)
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
        let mut barriers = self.lock();
        match barriers.calls.len() < MAX_BARRIERS {
            true => self.traces.leave_at(key, now.moment()),
            false => self.traces.leave_everywhere(now.moment()),
        }
        self.note(now);
        barriers.call(call).raise(now, force);
    }

    /// The same for an error that is an answer. Of those, a service has as many as its callers like: too many must not
    /// take from the store what has nothing to do with them.
    pub(crate) fn raise_error(&self, key: &Key, now: Sent) {
        let call = key.digest();
        let mut barriers = self.lock();
        self.traces.leave_at(key, now.moment());
        self.note(now);
        barriers.error(call).raise(now, Force::Hard);
    }

    /// Whether an answer that comes now may be older than such an error, of which nobody knows any more.
    pub(crate) fn may_be_denied(&self, sent: Sent) -> bool {
        !self.none_since(sent.moment()) && self.lock().all_errors.judge(sent) != Verdict::Untouched
    }

    /// An invalidation that has left its trace and is about to come, under the lock.
    fn note(&self, now: Sent) {
        self.latest.fetch_max(now.moment().as_nanos(), Ordering::AcqRel);
    }

    fn lock(&self) -> MutexGuard<'_, Barriers> {
        // Every operation leaves whole barriers behind: a panic elsewhere changes nothing.
        self.barriers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Barriers {
    /// Whether a barrier of this scope is about nothing else.
    fn have_room_for(&self, scope: &Scope) -> bool {
        match scope {
            Scope::Everything => true,
            Scope::Service(_) => self.services.len() < MAX_BARRIERS,
            Scope::Method(service, _) => {
                let methods = self
                    .services
                    .get(service)
                    .map_or(0, |service| service.methods.len());
                self.services.len() < MAX_BARRIERS && methods < MAX_BARRIERS
            }
            Scope::Tag(_) => self.tags.len() < MAX_BARRIERS,
        }
    }

    fn has_no_room_for(&self, service: &str) -> bool {
        self.services.len() >= MAX_BARRIERS && !self.services.contains_key(service)
    }

    fn tag(&mut self, tag: &str) -> &mut Barrier {
        one_of(&mut self.tags, &mut self.all_tags, tag.to_owned())
    }

    fn call(&mut self, call: [u8; 32]) -> &mut Barrier {
        one_of(&mut self.calls, &mut self.everything, call)
    }

    fn error(&mut self, call: [u8; 32]) -> &mut Barrier {
        one_of(&mut self.errors, &mut self.all_errors, call)
    }
}

/// There are few methods, unless their names come from outside: then one barrier takes the place of all further ones.
fn one_of_few<'a>(
    barriers: &'a mut HashMap<String, Barrier>,
    all: &'a mut Barrier,
    name: &str,
) -> &'a mut Barrier {
    if barriers.len() >= MAX_BARRIERS && !barriers.contains_key(name) {
        return all;
    }
    barriers.entry(name.to_owned()).or_default()
}

fn one_of<'a, K: Hash + Eq>(
    barriers: &'a mut HashMap<K, Barrier>,
    all: &mut Barrier,
    key: K,
) -> &'a mut Barrier {
    if barriers.len() >= MAX_BARRIERS && !barriers.contains_key(&key) {
        merge_older_half(barriers, all);
    }
    barriers.entry(key).or_default()
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
mod tests;
