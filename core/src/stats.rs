//! Counters of one proxy.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::{
    error::CallError,
    outcome::{Outcome, Reason, Source},
    striped::Striped,
};

/// What became of the calls of one proxy since it was built. Each finished call is counted once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Stats {
    /// Answered from the cache, fresh, without asking the service.
    pub hits: u64,
    /// Answered from the cache, past its freshness.
    pub stale: u64,
    /// Answered by the service.
    pub live: u64,
    /// Answered by the service without the cache having been considered: uncached methods, plain calls.
    pub bypass: u64,
    /// Ended with an error.
    pub errors: u64,
    /// Of the errors: those that were remembered as answers, so that the service was not asked
    /// ([`negative_for`](crate::CacheFirst::negative_for)).
    pub negatives: u64,
    /// Of the cached answers: those that stood in for an error. Silence is none until `call_timeout`: see the next two.
    pub masked: u64,
    /// Of the cached answers: those given because the service was silent for `failover_timeout`.
    pub failover_timeouts: u64,
    /// Of the cached answers and the errors: those that were not waited for, because the circuit was open
    /// (see [`Breaker`](crate::Breaker)).
    pub circuit_open: u64,
    /// Operations of the store that failed, stalled or panicked; the calls went on without it.
    pub store_troubles: u64,
    /// Refreshes not made because too many were under way.
    pub refreshes_skipped: u64,
    /// Late replies not waited for because too many requests were under way that nobody waited for.
    pub harvests_forgotten: u64,
}

impl Stats {
    /// All finished calls: `hits + stale + live + bypass + errors`.
    pub fn calls(&self) -> u64 {
        self.hits + self.stale + self.live + self.bypass + self.errors
    }
}

#[derive(Default)]
pub(crate) struct Counters {
    hits: Striped,
    stale: AtomicU64,
    live: AtomicU64,
    bypass: AtomicU64,
    errors: AtomicU64,
    negatives: AtomicU64,
    failover_timeouts: AtomicU64,
    circuit_open: AtomicU64,
    refreshes_skipped: AtomicU64,
}

impl Counters {
    #[inline]
    pub(crate) fn hit(&self) {
        self.hits.count();
    }

    pub(crate) fn negative(&self) {
        Self::add(&self.negatives);
    }

    pub(crate) fn refresh_skipped(&self) {
        Self::add(&self.refreshes_skipped);
    }

    pub(crate) fn count(&self, result: Result<&Outcome, &CallError>) {
        let result = result.map(|outcome| (outcome.source(), outcome.reason()));
        match result {
            Ok((_, Reason::FailoverTimeout)) => Self::add(&self.failover_timeouts),
            Ok((_, Reason::CircuitOpen)) | Err(CallError::CircuitOpen { .. }) => {
                Self::add(&self.circuit_open)
            }
            _ => {}
        }
        let counter = match result {
            Err(_) => &self.errors,
            Ok((Source::Fresh, _)) => return self.hits.count(),
            Ok((Source::Stale, _)) => &self.stale,
            Ok((Source::Live, Reason::Bypass | Reason::Unkeyable)) => &self.bypass,
            Ok((Source::Live, _)) => &self.live,
        };
        Self::add(counter);
    }

    fn add(counter: &AtomicU64) {
        counter.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn snapshot(&self) -> Stats {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Stats {
            hits: self.hits.sum(),
            stale: read(&self.stale),
            live: read(&self.live),
            bypass: read(&self.bypass),
            errors: read(&self.errors),
            negatives: read(&self.negatives),
            failover_timeouts: read(&self.failover_timeouts),
            circuit_open: read(&self.circuit_open),
            refreshes_skipped: read(&self.refreshes_skipped),
            ..Stats::default()
        }
    }
}
