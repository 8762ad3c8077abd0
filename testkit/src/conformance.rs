//! What both conformance suites share: how a check fails, and how a suite reports.

use std::{fmt::Display, pin::Pin, time::Duration};

use tokio::time::timeout;

use crate::fail;

/// What a check says: nothing, or how the implementation breaks the contract.
pub type Outcome = Result<(), String>;

/// A check under way.
pub type Checking<'a> = Pin<Box<dyn Future<Output = Outcome> + Send + 'a>>;

/// Runs named checks one after the other and panics with all that failed.
pub(crate) async fn run_all<'a>(of: &str, checks: impl Iterator<Item = (&'static str, Checking<'a>)>) {
    let mut failed = Vec::new();
    let mut count = 0;
    for (name, check) in checks {
        count += 1;
        if let Err(why) = check.await {
            failed.push(format!("  {name}: {why}"));
        }
    }
    if !failed.is_empty() {
        fail(format!(
            "{} of {count} checks of {of} failed:\n{}",
            failed.len(),
            failed.join("\n")
        ));
    }
}

/// Waits for `future`, but not for ever.
pub(crate) async fn within<T>(
    limit: Duration,
    what: impl Display,
    future: impl Future<Output = T>,
) -> Result<T, String> {
    timeout(limit, future)
        .await
        .map_err(|_| format!("{what} took longer than {limit:?}"))
}

/// Fails the check unless the condition holds.
macro_rules! ensure {
    ($holds:expr, $($message:tt)+) => {
        if !$holds {
            return Err(format!($($message)+));
        }
    };
}

/// The list of a suite's checks, each under its own name.
macro_rules! checks {
    ($($module:ident::$name:ident),+ $(,)?) => {
        &[$((stringify!($name), |harness| Box::pin($module::$name(harness)))),+]
    };
}

pub(crate) use {checks, ensure};
