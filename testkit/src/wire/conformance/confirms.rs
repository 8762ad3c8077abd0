//! What the broker says of requests.

use std::{sync::Arc, time::Duration};

use nameko_cachetools::{Delivery, TransportError};
use tokio::task::JoinSet;

use super::{Harness, Outcome, PATIENCE, Scene, ensure, request, within};
use crate::Answer;

pub(super) async fn a_refused_request_is_told(harness: Arc<dyn Harness>) -> Outcome {
    let scene = Scene::new(&harness).await?;
    let refusing = scene.wire.nack();
    let ended = within(
        PATIENCE,
        "a refused call",
        scene.transport.request(request("silent", "x")),
    )
    .await?;
    ensure!(
        matches!(ended, Err(TransportError::Rejected)),
        "a refused call ended with {ended:?}"
    );
    refusing.end();
    scene.echo("after a refusal").await
}

pub(super) async fn late_confirms_hold_up_no_reply(harness: Arc<dyn Harness>) -> Outcome {
    let scene = Scene::new(&harness).await?;
    let _late = scene.wire.confirm_after(Duration::from_millis(100));
    many_echoes(&scene).await
}

pub(super) async fn missing_confirms_hold_up_no_reply(harness: Arc<dyn Harness>) -> Outcome {
    let scene = Scene::new(&harness).await?;
    let unconfirmed = scene.wire.no_confirms();
    many_echoes(&scene).await?;
    unconfirmed.end();
    scene.recovers().await
}

pub(super) async fn gathered_confirms_are_confirms(harness: Arc<dyn Harness>) -> Outcome {
    let scene = Scene::new(&harness).await?;
    let _batches = scene.wire.confirm_in_batches(7);
    many_echoes(&scene).await
}

pub(super) async fn a_returned_request_is_an_unknown_service(harness: Arc<dyn Harness>) -> Outcome {
    let scene = Scene::new(&harness).await?;
    let returning = scene.wire.return_all();
    let ended = within(
        PATIENCE,
        "a returned call",
        scene.transport.request(request("echo", "x")),
    )
    .await?;
    let unknown = matches!(&ended, Err(error @ TransportError::UnknownService) if error.delivery() == Delivery::NotSent);
    ensure!(unknown, "a returned call ended with {ended:?}");
    returning.end();
    scene.echo("after a return").await
}

pub(super) async fn returns_reach_their_own_requests(harness: Arc<dyn Harness>) -> Outcome {
    let scene = Scene::new(&harness).await?;
    scene.broker.on("svc.nobody").reply(Answer::unknown_service());
    let mut calls = JoinSet::new();
    for n in 0..500 {
        let transport = Arc::clone(&scene.transport);
        calls.spawn(async move {
            if n % 5 == 0 {
                let ended = transport.request(request("nobody", "x")).await;
                ensure!(
                    matches!(ended, Err(TransportError::UnknownService)),
                    "a returned call ended with {ended:?}"
                );
                return Ok(());
            }
            let ended = transport.request(request("echo", "x")).await;
            ensure!(ended.is_ok(), "beside returned calls, one ended with {ended:?}");
            Ok(())
        });
    }
    within(PATIENCE, "500 calls", calls.join_all())
        .await?
        .into_iter()
        .collect()
}

async fn many_echoes(scene: &Scene) -> Outcome {
    let mut calls = JoinSet::new();
    for n in 0..100 {
        let transport = Arc::clone(&scene.transport);
        calls.spawn(async move { transport.request(request("echo", &n.to_string())).await });
    }
    for ended in within(PATIENCE, "100 calls", calls.join_all()).await? {
        ensure!(ended.is_ok(), "of 100 calls one ended with {ended:?}");
    }
    Ok(())
}
