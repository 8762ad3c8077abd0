//! The memory of failure: after enough of them in a row, or in a while, a method's service is taken for dead, and those
//! who have a cached answer no longer wait to find out.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use foldhash::quality::RandomState;

use crate::clock::Moment;

/// When a service is taken for dead, and how often it is looked at again.
///
/// It counts, per method, requests that got no answer: [unavailable](crate::ErrorClass::Unavailable) ones, and those
/// slower than the `failover_timeout` (or the [adaptive](crate::Adaptive) patience). An exception is an answer. While
/// the circuit is open, a call with a usable cached answer gets it at once; a call without one goes out all the same,
/// unless it is to [fail fast](Self::fail_fast). From time to time one request goes out behind such an answer, and the
/// first that succeeds closes the circuit. Both are logged: at `WARN` that it opens, at `INFO` that it closes.
#[derive(Debug, Clone, Copy, PartialEq)]
#[must_use]
pub struct Breaker {
    in_a_row: u32,
    ratio: f64,
    of_at_least: u32,
    within: Duration,
    first_pause: Duration,
    longest_pause: Duration,
    pub(crate) fails_fast: bool,
}

impl Default for Breaker {
    /// Opens after 5 failures in a row, or when at least half of 20 or more requests within 30 s failed. Looks again
    /// after 1 s, then after 2, 4, .. up to 30 s, each 20 % more or less.
    fn default() -> Self {
        Self {
            in_a_row: 5,
            ratio: 0.5,
            of_at_least: 20,
            within: Duration::from_secs(30),
            first_pause: Duration::from_secs(1),
            longest_pause: Duration::from_secs(30),
            fails_fast: false,
        }
    }
}

impl Breaker {
    /// Opens after this many failures in a row, at least 1.
    pub fn after_failures(mut self, in_a_row: u32) -> Self {
        self.in_a_row = in_a_row.max(1);
        self
    }

    /// Opens when at least this share (0 to 1) of at least `of` requests failed within `within`.
    pub fn at_ratio(mut self, ratio: f64, of: u32, within: Duration) -> Self {
        (self.ratio, self.of_at_least, self.within) = (ratio, of.max(1), within);
        self
    }

    /// Looks again after `first`, then after twice that, and so on up to `longest`.
    pub fn pauses(mut self, first: Duration, longest: Duration) -> Self {
        (self.first_pause, self.longest_pause) = (first, longest.max(first));
        self
    }

    /// Whether a call without a usable cached answer fails at once while the circuit is open, with
    /// [`CallError::CircuitOpen`](crate::CallError::CircuitOpen), instead of going out. Default: no, it is no worse off
    /// than without a cache. Yes spares a service that is overloaded, and callers who have something better to do.
    pub fn fail_fast(mut self, on: bool) -> Self {
        self.fails_fast = on;
        self
    }
}

/// What a call may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Circuit {
    /// The service is taken for well.
    Closed,
    /// It is taken for dead, and not to be looked at again for so long.
    Open(Duration),
    /// It is taken for dead, and this call is to look again.
    Probe,
}

/// How a request ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ending {
    Answered,
    /// After it had been counted as silent.
    AnsweredLate,
    Silent,
}

/// What an ending changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Turn {
    /// The service is taken for dead, after so many failures: in a row, or of those that count.
    Opened(u64),
    /// It is taken for well again.
    Closed,
}

/// What is remembered of all methods of one service.
#[derive(Default)]
pub(crate) struct Circuits(Mutex<HashMap<String, Memory, RandomState>>);

impl Circuits {
    /// Most methods that are remembered; calls of others find their circuit closed.
    const MOST: usize = 1024;

    /// Whether to ask the service for `method`.
    pub(crate) fn ask(&self, method: &str, now: Moment) -> Circuit {
        self.lock()
            .get_mut(method)
            .map_or(Circuit::Closed, |memory| memory.ask(now))
    }

    /// What [`ask`](Self::ask) would say.
    pub(crate) fn look(&self, method: &str, now: Moment) -> Circuit {
        self.lock()
            .get(method)
            .map_or(Circuit::Closed, |memory| memory.look(now))
    }

    /// Notes how a request of `method` ended.
    pub(crate) fn note(&self, method: &str, settings: Breaker, now: Moment, ending: Ending) -> Option<Turn> {
        let mut circuits = self.lock();
        if let Some(memory) = circuits.get_mut(method) {
            return memory.note(now, ending);
        }
        if circuits.len() == Self::MOST {
            return None;
        }
        let mut memory = Memory::new(settings, method);
        let turn = memory.note(now, ending);
        circuits.insert(method.to_owned(), memory);
        turn
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Memory, RandomState>> {
        // Counters are whole after every step; a panic elsewhere changes nothing.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What is remembered of one method.
#[derive(Debug)]
struct Memory {
    settings: Breaker,
    failures: u32,
    recent: VecDeque<Bucket>,
    open: Option<Pause>,
    /// Makes pauses differ, the same way in every run.
    draws: u64,
}

/// Requests that ended within a third of the time that counts.
#[derive(Debug)]
struct Bucket {
    since: Moment,
    ended: u64,
    failed: u64,
}

#[derive(Debug)]
struct Pause {
    until: Moment,
    length: Duration,
}

impl Memory {
    fn new(settings: Breaker, method: &str) -> Self {
        Self {
            settings,
            failures: 0,
            recent: VecDeque::new(),
            open: None,
            draws: method.bytes().fold(0, |seed, byte| {
                (seed ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
            }),
        }
    }

    /// Whether to ask the service. Whoever is told to probe is the only one until the next pause ends.
    fn ask(&mut self, now: Moment) -> Circuit {
        let circuit = self.look(now);
        if let (Circuit::Probe, Some(pause)) = (circuit, &self.open) {
            let length = pause.length.saturating_mul(2).min(self.settings.longest_pause);
            self.pause(now, length);
        }
        circuit
    }

    fn look(&self, now: Moment) -> Circuit {
        match &self.open {
            None => Circuit::Closed,
            Some(pause) if now < pause.until => Circuit::Open(pause.until.since(now)),
            Some(_) => Circuit::Probe,
        }
    }

    fn note(&mut self, now: Moment, ending: Ending) -> Option<Turn> {
        let was_open = self.open.is_some();
        match ending {
            Ending::Answered => self.succeeded(now),
            // Alive, but no faster than patience allows: that closes nothing.
            Ending::AnsweredLate => self.failures = 0,
            Ending::Silent => self.failed(now),
        }
        match (was_open, self.open.is_some()) {
            (false, true) => Some(Turn::Opened(self.lately().1.max(self.failures.into()))),
            (true, false) => Some(Turn::Closed),
            _ => None,
        }
    }

    /// The service answered.
    fn succeeded(&mut self, now: Moment) {
        self.bucket(now).ended += 1;
        self.failures = 0;
        if self.open.take().is_some() {
            // What led here says nothing about the service as it is now.
            self.recent.clear();
        }
    }

    /// The service didn't answer.
    fn failed(&mut self, now: Moment) {
        let bucket = self.bucket(now);
        bucket.ended += 1;
        bucket.failed += 1;
        self.failures = self.failures.saturating_add(1);
        if self.open.is_none() && (self.failures >= self.settings.in_a_row || self.too_many()) {
            self.pause(now, self.settings.first_pause);
        }
    }

    /// How many requests ended in the time that counts, and how many of them failed.
    fn lately(&self) -> (u64, u64) {
        let buckets = self.recent.iter();
        buckets.fold((0, 0), |(ended, failed), b| (ended + b.ended, failed + b.failed))
    }

    fn too_many(&self) -> bool {
        let (ended, failed) = self.lately();
        ended >= self.settings.of_at_least.into() && failed as f64 >= self.settings.ratio * ended as f64
    }

    fn bucket(&mut self, now: Moment) -> &mut Bucket {
        let within = self.settings.within;
        while self
            .recent
            .front()
            .is_some_and(|first| now.since(first.since) >= within)
        {
            self.recent.pop_front();
        }
        if self
            .recent
            .back()
            .is_none_or(|last| now.since(last.since) >= within / 3)
        {
            self.recent.push_back(Bucket {
                since: now,
                ended: 0,
                failed: 0,
            });
        }
        let last = self.recent.len() - 1;
        &mut self.recent[last]
    }

    fn pause(&mut self, now: Moment, length: Duration) {
        // SplitMix64's finaliser: enough to keep methods from looking at the same moment.
        self.draws = self.draws.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.draws ^ self.draws >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let share = 0.8 + 0.4 * ((mixed >> 40) as f64 / (1u64 << 24) as f64);
        let spread = Duration::try_from_secs_f64(length.as_secs_f64() * share).unwrap_or(length);
        self.open = Some(Pause {
            until: now.after(spread),
            length,
        });
    }
}

#[cfg(test)]
mod tests;
