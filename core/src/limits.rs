//! The limits that calls wait for.

use std::{future::Future, time::Duration};

use tokio::time::Instant;

use crate::{
    error::{CallError, Delivery, Timer},
    route::Route,
    sync::sleep_until,
};

/// The error of a call whose own limit ran out after its request was handed over.
pub(crate) fn timed_out(route: &Route, limit: Option<Duration>) -> CallError {
    CallError::Timeout {
        route: route.clone(),
        timer: Timer::CallTimeout,
        after: limit.unwrap_or_default(),
        delivery: Delivery::Unknown,
    }
}

/// Lets a reply that came in the same moment land first: at a tie the reply beats the limit.
pub(crate) async fn tie(limit: impl Future<Output = ()>) {
    limit.await;
    tokio::task::yield_now().await;
}

/// Pending until `deadline`; for ever, if there is none.
pub(crate) async fn at(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}
