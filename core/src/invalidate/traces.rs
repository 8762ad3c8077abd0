//! Where invalidations leave traces: what says of most answers, without a lock, that none was about them.

use std::{
    hash::{BuildHasher, Hash},
    sync::atomic::{AtomicU64, Ordering},
};

use foldhash::fast::RandomState;

use super::Scope;
use crate::{clock::Moment, key::Key};

/// The moments of the latest invalidations, by what they were about. Things that share a place by chance are asked about
/// more closely than they need be. 72 KiB.
// Written right before the moment of the latest invalidation, and read right after that: for a scheduler, one step.
pub(super) struct Traces {
    everything: AtomicU64,
    /// Of services and methods.
    names: Box<[AtomicU64]>,
    /// Of calls and tags.
    items: Box<[AtomicU64]>,
    hasher: RandomState,
}

impl Default for Traces {
    fn default() -> Self {
        let places = |number| (0..number).map(|_| AtomicU64::default()).collect();
        Self {
            everything: AtomicU64::default(),
            names: places(1 << 10),
            items: places(1 << 13),
            hasher: RandomState::default(),
        }
    }
}

impl Traces {
    pub(super) fn leave_everywhere(&self, now: Moment) {
        leave(&self.everything, now);
    }

    pub(super) fn leave(&self, scope: &Scope, now: Moment) {
        match scope {
            Scope::Everything => self.leave_everywhere(now),
            Scope::Service(service) => leave(self.name(service, None), now),
            Scope::Method(service, method) => leave(self.name(service, Some(method)), now),
            Scope::Tag(tag) => leave(self.tag(tag), now),
        }
    }

    pub(super) fn leave_at(&self, call: &Key, now: Moment) {
        leave(self.call(call), now);
    }

    /// Whether there is none since this moment of what an answer to this call could be invalidated by.
    pub(super) fn none_since(
        &self,
        asked_for: Moment,
        call: &Key,
        service: &str,
        method: &str,
        tags: &[String],
    ) -> bool {
        let places = [
            &self.everything,
            self.name(service, None),
            self.name(service, Some(method)),
            self.call(call),
        ];
        let tags = tags.iter().map(|tag| self.tag(tag));
        let mut places = places.into_iter().chain(tags);
        places.all(|place| asked_for.as_nanos() > place.load(Ordering::Acquire))
    }

    fn name(&self, service: &str, method: Option<&str>) -> &AtomicU64 {
        place(&self.names, self.hash((service, method)))
    }

    fn tag(&self, tag: &str) -> &AtomicU64 {
        place(&self.items, self.hash(tag))
    }

    fn call(&self, key: &Key) -> &AtomicU64 {
        place(&self.items, key.hash64())
    }

    fn hash(&self, name: impl Hash) -> u64 {
        self.hasher.hash_one(name)
    }
}

fn leave(place: &AtomicU64, now: Moment) {
    place.fetch_max(now.as_nanos(), Ordering::AcqRel);
}

fn place(places: &[AtomicU64], hash: u64) -> &AtomicU64 {
    &places[hash as usize % places.len()]
}
