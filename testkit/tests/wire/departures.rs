//! What becomes of calls whose callers leave, and of callers whose broker leaves.

use std::time::Duration;

use nameko_cachetools_testkit::{Answer, FakeBroker, WireBroker, wire::RawClient};
use tokio::time::{sleep, timeout};

use crate::{REQUEST, caller, reply};

/// Calls, and hangs up once the broker has it.
async fn call_and_leave(wire: &WireBroker, route: &str) {
    let mut client = RawClient::publisher(&wire.uri()).await.unwrap();
    client.call(1, route, "me", REQUEST).await;
    assert_eq!(client.hear().await, "1 basic.ack 1");
}

async fn eventually(holds: impl Fn() -> bool) {
    let wait = async {
        while !holds() {
            sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(Duration::from_secs(5), wait).await.unwrap();
}

/// As a real reply, which waits in its queue for whoever consumes it then.
#[tokio::test]
async fn a_reply_comes_although_the_callers_connection_has_ended() {
    let broker = FakeBroker::new();
    broker
        .on("stock.level")
        .reply(Answer::ok("slow").after(Duration::from_millis(100)));
    broker.on("stock.count").hold();
    let wire = broker.serve().await;
    let mut heir = caller(&wire).await;

    call_and_leave(&wire, "stock.level").await;
    assert_eq!(
        reply(&mut heir).await,
        r#"1 body {"result": "slow", "error": null}"#
    );

    call_and_leave(&wire, "stock.count").await;
    let held = broker.next_call("stock.count").await;
    eventually(|| !held.is_awaited()).await;
    assert_eq!(broker.in_flight(), 0);
    held.reply(Answer::ok("held"));
    assert_eq!(
        reply(&mut heir).await,
        r#"1 body {"result": "held", "error": null}"#
    );

    let stopped = broker.silent("stock");
    call_and_leave(&wire, "stock.level").await;
    eventually(|| broker.in_flight() == 0).await;
    stopped.end();
    assert_eq!(
        reply(&mut heir).await,
        r#"1 body {"result": "slow", "error": null}"#
    );
}

#[tokio::test]
async fn calls_end_with_the_port() {
    let broker = FakeBroker::new();
    broker.on("stock.level").reply(Answer::never());
    let wire = broker.serve().await;
    let mut client = RawClient::publisher(&wire.uri()).await.unwrap();
    client.call(1, "stock.level", "me", REQUEST).await;
    client.hear().await;
    assert_eq!(broker.in_flight(), 1);
    drop(wire);
    eventually(|| broker.in_flight() == 0).await;
    assert!(["closed", "reset"].contains(&client.hear().await.as_str()));
}

/// Its life without consumers begins when the broker cancels them.
#[tokio::test]
async fn a_queue_stays_when_its_consumers_are_cancelled() {
    let broker = FakeBroker::new();
    let wire = broker.serve().await;
    let mut client = RawClient::publisher(&wire.uri()).await.unwrap();
    client.say("1 queue.declare replies durable x-expires=400").await;
    client.say("1 basic.consume replies c").await;
    sleep(Duration::from_millis(500)).await;
    wire.cancel_consumers("replies");
    sleep(Duration::from_millis(120)).await; // the broker has swept
    assert_eq!(wire.queues().len(), 1);
    eventually(|| wire.queues().is_empty()).await;
}
