//! Replies that come twice, to nobody, or as the last thing.

use std::{sync::Arc, time::Duration};

use nameko_cachetools::Response;
use tokio::time::{Instant, sleep, timeout};

use super::{AT_ONCE, Harness, Outcome, PATIENCE, Scene, TICK, ensure, request, within};
use crate::{
    Answer, Correlation,
    wire::{message::Message, refusal::Refusal, vhost::Vhost},
};

pub(super) async fn duplicates_end_no_other_request(harness: Arc<dyn Harness>) -> Outcome {
    let scene = Scene::new(&harness).await?;
    scene.broker.on("svc.thrice").reply(Answer::ok("mine").copies(3));
    for n in 0..10 {
        let ended = within(
            PATIENCE,
            "a call",
            scene.transport.request(request("thrice", "x")),
        )
        .await?;
        ensure!(
            ended.is_ok(),
            "a call whose reply comes three times ended with {ended:?}"
        );
        scene.echo(&n.to_string()).await?;
    }
    Ok(())
}

pub(super) async fn strays_end_no_request(harness: Arc<dyn Harness>) -> Outcome {
    let scene = Scene::new(&harness).await?;
    let strays = [Correlation::Unknown, Correlation::Empty, Correlation::Missing];
    scene
        .broker
        .on("svc.stray")
        .sequence(strays.map(|id| Answer::ok("nobody's").correlation(id)));
    for _ in strays {
        let ended = timeout(
            Duration::from_millis(200),
            scene.transport.request(request("stray", "x")),
        )
        .await;
        ensure!(
            ended.is_err(),
            "a call without a reply of its own ended with {ended:?}"
        );
        scene.echo("behind a stray").await?;
    }
    Ok(())
}

/// The other call takes it for its own, since nothing tells that it isn't; its own reply comes too late, and ends no one.
pub(super) async fn a_misdirected_reply_ends_one_request(harness: Arc<dyn Harness>) -> Outcome {
    let scene = Scene::new(&harness).await?;
    let on = |method: &str| scene.broker.on(&format!("svc.{method}"));
    on("victim").reply(Answer::ok("its own").after(Duration::from_secs(3)));
    on("mixed_up").reply(Answer::ok("another's").correlation(Correlation::Another));
    let victim = {
        let transport = Arc::clone(&scene.transport);
        tokio::spawn(async move { transport.request(request("victim", "x")).await })
    };
    let start = Instant::now();
    while scene.broker.in_flight() == 0 {
        ensure!(start.elapsed() < PATIENCE, "the first request didn't arrive");
        sleep(TICK).await;
    }
    let mixed_up = scene.transport.request(request("mixed_up", "x"));
    let ended = timeout(Duration::from_secs(1), mixed_up).await;
    ensure!(
        ended.is_err(),
        "a call without a reply of its own ended with {ended:?}"
    );
    match within(PATIENCE, "the other call", victim).await? {
        Ok(Ok(reply)) if reply.body.windows(9).any(|part| part == b"another's") => {}
        other => return Err(format!("the other call ended with {other:?}")),
    }
    scene.echo("behind both").await
}

/// Libraries give up the connection for it: then all that waits has to end, and the transport to come back.
///
/// Proves: R5.
pub(super) async fn an_id_that_is_no_text_is_survived(harness: Arc<dyn Harness>) -> Outcome {
    let scene = Scene::new(&harness).await?;
    scene
        .broker
        .on("svc.garbled")
        .reply(Answer::ok("nobody's").correlation(Correlation::NotUtf8));
    let ended = timeout(AT_ONCE, scene.transport.request(request("garbled", "x"))).await;
    ensure!(
        !matches!(ended, Ok(Ok(_))),
        "a call without a reply of its own ended with {ended:?}"
    );
    scene.recovers().await
}

pub(super) async fn a_connection_lost_after_a_reply_loses_no_reply(harness: Arc<dyn Harness>) -> Outcome {
    let scene = Scene::new(&harness).await?;
    scene
        .broker
        .on("svc.last")
        .reply(Answer::ok("the last").hang_up());
    let ended = within(PATIENCE, "a call", scene.transport.request(request("last", "x"))).await?;
    ensure!(
        ended.is_ok(),
        "the last reply of a connection was lost: {ended:?}"
    );
    scene.recovers().await
}

pub(super) async fn a_connection_closed_after_replies_loses_no_reply(harness: Arc<dyn Harness>) -> Outcome {
    ended_after_replies(harness, |vhost| {
        for id in vhost.sessions.keys().copied().collect::<Vec<_>>() {
            vhost.refuse(id, &end(), (0, 0));
        }
    })
    .await
}

pub(super) async fn a_channel_closed_after_replies_loses_no_reply(harness: Arc<dyn Harness>) -> Outcome {
    ended_after_replies(harness, |vhost| {
        let mut channels = vhost.channels();
        channels.reverse(); // what is published on goes first, for most
        for at in channels {
            vhost.close_channel(at, &end(), (0, 0));
        }
    })
    .await
}

pub(super) async fn a_consumer_cancelled_after_replies_loses_no_reply(harness: Arc<dyn Harness>) -> Outcome {
    ended_after_replies(harness, |vhost| {
        for name in vhost.queues.names(|queue| !queue.consumers.is_empty()) {
            vhost.delete_queue(&name);
        }
    })
    .await
}

/// All replies and the end come at once.
async fn ended_after_replies(harness: Arc<dyn Harness>, end: impl Fn(&mut Vhost)) -> Outcome {
    let scene = Scene::new(&harness).await?;
    let waiting = scene.waiting_calls(REPLIES).await?;
    scene.wire.shared.with(|vhost| {
        let exchange = vhost.rpc_exchange.clone();
        for request in vhost.waiting.values().cloned().collect::<Vec<_>>() {
            let response = Response::json(r#"{"result": "the last", "error": null}"#);
            let reply = Message::reply(&exchange, &request.properties, response, Correlation::Own, None);
            reply.into_iter().for_each(|reply| vhost.publish_own(reply));
        }
        end(vhost);
    });
    waiting.are_answered().await?;
    scene.recovers().await
}

/// More frames than a task takes in one turn.
const REPLIES: usize = 100;

fn end() -> Refusal {
    Refusal::not_found("the end")
}
