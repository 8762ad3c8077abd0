//! Tries interleavings of what tasks do to each other: single-flight, invalidation against commits, the store in memory.
//!
//! ```sh
//! RUSTFLAGS='--cfg shuttle' CARGO_TARGET_DIR=target/shuttle \
//!     cargo run --profile fast -p nameko-cachetools --example shuttle -- --schedules 1000000
//! ```
//!
//! `--only NAME` runs the scenarios whose names contain it; `--only NAME --replay SCHEDULE` that one schedule of one. What
//! fails is shown with its schedule; the last line counts.

#![allow(clippy::expect_used, reason = "a schedule fails by a panic")]

#[cfg(shuttle)]
mod flight;
#[cfg(shuttle)]
mod invalidation;
#[cfg(shuttle)]
mod memory;
#[cfg(shuttle)]
mod run;
#[cfg(shuttle)]
mod stage;

#[cfg(shuttle)]
fn main() -> std::process::ExitCode {
    run::main(&[
        ("flight: calm", flight::calm),
        ("flight: leaving", flight::leaving_and_staying),
        ("flight: leaving at once", flight::leaving_at_once),
        ("flight: restless", flight::restless),
        ("flight: refreshing", flight::refreshing),
        ("invalidation: versions", invalidation::versions),
        ("invalidation: nothing stays", invalidation::nothing_stays),
        ("memory: one key", memory::one_key),
        ("memory: full", memory::full),
    ])
}

#[cfg(not(shuttle))]
fn main() -> std::process::ExitCode {
    eprintln!("this needs RUSTFLAGS='--cfg shuttle': without it, locks and tasks are not the scheduler's");
    std::process::ExitCode::from(2)
}
