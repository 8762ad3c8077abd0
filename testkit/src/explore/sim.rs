//! One run of a scenario: its seed, its chance, its brokers, its timeline.

use std::{
    fmt::{self, Display},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

use crate::{FakeBroker, hub::Hub};

/// One run of a scenario: the source of all its chance. A clone is the same run.
#[derive(Clone)]
pub struct Sim {
    seed: u64,
    run: Arc<Mutex<Run>>,
}

struct Run {
    chance: Chance,
    started: Instant,
    brokers: Vec<Arc<Hub>>,
    notes: String,
}

impl Sim {
    pub(crate) fn new(seed: u64) -> Self {
        let run = Run {
            chance: Chance::new(seed),
            started: Instant::now(),
            brokers: Vec::new(),
            notes: String::new(),
        };
        let run = Arc::new(Mutex::new(run));
        Self { seed, run }
    }

    /// This run's seed.
    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// A broker whose latencies are drawn by this run's seed, and whose timeline is part of this run's.
    pub fn broker(&self) -> FakeBroker {
        let (broker, hub) = FakeBroker::observed(self.seed);
        self.run().brokers.push(hub);
        broker
    }

    /// A number from 0 to `end - 1`, each equally likely; 0 if `end` is 0.
    pub fn below(&self, end: u64) -> u64 {
        self.run().chance.below(end)
    }

    /// True in so many of 100 cases.
    pub fn percent(&self, percent: u64) -> bool {
        self.below(100) < percent
    }

    /// A time from `least` to `most`, both included, in whole milliseconds.
    pub fn between(&self, least: Duration, most: Duration) -> Duration {
        let span = u64::try_from(most.saturating_sub(least).as_millis()).unwrap_or(u64::MAX);
        least + Duration::from_millis(self.below(span.saturating_add(1)))
    }

    /// One of `choices`.
    ///
    /// # Panics
    /// If there are none.
    #[track_caller]
    pub fn pick<'a, T>(&self, choices: &'a [T]) -> &'a T {
        match choices.get(self.below(choices.len() as u64) as usize) {
            Some(choice) => choice,
            None => crate::fail("pick() needs something to choose from"),
        }
    }

    /// A line for the timeline: what a failing seed shows, and what two runs of a seed are compared by.
    pub fn note(&self, line: impl Display) {
        let mut run = self.run();
        let at = run.started.elapsed().as_millis();
        run.notes.push_str(&format!("{at:>8} ms  {line}\n"));
    }

    /// Everything that happened: each broker's timeline, then the notes.
    pub(crate) fn timeline(&self) -> String {
        let run = self.run();
        let mut text: String = run
            .brokers
            .iter()
            .map(|hub| hub.lock().log.timeline(usize::MAX))
            .collect();
        text.push_str(&run.notes);
        text
    }

    fn run(&self) -> MutexGuard<'_, Run> {
        self.run.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Sim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Sim(seed {})", self.seed)
    }
}

/// `SplitMix64`: a seed means the same run in every version of every dependency.
#[derive(Debug, Clone)]
pub(crate) struct Chance(u64);

impl Chance {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// From 0 to `end - 1`, or 0: by multiplication (Lemire), which leaves no bias that a test could notice.
    pub(crate) fn below(&mut self, end: u64) -> u64 {
        ((u128::from(self.next()) * u128::from(end)) >> 64) as u64
    }

    pub(crate) fn percent(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }

    /// One of `choices`, which must not be empty.
    pub(crate) fn pick<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len() as u64) as usize]
    }
}
