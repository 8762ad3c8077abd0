//! Checks of how things end: dropped, closed, lost.

use std::time::Duration;

use nameko_cachetools::{ConnectionState, Delivery, TransportError};
use tokio::time::{Instant, sleep, timeout};

use super::{Harness, Outcome, SLOW, echo, request, under_way};
use crate::conformance::{ensure, within};

/// What `close` may take beyond its grace.
const SECOND: Duration = Duration::from_secs(1);

pub(super) async fn a_dropped_request_leaves_nothing_to_wait_for(harness: &dyn Harness) -> Outcome {
    let transport = harness.transport().await;
    for _ in 0..20 {
        let silent = timeout(SLOW / 30, transport.request(request("silent", "dropped"))).await;
        ensure!(silent.is_err(), "the service's `silent` was answered");
    }
    echo(harness, &transport, "afterwards").await?;
    if harness.closes() {
        // `close` waits for requests under way: for those that were dropped, it must not.
        let (start, grace) = (Instant::now(), harness.patience() * 2);
        within(grace + SECOND, "closing", transport.close(grace)).await?;
        ensure!(
            start.elapsed() < harness.patience(),
            "closing waited for requests that were dropped"
        );
    }
    Ok(())
}

pub(super) async fn a_closed_transport_refuses_requests(harness: &dyn Harness) -> Outcome {
    if !harness.closes() {
        return Ok(());
    }
    let transport = harness.transport().await;
    let state = transport.state();
    within(harness.patience(), "closing", transport.close(Duration::ZERO)).await?;
    let refused = within(
        harness.patience(),
        "a refusal",
        transport.request(request("echo", 0)),
    )
    .await?;
    ensure!(
        matches!(refused, Err(TransportError::Closed)),
        "expected Closed, got {refused:?}"
    );
    ensure!(
        *state.borrow() == ConnectionState::Closed,
        "the state is {:?}, not Closed",
        *state.borrow()
    );
    Ok(())
}

pub(super) async fn closing_waits_for_requests_under_way(harness: &dyn Harness) -> Outcome {
    if !harness.closes() {
        return Ok(());
    }
    let transport = harness.transport().await;
    let slow = under_way(harness, &transport, "slow").await?;
    let (start, grace) = (Instant::now(), SLOW + harness.patience());
    within(grace + SECOND, "closing", transport.close(grace)).await?;
    ensure!(
        start.elapsed() < grace,
        "closing took the whole grace though nothing was left to wait for"
    );
    let reply = within(harness.patience(), "the reply", slow)
        .await?
        .map_err(|error| error.to_string())?;
    reply
        .map(drop)
        .map_err(|error| format!("a request that had time until the grace's end failed: {error}"))
}

pub(super) async fn closing_fails_what_outlasts_the_grace(harness: &dyn Harness) -> Outcome {
    if !harness.closes() {
        return Ok(());
    }
    let transport = harness.transport().await;
    let silent = under_way(harness, &transport, "silent").await?;
    within(SLOW + SECOND, "closing with a grace", transport.close(SLOW)).await?;
    let end = within(SECOND, "the end of a request", silent)
        .await?
        .map_err(|error| error.to_string())?;
    match end {
        Ok(_) => Err("a silent service was said to have replied".to_owned()),
        Err(error) if error.delivery() != Delivery::Unknown => Err(format!(
            "{error:?} says {:?}, but the service may have it",
            error.delivery()
        )),
        Err(_) => Ok(()),
    }
}

pub(super) async fn closing_twice_is_harmless(harness: &dyn Harness) -> Outcome {
    let transport = harness.transport().await;
    for _ in 0..2 {
        within(harness.patience(), "closing", transport.close(Duration::ZERO)).await?;
    }
    Ok(())
}

pub(super) async fn closing_an_idle_transport_is_quick(harness: &dyn Harness) -> Outcome {
    let transport = harness.transport().await;
    echo(harness, &transport, 0).await?;
    let (start, grace) = (Instant::now(), harness.patience() * 2);
    within(grace + SECOND, "closing", transport.close(grace)).await?;
    ensure!(
        start.elapsed() < harness.patience(),
        "it took {:?} with nothing to wait for",
        start.elapsed()
    );
    Ok(())
}

pub(super) async fn a_lost_connection_ends_every_wait(harness: &dyn Harness) -> Outcome {
    let transport = harness.transport().await;
    let waits = [
        under_way(harness, &transport, "silent").await?,
        under_way(harness, &transport, "silent").await?,
    ];
    if !harness.cut().await {
        return Ok(());
    }
    for wait in waits {
        let end = within(harness.patience(), "noticing the loss", wait)
            .await?
            .map_err(|error| error.to_string())?;
        match end {
            Err(TransportError::Disconnected {
                delivery: Delivery::Unknown,
                ..
            }) => {}
            other => {
                return Err(format!(
                    "expected Disconnected with delivery Unknown, got {other:?}"
                ));
            }
        }
    }
    // It comes back by itself: until then, requests are refused, never lost in silence.
    let back = async {
        loop {
            match echo(harness, &transport, "back").await {
                Ok(()) => return,
                Err(_) => sleep(SLOW / 10).await,
            }
        }
    };
    within(harness.patience(), "reconnecting", back).await
}
