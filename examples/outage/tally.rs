//! What became of the calls.

use std::{fmt, time::Duration};

use crate::play::Phase;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Proxy {
    Plain,
    Cached,
    CacheFirst,
}

impl Proxy {
    pub(crate) const ALL: [Self; 3] = [Self::Plain, Self::Cached, Self::CacheFirst];
}

/// One call that is over.
pub(crate) struct Called {
    pub(crate) proxy: Proxy,
    /// When it began.
    pub(crate) phase: Phase,
    /// Whether it was this proxy's first for its product, so that nothing could be cached.
    pub(crate) is_first: bool,
    pub(crate) took: Duration,
    /// Of an answer from the cache.
    pub(crate) age: Option<Duration>,
    pub(crate) answer: Answer,
}

pub(crate) enum Answer {
    /// From the service.
    Live,
    /// From the cache, and fresh.
    Cached,
    /// From the cache, past its freshness.
    Stale,
    /// None.
    Error(String),
}

/// All calls so far.
#[derive(Default)]
pub(crate) struct Tally {
    calls: Vec<Called>,
    /// How many of them were looked at as news.
    old: usize,
}

impl Tally {
    pub(crate) fn add(&mut self, called: Called) {
        self.calls.push(called);
    }

    /// The calls through `proxy`, of one phase or of all.
    pub(crate) fn counts(&self, proxy: Proxy, phase: Option<Phase>) -> Counts {
        let of_phase = |call: &&Called| phase.is_none_or(|phase| call.phase == phase);
        of(&self.calls, proxy).filter(of_phase).collect()
    }

    /// The calls through each proxy that ended since the last look.
    pub(crate) fn news(&mut self) -> [Counts; 3] {
        let new = &self.calls[self.old..];
        self.old = self.calls.len();
        Proxy::ALL.map(|proxy| of(new, proxy).collect())
    }

    /// The first error that a caller of `proxy` got.
    pub(crate) fn first_error(&self, proxy: Proxy) -> Option<&str> {
        of(&self.calls, proxy).find_map(Called::error)
    }

    /// An error of a cached proxy that had an answer to give.
    pub(crate) fn broken_promise(&self) -> Option<&str> {
        let is_promised = |call: &&Called| call.proxy != Proxy::Plain && !call.is_first;
        self.calls.iter().filter(is_promised).find_map(Called::error)
    }
}

fn of(calls: &[Called], proxy: Proxy) -> impl Iterator<Item = &Called> {
    calls.iter().filter(move |call| call.proxy == proxy)
}

impl Called {
    fn error(&self) -> Option<&str> {
        match &self.answer {
            Answer::Error(error) => Some(error),
            _ => None,
        }
    }
}

/// Some calls, counted.
#[derive(Default)]
pub(crate) struct Counts {
    pub(crate) live: usize,
    pub(crate) cached: usize,
    pub(crate) stale: usize,
    pub(crate) errors: usize,
    /// Of the oldest answer from the cache.
    pub(crate) oldest: Duration,
    /// How long each call took, shortest first.
    took: Vec<Duration>,
}

impl Counts {
    pub(crate) fn calls(&self) -> usize {
        self.took.len()
    }

    /// The time within which this share of the calls was over.
    pub(crate) fn quantile(&self, share: f64) -> Option<Duration> {
        let rank = (share * self.calls() as f64).ceil() as usize;
        self.took.get(rank.saturating_sub(1)).copied()
    }
}

impl<'a> FromIterator<&'a Called> for Counts {
    fn from_iter<I: IntoIterator<Item = &'a Called>>(calls: I) -> Self {
        let mut counts = Self::default();
        for call in calls {
            match call.answer {
                Answer::Live => counts.live += 1,
                Answer::Cached => counts.cached += 1,
                Answer::Stale => counts.stale += 1,
                Answer::Error(_) => counts.errors += 1,
            }
            counts.oldest = counts.oldest.max(call.age.unwrap_or_default());
            counts.took.push(call.took);
        }
        counts.took.sort_unstable();
        counts
    }
}

impl fmt::Display for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Plain => "plain",
            Self::Cached => "cached",
            Self::CacheFirst => "cache_first",
        })
    }
}
