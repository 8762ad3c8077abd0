//! How a live test is run, and what becomes of it where it can't.
//!
//! A machine without Python, the pinned packages or a broker runs no live tests, and the suite says so on standard
//! error, past the test harness's capture. With `CI_LIVE=1` in the environment it fails instead. What is there and
//! doesn't work is always a failure.
//!
//! All live tests of a process share one runtime and, through [`shared`], one process of services per [`Packages`].

use std::{
    collections::HashSet,
    env,
    future::Future,
    io::{self, Write},
    path::Path,
    sync::{LazyLock, Mutex, PoisonError},
    time::Duration,
};

use tokio::{runtime::Runtime, sync::OnceCell, time::timeout};

use crate::{Interop, InteropBuilder, Packages, PrivateBroker, Unavailable};

/// Runs a test against services that it shares with all others of this process: it must leave them running.
///
/// # Panics
/// As [`run`].
pub fn shared(packages: Packages, test: impl AsyncFnOnce(&'static Interop)) {
    run(async {
        let services = SHARED[packages as usize]
            .get_or_try_init(|| Interop::builder().packages(packages).start())
            .await;
        if let Some(services) = require(services) {
            test(services).await;
        }
    });
}

/// Runs a test against services of its own, which it may stop, kill, hang and restart.
///
/// # Panics
/// As [`run`].
pub fn alone(builder: InteropBuilder, test: impl AsyncFnOnce(&mut Interop)) {
    run(async {
        if let Some(mut services) = require(builder.start().await) {
            test(&mut services).await;
        }
    });
}

/// Runs a test against a broker of its own, which it may break.
///
/// # Panics
/// As [`run`].
pub fn private_broker(test: impl AsyncFnOnce(&mut PrivateBroker)) {
    run(async {
        if let Some(mut broker) = require(PrivateBroker::start().await) {
            test(&mut broker).await;
        }
    });
}

/// Runs a test on the runtime that all live tests share.
///
/// # Panics
/// When the test does, and after three minutes: a live test that hangs has failed.
pub fn run(test: impl Future<Output = ()>) {
    run_within(TEST_LIMIT, test);
}

/// The same with another limit, for tests that wait for their turn.
///
/// # Panics
/// As [`run`], after `limit`.
#[expect(clippy::panic, reason = "this is how a test fails")]
pub fn run_within(limit: Duration, test: impl Future<Output = ()>) {
    if RUNTIME.block_on(async { timeout(limit, test).await }).is_err() {
        panic!("the test hasn't ended after {limit:?}");
    }
}

/// What was started; or `None`, said aloud, where the machine lacks what it takes.
///
/// # Panics
/// When the machine lacks nothing, and with `CI_LIVE=1`.
#[expect(clippy::panic, reason = "this is how a test fails")]
pub fn require<T>(started: Result<T, Unavailable>) -> Option<T> {
    match started {
        Ok(started) => Some(started),
        Err(error) if error.is_missing() && !is_required() => {
            say_skipped(&error.to_string());
            None
        }
        Err(error) => panic!("{error}"),
    }
}

/// Whether `CI_LIVE=1` is in the environment: a live test that can't run has failed then.
pub fn is_required() -> bool {
    env::var("CI_LIVE").is_ok_and(|value| value == "1")
}

/// Once per reason and process, straight to standard error: the harness captures only what is printed by macros.
fn say_skipped(reason: &str) {
    let mut said = SAID.lock().unwrap_or_else(PoisonError::into_inner);
    if said.insert(reason.into()) {
        let program = env::args_os().next().unwrap_or_default();
        let file = Path::new(&program)
            .file_stem()
            .unwrap_or_default()
            .to_string_lossy();
        let suite = file.rsplit_once('-').map_or(&*file, |(suite, _hash)| suite);
        let _ = writeln!(
            io::stderr(),
            "\nSKIPPED: live tests of `{suite}` did not run: {reason}"
        );
    }
}

#[expect(clippy::expect_used, reason = "a test that can't have a runtime has failed")]
static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| Runtime::new().expect("a runtime for live tests"));
static SHARED: [OnceCell<Interop>; 3] = [const { OnceCell::const_new() }; 3];
static SAID: LazyLock<Mutex<HashSet<String>>> = LazyLock::new(Mutex::default);
const TEST_LIMIT: Duration = Duration::from_secs(180);
