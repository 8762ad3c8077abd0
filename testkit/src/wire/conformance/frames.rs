//! Frames that are none, come slowly, or don't come.

use std::{sync::Arc, time::Duration};

use tokio::time::sleep;

use super::{AT_ONCE, Harness, Outcome, Scene, UNTOLD};
use crate::wire::Damage;

/// Proves: T4.
pub(super) async fn a_wrong_frame_end_ends_what_waits(harness: Arc<dyn Harness>) -> Outcome {
    broken_by(harness, Damage::WrongEnd, AT_ONCE).await
}

/// Proves: T4.
pub(super) async fn an_unknown_frame_type_ends_what_waits(harness: Arc<dyn Harness>) -> Outcome {
    broken_by(harness, Damage::UnknownType, AT_ONCE).await
}

/// The rest of such a frame never comes: only watching helps.
///
/// Proves: T4, R4.
pub(super) async fn a_bogus_length_ends_what_waits(harness: Arc<dyn Harness>) -> Outcome {
    broken_by(harness, Damage::Length(u32::MAX), UNTOLD).await
}

pub(super) async fn half_a_frame_ends_what_waits(harness: Arc<dyn Harness>) -> Outcome {
    broken_by(harness, Damage::Truncated(9), UNTOLD).await
}

/// The frame of a reply is broken while other calls wait.
async fn broken_by(harness: Arc<dyn Harness>, damage: Damage, limit: Duration) -> Outcome {
    let scene = Scene::new(&harness).await?;
    let waiting = scene.waiting().await?;
    scene.wire.damage("basic.deliver", damage);
    let (_, lost) = tokio::join!(scene.echo("lost"), waiting.are_lost(limit));
    lost?;
    scene.recovers().await
}

/// Libraries that read a frame's size first wait for the rest of it.
pub(super) async fn what_is_not_amqp_ends_what_waits(harness: Arc<dyn Harness>) -> Outcome {
    let scene = Scene::new(&harness).await?;
    let waiting = scene.waiting().await?;
    scene.wire.send_raw(b"HTTP/1.1 400 Bad Request\r\n\r\n");
    waiting.are_lost(UNTOLD).await?;
    scene.recovers().await
}

pub(super) async fn slow_octets_are_waited_for(harness: Arc<dyn Harness>) -> Outcome {
    let scene = Scene::new(&harness).await?;
    let _slow = scene.wire.slow(Duration::from_millis(1));
    scene.echo("drop by drop").await
}

/// Whether the connection is kept or replaced, calls work.
pub(super) async fn missing_heartbeats_are_survived(harness: Arc<dyn Harness>) -> Outcome {
    let scene = Scene::new(&harness).await?;
    let _heartless = scene.wire.no_heartbeats();
    sleep(Duration::from_secs(10)).await;
    scene.recovers().await
}
