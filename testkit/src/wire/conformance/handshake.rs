//! Brokers that don't let one in, or on odd terms.

use std::sync::Arc;

use tokio::time::Duration;

use super::{Harness, Outcome, Scene, ensure, stage, within};
use crate::wire::Tune;

/// An attempt's own limit, and the checks' patience with it.
const LIMIT: Duration = Duration::from_secs(20);

pub(super) async fn a_silent_handshake_ends_in_time(harness: Arc<dyn Harness>) -> Outcome {
    let (_broker, wire) = stage().await;
    let _silent = wire.silent_handshake();
    let connected = within(LIMIT, "an attempt to connect", harness.connect(&wire.uri())).await?;
    ensure!(connected.is_err(), "there is a transport without a handshake");
    Ok(())
}

pub(super) async fn refused_logins_are_told(harness: Arc<dyn Harness>) -> Outcome {
    let (_broker, wire) = stage().await;
    let refused = wire.refuse_logins();
    let connected = within(LIMIT, "an attempt to connect", harness.connect(&wire.uri())).await?;
    ensure!(
        connected.is_err(),
        "there is a transport in spite of a refused login"
    );
    refused.end();
    let scene = Scene::new(&harness).await?;
    scene.echo("after a refusal").await
}

pub(super) async fn refused_vhosts_are_told(harness: Arc<dyn Harness>) -> Outcome {
    let (_broker, wire) = stage().await;
    let _refused = wire.refuse_vhosts();
    let connected = within(LIMIT, "an attempt to connect", harness.connect(&wire.uri())).await?;
    ensure!(connected.is_err(), "there is a transport without a vhost");
    Ok(())
}

/// No heartbeats, no limits, or hardly any room: bodies are cut into small frames, and come together again.
pub(super) async fn extreme_limits_are_agreed_to(harness: Arc<dyn Harness>) -> Outcome {
    let (channel_max, frame_max, heartbeat) = (2047, 131_072, 60);
    for tune in [
        Tune {
            channel_max,
            frame_max,
            heartbeat: 0,
        },
        Tune {
            channel_max,
            frame_max,
            heartbeat: 1,
        },
        Tune {
            channel_max,
            frame_max: 0,
            heartbeat,
        },
        Tune {
            channel_max,
            frame_max: 8192, // lapin agrees to no less, and RabbitMQ 4 proposes no less
            heartbeat,
        },
        Tune {
            channel_max: 0,
            frame_max,
            heartbeat,
        },
        Tune {
            channel_max: 2,
            frame_max,
            heartbeat,
        },
    ] {
        if tune.frame_max == 0 && !harness.takes_unlimited_frames() {
            continue;
        }
        let (broker, wire) = stage().await;
        let _tuned = wire.tune(tune);
        let transport = harness
            .connect(&wire.uri())
            .await
            .map_err(|error| format!("{tune:?}: {error}"))?;
        let scene = Scene {
            transport,
            wire,
            broker,
        };
        scene
            .echo(&"x".repeat(300_000))
            .await
            .map_err(|error| format!("{tune:?}: {error}"))?;
    }
    Ok(())
}
