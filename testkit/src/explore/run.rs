//! One seed on a runtime of its own, whose clock is paused.

use std::{
    any::Any,
    future::Future,
    panic::{AssertUnwindSafe, catch_unwind},
};

use tokio::runtime::{Builder, Handle, Runtime};

use super::Sim;
use crate::fail;

/// What came of one run.
pub(crate) struct Ran<T> {
    /// The scenario's own result, or the message of its panic.
    pub(crate) result: Result<T, String>,
    pub(crate) timeline: String,
}

/// Runs `scenario` with `seed`. Tasks that it leaves behind end with it.
#[track_caller]
pub(crate) fn run<F, Fut, T>(seed: u64, scenario: F) -> Ran<T>
where
    F: FnOnce(Sim) -> Fut,
    Fut: Future<Output = T>,
{
    if Handle::try_current().is_ok() {
        fail(
            "explore makes a runtime of its own for each seed: call it from a #[test], not from a #[tokio::test]",
        );
    }
    let runtime = paused();
    let sim = {
        let _within = runtime.enter();
        Sim::new(seed)
    };
    let running = sim.clone();
    let result = catch_unwind(AssertUnwindSafe(|| {
        runtime.block_on(async { scenario(running).await })
    }));
    Ran {
        result: result.map_err(|panic| message(panic.as_ref())),
        timeline: sim.timeline(),
    }
}

#[track_caller]
fn paused() -> Runtime {
    match Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => fail(format!("no runtime could be made: {error}")),
    }
}

/// What a panic said.
pub(crate) fn message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "it panicked without a message".to_owned())
}

/// The first line in which two timelines differ, as text.
pub(crate) fn first_difference(first: &str, second: &str) -> Option<String> {
    if first == second {
        return None;
    }
    let (mut one, mut two) = (first.lines(), second.lines());
    loop {
        let lines = (one.next(), two.next());
        if lines.0 != lines.1 || lines == (None, None) {
            let shown = |line: Option<&str>| line.unwrap_or("(the end)").to_owned();
            return Some(format!("  once: {}\n  then: {}", shown(lines.0), shown(lines.1)));
        }
    }
}
