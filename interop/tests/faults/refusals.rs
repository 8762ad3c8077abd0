//! What waiting doesn't mend: a clear error, and pauses long enough to read the broker's log.

use std::time::Duration;

use nameko_cachetools::{ConnectionState, TransportError};
use nameko_cachetools_amqp::{Builder, ConnectError};
use tokio::time::Instant;

use crate::{
    scene::{AT_ONCE, Scene, builder, eventually, within},
    stage::{Row, Stage},
    subject::Subject,
};

pub(crate) async fn wrong_password<T: Subject>(stage: &Stage) -> Row {
    refused::<T>(stage, |builder, uri| {
        builder.uri(uri.replace("guest:guest", "guest:canary"))
    })
    .await
}

pub(crate) async fn missing_vhost<T: Subject>(stage: &Stage) -> Row {
    refused::<T>(stage, |builder, uri| builder.uri(uri.replace("%2f", "nowhere"))).await
}

/// RabbitMQ's own `amq.direct` is no topic exchange.
pub(crate) async fn exchange_declared_otherwise<T: Subject>(stage: &Stage) -> Row {
    refused::<T>(stage, |builder, _| builder.rpc_exchange("amq.direct")).await
}

async fn refused<T: Subject>(stage: &Stage, wrong: impl Fn(Builder<T>, &str) -> Builder<T>) -> Row {
    let scene = Scene::<T>::new(stage).await;
    let builder = || wrong(builder::<T>(&scene.proxy, &scene.service), scene.proxy.uri());
    let start = Instant::now();
    let error = within(5 * AT_ONCE, builder().connect()).await.unwrap_err();
    let noticed = start.elapsed();
    let shown = format!("{error} {error:?}");
    let ConnectError::Failed(error) = error else {
        panic!("{shown}")
    };
    assert!(matches!(error, TransportError::Refused { .. }), "{shown}");
    assert!(!shown.contains("canary"), "{shown}");

    let lazy = builder().connect_lazy().unwrap();
    eventually("the refusal shows in the state", || {
        matches!(
            &*lazy.state().borrow(),
            ConnectionState::Reconnecting { permanent: true, .. }
        )
    })
    .await;
    // What the refused attempt opened last, to see whether somebody still listens, may not be accepted yet.
    tokio::time::sleep(Duration::from_millis(500)).await;
    let before = scene.proxy.accepted();
    let again = lazy.request(scene.request("echo", "x")).await.unwrap_err();
    assert!(matches!(again, TransportError::Refused { .. }), "{again:?}");
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(scene.proxy.accepted(), before, "attempts within 2 s of a refusal");
    within(AT_ONCE, lazy.close(Duration::ZERO)).await;
    scene.end().await;
    Row {
        end: Err(error),
        noticed,
        back: None,
    }
}
