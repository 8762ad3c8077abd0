//! Replies that are not what they should be.

use std::time::Duration;

use nameko_cachetools::{CallError, Client, Delivery, Reply, TransportError};
use nameko_cachetools_testkit::fault_proxy::Frame;
use serde_json::Value;
use tokio::time::Instant;

use crate::{
    scene::{AT_ONCE, HUGE, RAW_ID, Scene, eventually, is_lost},
    stage::{Row, Stage},
    subject::Subject,
};

/// Without an id, with an empty one, with one that is no uuid, with a stranger's; then the right one, twice.
pub(crate) async fn foreign_ids<T: Subject>(stage: &Stage) -> Row {
    let scene = Scene::<T>::new(stage).await;
    let start = Instant::now();
    let response = scene.call("foreign_ids", "mine").await.unwrap();
    assert_eq!(response.body, scene.request("foreign_ids", "mine").body);
    let noticed = start.elapsed();
    eventually("four replies of nobody and a duplicate are counted", || {
        scene.transport.counters().unmatched_replies == 5
    })
    .await;
    unhurt(scene, Ok(()), noticed).await
}

/// Libraries may end the connection over it; what must not be is that anybody waits for ever.
pub(crate) async fn an_id_that_is_no_text<T: Subject>(stage: &Stage) -> Row {
    let scene = Scene::<T>::new(stage).await;
    scene.proxy.rewrite(|frame| {
        let at = frame
            .payload
            .windows(RAW_ID.len())
            .position(|bytes| bytes == RAW_ID.as_bytes());
        let Some(at) = at else { return vec![frame] };
        let mut payload = frame.payload.to_vec();
        payload[at..at + RAW_ID.len()].fill(0xff);
        vec![Frame {
            payload: payload.into(),
            ..frame
        }]
    });
    let waiting = scene.waiting().await;
    let start = Instant::now();
    let asked = tokio::time::timeout(
        AT_ONCE,
        nameko_cachetools::Transport::request(&scene.transport, scene.request("raw_id", "x")),
    );
    match asked.await {
        // The reply is nobody's: as if it had never come.
        Err(_) => {
            let noticed = start.elapsed();
            drop(waiting);
            eventually("the reply is counted", || {
                scene.transport.counters().unmatched_replies == 1
            })
            .await;
            unhurt(scene, Ok(()), noticed).await
        }
        Ok(end) => {
            let error = end.unwrap_err();
            assert!(is_lost(&error), "{error:?}");
            let row = waiting.lost(AT_ONCE, &scene).await;
            scene.end().await;
            row
        }
    }
}

/// To a transport, a body is bytes; the proxy above it has an error of its own for it.
pub(crate) async fn malformed_body<T: Subject>(stage: &Stage) -> Row {
    let scene = Scene::<T>::new(stage).await;
    let client = Client::builder(scene.transport.clone()).build();
    let start = Instant::now();
    let reply: Result<Reply<Value>, CallError> = client
        .service(scene.service.name.as_str())
        .call("malformed", (1,))
        .await;
    let noticed = start.elapsed();
    let error = reply.unwrap_err();
    assert!(error.may_have_executed(), "{error:?}");
    let response = scene.call("malformed", "x").await.unwrap();
    assert_eq!(response.body, "{\"result\": [1,");
    unhurt(scene, Ok(()), noticed).await
}

pub(crate) async fn huge_reply<T: Subject>(stage: &Stage) -> Row {
    let limit = 1 << 20;
    let scene = Scene::<T>::with(stage, |builder| builder.max_reply_bytes(limit)).await;
    let start = Instant::now();
    let error = scene.call("huge", "x").await.unwrap_err();
    let noticed = start.elapsed();
    assert_eq!(error.delivery(), Delivery::Answered);
    assert!(
        matches!(error, TransportError::ReplyTooLarge { bytes: HUGE, limit: l } if l == limit),
        "{error:?}"
    );
    unhurt(scene, Err(error), noticed).await
}

async fn unhurt<T: Subject>(scene: Scene<'_, T>, end: Result<(), TransportError>, noticed: Duration) -> Row {
    scene.proxy.heal();
    assert_eq!(scene.proxy.accepted(), 1, "the connection was replaced");
    scene.end().await;
    Row {
        end,
        noticed,
        back: None,
    }
}
