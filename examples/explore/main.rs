//! Tries to break the cache: any number of seeded schedules, judged by a naive model.
//!
//! ```sh
//! cargo run --release --example explore -- --schedules 1000000
//! cargo run --release --example explore -- --schedules 1 --seed 852     # that one, once more
//! ```
//!
//! All cores work, each on its own schedules. Whatever fails is shrunk and shown; the last line counts.

use std::{
    env,
    process::ExitCode,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    thread,
};

use nameko_cachetools_testkit::explore::machine::{Finding, Schedule, check, check_twice, shrink};

/// Of so many schedules, one runs twice: both runs must be the same.
const TWICE: u64 = 100;
/// More violations than this need not be seen at once.
const MOST_SHOWN: u64 = 10;

fn main() -> ExitCode {
    let (schedules, seed) = match arguments() {
        Ok(arguments) => arguments,
        Err(message) => {
            eprintln!("{message}\nusage: explore --schedules N [--seed FIRST]");
            return ExitCode::from(2);
        }
    };
    let work = Work {
        next: AtomicU64::new(seed),
        end: seed.saturating_add(schedules),
        calls: AtomicU64::new(0),
        violations: AtomicU64::new(0),
        screen: Mutex::new(()),
    };
    let cores = thread::available_parallelism().map_or(1, usize::from);
    thread::scope(|scope| {
        for _ in 0..cores {
            scope.spawn(|| work.explore());
        }
    });
    let (calls, violations) = (work.calls.load(Relaxed), work.violations.load(Relaxed));
    println!("explore: schedules={schedules} calls={calls} violations={violations}");
    if violations == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

/// What the threads share.
struct Work {
    next: AtomicU64,
    end: u64,
    calls: AtomicU64,
    violations: AtomicU64,
    screen: Mutex<()>,
}

impl Work {
    fn explore(&self) {
        loop {
            let seed = self.next.fetch_add(1, Relaxed);
            if seed >= self.end {
                return;
            }
            let schedule = Schedule::generate(seed);
            self.calls.fetch_add(schedule.calls() as u64, Relaxed);
            let found = if seed.is_multiple_of(TWICE) {
                check_twice(&schedule)
            } else {
                check(&schedule)
            };
            if let Some(finding) = found
                && self.violations.fetch_add(1, Relaxed) < MOST_SHOWN
            {
                self.show(shrink(finding));
            }
        }
    }

    fn show(&self, finding: Finding) {
        let _turn = self.screen.lock().unwrap_or_else(PoisonError::into_inner);
        println!("{finding}  again: --schedules 1 --seed {}\n", finding.seed());
    }
}

fn arguments() -> Result<(u64, u64), String> {
    let (mut schedules, mut seed) = (None, 0);
    let mut arguments = env::args().skip(1);
    while let Some(name) = arguments.next() {
        let value = arguments.next().and_then(|text| text.parse().ok());
        match (name.as_str(), value) {
            ("--schedules", Some(number)) => schedules = Some(number),
            ("--seed", Some(number)) => seed = number,
            _ => return Err(format!("{name} is not understood, or needs a whole number")),
        }
    }
    Ok((schedules.ok_or("how many schedules?")?, seed))
}
