//! The node that all checks share, and how one is run.

use std::{
    fmt,
    io::Write,
    ops::{Deref, DerefMut},
    time::Duration,
};

use nameko_cachetools::{CallError, Delivery, ErrorClass, Route, TransportError};
use nameko_cachetools_interop::{PrivateBroker, live};
use tokio::sync::{OnceCell, RwLock, RwLockReadGuard, RwLockWriteGuard};

use crate::subject::Subject;

/// A RabbitMQ node.
pub(crate) struct Stage {
    broker: RwLock<PrivateBroker>,
    pub(crate) uri: String,
}

impl Stage {
    /// For checks that leave the node alone; they run beside each other.
    pub(crate) async fn shared(&self) -> RwLockReadGuard<'_, PrivateBroker> {
        loop {
            let broker = self.broker.read().await;
            if broker.is_running() {
                return broker;
            }
            drop(broker);
            drop(self.alone().await);
        }
    }

    /// For checks that break the node. One that failed half-way leaves a node that doesn't run: the others shall not
    /// fail for it.
    pub(crate) async fn alone(&self) -> Alone<'_> {
        let mut broker = self.broker.write().await;
        if !broker.is_running() {
            broker.restart().await.unwrap();
        }
        Alone(broker)
    }
}

/// Nobody else has the node. Whatever happened, it doesn't stay hung.
pub(crate) struct Alone<'a>(RwLockWriteGuard<'a, PrivateBroker>);

impl Deref for Alone<'_> {
    type Target = PrivateBroker;

    fn deref(&self) -> &PrivateBroker {
        &self.0
    }
}

impl DerefMut for Alone<'_> {
    fn deref_mut(&mut self) -> &mut PrivateBroker {
        &mut self.0
    }
}

impl Drop for Alone<'_> {
    fn drop(&mut self) {
        let _ = self.0.resume(); // of a node that doesn't run, nothing is hung
    }
}

/// What a check found.
pub(crate) struct Row {
    /// What the calls ended with.
    pub(crate) end: Result<(), TransportError>,
    /// From the fault until they had ended.
    pub(crate) noticed: Duration,
    /// From the fault's end until calls worked again; `None` where they never stopped working.
    pub(crate) back: Option<Duration>,
}

/// Runs `check`; prints its row.
pub(crate) fn run<T: Subject>(name: &str, check: impl AsyncFnOnce(&Stage) -> Row) {
    live::run_within(PATIENCE, async {
        let stage = STAGE.get_or_try_init(async || {
            let broker = PrivateBroker::start().await?;
            Ok(Stage {
                uri: broker.uri(),
                broker: RwLock::new(broker),
            })
        });
        if let Some(stage) = live::require(stage.await) {
            let row = check(stage).await;
            // Past the harness's capture: the table is for readers of a green run.
            let _ = writeln!(std::io::stderr(), "fault: {} {name}: {row}", T::NAME);
        }
    });
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.end {
            Ok(()) => write!(f, "replies")?,
            Err(error) => {
                let text = format!("{error:?}");
                let kind = text.split([' ', '(']).next().unwrap_or_default();
                write!(
                    f,
                    "{kind} ({:?}), may have executed: {}",
                    class(error),
                    error.delivery() != Delivery::NotSent
                )?;
            }
        }
        write!(f, ", noticed after {} ms", self.noticed.as_millis())?;
        match self.back {
            Some(back) => write!(f, ", back after {} ms", back.as_millis()),
            None => write!(f, ", same connection"),
        }
    }
}

/// What the proxies make of it.
fn class(error: &TransportError) -> ErrorClass {
    let (route, error) = (Route::new("faults", "any").unwrap(), error.clone());
    CallError::Transport { route, error }.class()
}

/// Most of it may be waiting for others' turns.
const PATIENCE: Duration = Duration::from_secs(900);
static STAGE: OnceCell<Stage> = OnceCell::const_new();
