//! Connections that end, are told to end, or fall silent.

use std::{sync::Arc, time::Duration};

use nameko_cachetools::{ConnectionState, TransportError};
use tokio::time::{sleep, timeout};

use super::{AT_ONCE, Harness, Outcome, PATIENCE, Scene, TICK, UNTOLD, ensure, request, within};

pub(super) async fn a_reset_ends_what_waits(harness: Arc<dyn Harness>) -> Outcome {
    ended_by(harness, |scene| scene.wire.reset()).await
}

pub(super) async fn a_fin_ends_what_waits(harness: Arc<dyn Harness>) -> Outcome {
    ended_by(harness, |scene| scene.wire.fin()).await
}

pub(super) async fn a_closed_connection_ends_what_waits(harness: Arc<dyn Harness>) -> Outcome {
    let text = "CONNECTION_FORCED - broker forced connection closure with reason 'shutdown'";
    ended_by(harness, |scene| scene.wire.close_connections(320, text)).await
}

pub(super) async fn a_closed_channel_ends_what_waits(harness: Arc<dyn Harness>) -> Outcome {
    let text = "NOT_FOUND - no exchange 'nameko-rpc' in vhost '/'";
    ended_by(harness, |scene| scene.wire.close_channels(404, text)).await
}

pub(super) async fn a_cancelled_consumer_ends_what_waits(harness: Arc<dyn Harness>) -> Outcome {
    ended_by(harness, |scene| scene.wire.cancel_consumers("")).await
}

pub(super) async fn a_deleted_reply_queue_ends_what_waits(harness: Arc<dyn Harness>) -> Outcome {
    ended_by(harness, |scene| scene.wire.delete_queues("")).await
}

/// Told ends are noticed at once, twice in a row.
async fn ended_by(harness: Arc<dyn Harness>, end: impl Fn(&Scene)) -> Outcome {
    let scene = Scene::new(&harness).await?;
    for _ in 0..2 {
        let waiting = scene.waiting().await?;
        end(&scene);
        waiting.are_lost(AT_ONCE).await?;
        scene.recovers().await?;
    }
    Ok(())
}

pub(super) async fn a_broker_that_is_down_is_waited_for(harness: Arc<dyn Harness>) -> Outcome {
    let scene = Scene::new(&harness).await?;
    let waiting = scene.waiting().await?;
    let outage = scene.broker.down();
    waiting.are_lost(AT_ONCE).await?;
    let error = within(
        PATIENCE,
        "a call without a broker",
        scene.transport.request(request("echo", "x")),
    )
    .await?;
    ensure!(
        matches!(
            error,
            Err(TransportError::NotConnected { .. } | TransportError::Disconnected { .. })
        ),
        "a call without a broker ended with {error:?}"
    );
    outage.end();
    scene.recovers().await
}

/// Nobody is told: only watching helps.
pub(super) async fn half_open_is_noticed(harness: Arc<dyn Harness>) -> Outcome {
    let scene = Scene::new(&harness).await?;
    let waiting = scene.waiting().await?;
    let silence = scene.wire.half_open();
    waiting.are_lost(UNTOLD).await?;
    silence.end();
    scene.recovers().await
}

/// A second of silence is a busy network, and no end.
pub(super) async fn a_short_silence_is_survived(harness: Arc<dyn Harness>) -> Outcome {
    let scene = Scene::new(&harness).await?;
    let silence = scene.wire.half_open();
    let echo = scene.echo("through a silence");
    let (echoed, ()) = tokio::join!(echo, async {
        sleep(Duration::from_secs(1)).await;
        silence.end();
    });
    echoed?;
    ensure!(
        scene.wire.connections() == 1,
        "{} connections",
        scene.wire.connections()
    );
    Ok(())
}

pub(super) async fn a_blocked_broker_takes_nothing(harness: Arc<dyn Harness>) -> Outcome {
    let scene = Scene::new(&harness).await?;
    scene.echo("before").await?;
    let alarm = scene.broker.blocked();
    // A transport that isn't told waits in vain, which is the caller's to limit.
    let during = timeout(
        Duration::from_secs(2),
        scene.transport.request(request("echo", "during")),
    )
    .await;
    ensure!(
        matches!(during, Err(_) | Ok(Err(TransportError::Blocked { .. }))),
        "a call to a blocked broker ended with {during:?}"
    );
    if let ConnectionState::Closed = *scene.transport.state().borrow() {
        return Err("a blocked transport is closed".to_owned());
    }
    alarm.end();
    sleep(TICK).await;
    scene.recovers().await
}
