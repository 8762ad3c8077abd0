//! A broker that comes and goes.

use std::{
    mem::replace,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::{runtime::Handle, task::AbortHandle, time::sleep};

use crate::{Outage, fail, hub::Hub, outages::Kind};

/// Takes a broker down and up again, in turn, until it ends.
#[derive(Debug)]
pub(crate) struct Flapping {
    now: Arc<Mutex<Now>>,
    task: AbortHandle,
}

#[derive(Debug)]
enum Now {
    Up,
    Down(#[allow(dead_code, reason = "held for its drop")] Outage),
    Over,
}

impl Flapping {
    #[track_caller]
    pub(crate) fn begin(hub: &Arc<Hub>, down: Duration, up: Duration) -> Self {
        if (down + up).is_zero() {
            fail("flapping: both times are zero");
        }
        let Ok(runtime) = Handle::try_current() else {
            fail("flapping goes by tokio's time: begin it within a runtime, as in a #[tokio::test]");
        };
        let hub = Arc::clone(hub);
        let now = Arc::new(Mutex::new(Now::Down(Outage::begin(&hub, Kind::Down))));
        let turn = Arc::clone(&now);
        let task = runtime.spawn(async move {
            loop {
                sleep(down).await;
                if !change(&turn, || Now::Up) {
                    return;
                }
                sleep(up).await;
                if !change(&turn, || Now::Down(Outage::begin(&hub, Kind::Down))) {
                    return;
                }
            }
        });
        let task = task.abort_handle();
        Self { now, task }
    }

    /// Leaves the broker up.
    pub(crate) fn end(&mut self) {
        change(&self.now, || Now::Over);
        self.task.abort();
    }
}

/// Makes the change, unless it is over. What was before is dropped within the lock, so that nothing overlaps.
fn change(now: &Mutex<Now>, next: impl FnOnce() -> Now) -> bool {
    let mut now = now.lock().unwrap_or_else(PoisonError::into_inner);
    if matches!(*now, Now::Over) {
        return false;
    }
    drop(replace(&mut *now, Now::Up));
    *now = next();
    true
}
