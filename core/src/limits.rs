//! The limits that calls wait for.

use std::{
    future::{Future, pending},
    time::Duration,
};

use tokio::time::Instant;

use crate::{
    error::{CallError, Delivery, Timer},
    route::Route,
    sync::sleep_until,
    transport::Transport,
};

/// Ends with a call's own limit, if it has one: with the error of a call whose request was handed over.
///
/// The broker is asked of the service just before, so that the answer is there in time: it lengthens no call.
pub(crate) async fn timed_out(
    transport: &dyn Transport,
    route: &Route,
    started: Instant,
    limit: Option<Duration>,
) -> CallError {
    let ends = limit.and_then(|limit| Some((limit, started.checked_add(limit)?)));
    let Some((after, ends)) = ends else {
        return pending().await;
    };
    at(ends.checked_sub(ASKING.min(after / 4))).await;
    let queue = tokio::select! {
        biased;
        queue = transport.service_queue(route.service()) => queue,
        () = sleep_until(ends) => None,
    };
    sleep_until(ends).await;
    CallError::Timeout {
        route: route.clone(),
        timer: Timer::CallTimeout,
        after,
        delivery: Delivery::Unknown,
        queue,
    }
}

/// How long before a call's end the broker is asked: many times as long as it takes to answer.
const ASKING: Duration = Duration::from_millis(250);

/// Lets a reply that came in the same moment land first: at a tie the reply beats the limit.
pub(crate) async fn tie<T>(limit: impl Future<Output = T>) -> T {
    let end = limit.await;
    tokio::task::yield_now().await;
    end
}

/// Pending until `deadline`; for ever, if there is none.
pub(crate) async fn at(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => sleep_until(deadline).await,
        None => pending().await,
    }
}
