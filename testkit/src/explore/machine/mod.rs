//! The machine that tries to break the cache: seeded schedules, and a naive model that judges what came of them.
//!
//! A [`Schedule`] is a short list of calls, leavers, slow and failing answers, outages and trouble with the store, at
//! virtual times that lie at the boundaries of every time limit. [`check`] runs one against the real library, writes
//! down whatever passes between it, its transport, its store and its callers, and lets the model follow that log: see
//! [`Finding`] for what it says. [`shrink`] leaves out of a schedule that fails whatever it can fail without.
//!
//! ```
//! use nameko_cachetools_testkit::explore::machine::{Schedule, check, shrink};
//!
//! for seed in 0..50 {
//!     if let Some(finding) = check(&Schedule::generate(seed)) {
//!         panic!("{}", shrink(finding));
//!     }
//! }
//! ```
//!
//! It is made for this library's own two strategies; for code of your own, see [`explore`](crate::explore()).

mod generate;
mod leaving;
mod log;
mod model;
mod schedule;
mod shrink;
mod stage;
mod store;
#[cfg(test)]
mod tests;
mod transport;
mod world;

use std::{fmt, sync::Arc};

pub use model::Violation;
pub use schedule::Schedule;

use super::run::{first_difference, run};

/// A schedule that the library did not survive.
#[derive(Clone)]
pub struct Finding {
    schedule: Schedule,
    violation: Violation,
    /// What happened until then.
    log: String,
    /// Whether two runs differ, rather than a rule being broken.
    is_difference: bool,
}

/// Runs `schedule` once and judges it.
pub fn check(schedule: &Schedule) -> Option<Finding> {
    judged(schedule).err().map(|finding| *finding)
}

/// Runs `schedule` twice: as [`check`] does, and to see whether the second run is the same as the first.
pub fn check_twice(schedule: &Schedule) -> Option<Finding> {
    let (first, second) = match (judged(schedule), judged(schedule)) {
        (Ok(first), Ok(second)) => (first, second),
        (Err(finding), _) | (_, Err(finding)) => return Some(*finding),
    };
    let difference = first_difference(&first, &second)?;
    Some(Finding {
        schedule: schedule.clone(),
        violation: Violation::new("same run", format!("two runs differ:\n{difference}")),
        log: first,
        is_difference: true,
    })
}

/// The least that still breaks the same rule. It takes a few hundred runs.
pub fn shrink(finding: Finding) -> Finding {
    let again = |schedule: &Schedule| {
        if finding.is_difference {
            check_twice(schedule)
        } else {
            check(schedule)
        }
    };
    shrink::shrink(finding.clone(), again)
}

/// The whole log as text, if there is nothing wrong with it.
fn judged(schedule: &Schedule) -> Result<String, Box<Finding>> {
    let shared = Arc::new(schedule.clone());
    let ran = run(schedule.seed, |sim| world::run(sim, shared));
    let finding = |violation, log| {
        Box::new(Finding {
            schedule: schedule.clone(),
            violation,
            log,
            is_difference: false,
        })
    };
    let log = match ran.result {
        Ok(log) => log,
        Err(message) => return Err(finding(Violation::new("no panic", message), ran.timeline)),
    };
    let events = log.events();
    match model::judge(schedule, &events) {
        Ok(()) => Ok(log::text(&events, events.len())),
        Err(violation) => {
            let text = log::text(&events, violation.event);
            Err(finding(violation, text))
        }
    }
}

impl Finding {
    /// The seed of its schedule.
    pub fn seed(&self) -> u64 {
        self.schedule.seed
    }
}

/// The rule, the schedule, and what happened until the rule was broken.
impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}\n\n{}\nwhat happened:\n{}",
            self.violation, self.schedule, self.log
        )
    }
}

impl fmt::Debug for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
