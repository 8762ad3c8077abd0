//! The limits that calls wait for.

use std::{
    future::{Future, pending},
    pin::Pin,
    time::Duration,
};

use tokio::{task::yield_now, time::Instant};

use crate::{
    error::{CallError, Delivery, Timer},
    route::Route,
    sync::sleep_until,
    transport::Transport,
};

/// When a call has to end.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limit {
    after: Duration,
    pub(crate) ends: Instant,
}

impl Limit {
    /// None, if there is none, or none that the clock will see.
    pub(crate) fn new(started: Instant, after: Option<Duration>) -> Option<Self> {
        let after = after?;
        let ends = started.checked_add(after)?;
        Some(Self { after, ends })
    }

    /// When the broker is asked of the service: just before, so that the answer is there in time, and lengthens no call.
    pub(crate) fn asks_at(&self) -> Option<Instant> {
        self.ends.checked_sub(ASKING.min(self.after / 4))
    }
}

/// Ends with a call's limit, if it has one: with the error of a call whose request was handed over.
pub(crate) async fn timed_out(transport: &dyn Transport, route: &Route, limit: Option<Limit>) -> CallError {
    let Some(limit) = limit else {
        return pending().await;
    };
    at(limit.asks_at()).await;
    let queue = tokio::select! {
        biased;
        queue = transport.service_queue(route.service()) => queue,
        () = sleep_until(limit.ends) => None,
    };
    sleep_until(limit.ends).await;
    yield_now().await; // at a tie the reply beats the limit
    CallError::Timeout {
        route: route.clone(),
        timer: Timer::CallTimeout,
        after: limit.after,
        delivery: Delivery::Unknown,
        queue,
    }
}

/// How long before a call's end the broker is asked: many times as long as it takes to answer.
const ASKING: Duration = Duration::from_millis(250);

/// Pending until `deadline`, and long enough for a reply of the same moment to land first; for ever, if there is none.
pub(crate) async fn passed(deadline: Option<Instant>) {
    at(deadline).await;
    yield_now().await;
}

async fn at(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => sleep_until(deadline).await,
        None => pending().await,
    }
}

/// What comes of a future that there may be; pending for ever, if there is none.
pub(crate) async fn if_any<F: Future>(future: &mut Option<Pin<Box<F>>>) -> F::Output {
    match future {
        Some(future) => future.await,
        None => pending().await,
    }
}
