//! Runs scenarios on all cores, half of their schedules by pure chance, half by priorities that change seldom.

use std::{
    env,
    panic::{AssertUnwindSafe, catch_unwind},
    process::ExitCode,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

use shuttle::{
    Config, Runner,
    scheduler::{PctScheduler, RandomScheduler, ReplayScheduler, Scheduler},
};

/// A name, and what happens once.
pub(crate) type Scenario = (&'static str, fn());

/// How many schedules are run in one go.
const CHUNK: usize = 5000;
/// How often priorities change within a schedule: PCT finds bugs of up to this many decisions with a fair chance.
const DEPTH: usize = 3;

struct Arguments {
    schedules: usize,
    /// Of each scenario, rather than in all.
    each: Option<usize>,
    only: String,
    replay: Option<String>,
}

pub(crate) fn main(scenarios: &'static [Scenario]) -> ExitCode {
    let Some(arguments) = arguments() else {
        eprintln!("usage: shuttle --schedules N | --each N [--only NAME [--replay SCHEDULE]]");
        return ExitCode::from(2);
    };
    let chosen: Vec<Scenario> = scenarios
        .iter()
        .filter(|(name, _)| name.contains(&arguments.only))
        .copied()
        .collect();
    if let Some(schedule) = &arguments.replay {
        chosen.iter().for_each(|(_, scenario)| {
            let _ = run(ReplayScheduler::new_from_encoded(schedule), *scenario);
        });
        return ExitCode::SUCCESS;
    }
    let each = arguments
        .each
        .unwrap_or(arguments.schedules.div_ceil(chosen.len().max(1)));
    let (schedules, violations) = explore(&chosen, each);
    println!("shuttle: schedules={schedules} violations={violations}");
    if violations == 0 && schedules > 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

/// How many schedules were run in all, and how many scenarios failed.
fn explore(scenarios: &[Scenario], each: usize) -> (usize, usize) {
    let chunks: Vec<_> = (0..each.div_ceil(CHUNK))
        .flat_map(|chunk| scenarios.iter().map(move |scenario| (chunk, *scenario)))
        .collect();
    let (next, ran) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let failed = Mutex::new(Vec::new());
    let work = || {
        while let Some((chunk, (name, scenario))) = chunks.get(next.fetch_add(1, Ordering::Relaxed)) {
            let many = CHUNK.min(each - chunk * CHUNK);
            let failed = || failed.lock().unwrap_or_else(PoisonError::into_inner);
            if failed().contains(name) {
                continue;
            }
            let result = if chunk % 2 == 0 {
                run(RandomScheduler::new(many), *scenario)
            } else {
                run(PctScheduler::new(DEPTH, many), *scenario)
            };
            match result {
                Some(many) => _ = ran.fetch_add(many, Ordering::Relaxed),
                None => {
                    println!("VIOLATED  {name}");
                    failed().push(name);
                }
            }
        }
    };
    let cores = thread::available_parallelism().map_or(1, usize::from);
    thread::scope(|scope| {
        for _ in 0..cores {
            scope.spawn(work);
        }
    });
    let failed = failed.into_inner().unwrap_or_else(PoisonError::into_inner);
    (ran.into_inner(), failed.len())
}

/// How many schedules were run; `None`: one of them failed, and was shown.
fn run(scheduler: impl Scheduler + 'static, scenario: fn()) -> Option<usize> {
    let mut config = Config::new();
    config.silence_warnings = true;
    catch_unwind(AssertUnwindSafe(|| Runner::new(scheduler, config).run(scenario))).ok()
}

fn arguments() -> Option<Arguments> {
    let mut arguments = Arguments {
        schedules: 10_000,
        each: None,
        only: String::new(),
        replay: None,
    };
    let mut given = env::args().skip(1);
    while let Some(name) = given.next() {
        let value = given.next()?;
        match name.as_str() {
            "--schedules" => arguments.schedules = value.parse().ok()?,
            "--each" => arguments.each = Some(value.parse().ok()?),
            "--only" => arguments.only = value,
            "--replay" => arguments.replay = Some(value),
            _ => return None,
        }
    }
    Some(arguments)
}
