//! Who answers, and what outages look like from outside.

use std::time::Duration;

use nameko_cachetools_testkit::{Answer, FakeBroker, wire::RawClient};

use crate::{REQUEST, caller, reply};

#[tokio::test]
async fn a_rule_answers_until_a_client_declares_the_services_queue() {
    let broker = FakeBroker::new();
    broker.on("stock.level").expect(1).reply(Answer::ok(3));
    let wire = broker.serve().await;
    let mut client = caller(&wire).await;
    client.call(1, "stock.level", "me", REQUEST).await;
    assert_eq!(reply(&mut client).await, r#"1 body {"result": 3, "error": null}"#);

    let mut service = RawClient::consumer(&wire.uri(), "rpc-stock").await.unwrap();
    service.say("1 queue.bind rpc-stock nameko-rpc stock.*").await;
    assert_eq!(service.hear().await, "1 queue.bind-ok");
    client.call(1, "stock.level", "me", REQUEST).await;
    assert_eq!(
        service.hear().await,
        "1 basic.deliver c tag=1 nameko-rpc stock.level"
    );
}

#[tokio::test]
async fn the_test_answers_held_calls() {
    let broker = FakeBroker::new();
    broker.on("stock.level").hold();
    let wire = broker.serve().await;
    let mut client = caller(&wire).await;
    client.call(1, "stock.level", "me", REQUEST).await;
    let held = broker.next_call("stock.level").await;
    assert_eq!(held.args, ["A1"]);
    held.reply(Answer::ok(4));
    assert_eq!(reply(&mut client).await, r#"1 body {"result": 4, "error": null}"#);
}

#[tokio::test]
async fn a_services_queue_looks_as_the_rules_say() {
    let broker = FakeBroker::new();
    broker.on("stock.level").reply(Answer::ok(3));
    let wire = broker.serve().await;
    let mut client = caller(&wire).await;
    client.say("1 queue.declare rpc-stock passive").await;
    assert_eq!(
        client.hear().await,
        "1 queue.declare-ok rpc-stock messages=0 consumers=1"
    );

    let silent = broker.silent("stock");
    client.call(1, "stock.level", "me", REQUEST).await;
    client.say("1 queue.declare rpc-stock passive").await;
    assert_eq!(
        client.hear().await,
        "1 queue.declare-ok rpc-stock messages=1 consumers=0"
    );
    silent.end();
    assert_eq!(reply(&mut client).await, r#"1 body {"result": 3, "error": null}"#);

    let _unknown = broker.unknown("stock");
    client.say("1 queue.declare rpc-stock passive").await;
    assert!(client.hear().await.starts_with("1 channel.close 404 NOT_FOUND"));
}

#[tokio::test]
async fn a_blocked_broker_says_so_and_reads_nothing_from_publishers() {
    let broker = FakeBroker::new();
    broker.on("stock.level").reply(Answer::ok(3));
    let wire = broker.serve().await;
    let mut client = caller(&wire).await;
    let alarm = broker.blocked();
    assert_eq!(client.hear().await, "connection.blocked low on memory");
    client.call(1, "stock.level", "me", REQUEST).await;
    assert!(client.hears_nothing_for(Duration::from_millis(50)).await);
    alarm.end();
    assert_eq!(client.hear().await, "connection.unblocked");
    assert_eq!(reply(&mut client).await, r#"1 body {"result": 3, "error": null}"#);
}

#[tokio::test]
async fn a_broker_that_is_down_resets_old_and_new_connections() {
    let broker = FakeBroker::new();
    let wire = broker.serve().await;
    let mut client = RawClient::connect(&wire.uri()).await.unwrap();
    let outage = broker.down();
    assert_eq!(client.hear().await, "reset");
    assert!(RawClient::connect(&wire.uri()).await.is_err());
    outage.end();
    assert!(RawClient::connect(&wire.uri()).await.is_ok());
}

#[tokio::test]
async fn a_call_to_nobody_comes_back_and_fails_the_test() {
    let broker = FakeBroker::new();
    let wire = broker.serve().await;
    let mut client = RawClient::publisher(&wire.uri()).await.unwrap();
    client.call(1, "nobody.there", "me", REQUEST).await;
    assert_eq!(
        client.hear().await,
        "1 basic.return 312 NO_ROUTE nameko-rpc nobody.there"
    );
    let violations = broker.verify().unwrap_err().to_string();
    assert!(
        violations.contains("unmatched call #1 nobody.there"),
        "{violations}"
    );
}

#[tokio::test(start_paused = true)]
#[should_panic(expected = "tokio's clock is paused, and real sockets take real time")]
async fn a_paused_clock_is_refused() {
    let broker = FakeBroker::new();
    drop(broker.serve().await);
}

/// As RabbitMQ, which refuses what it can't store: what has no queue isn't stored.
#[tokio::test]
async fn a_broker_that_refuses_confirms_what_it_returns() {
    let broker = FakeBroker::new();
    let wire = broker.serve().await;
    let mut client = caller(&wire).await;
    client.say("1 confirm.select").await;
    assert_eq!(client.hear().await, "1 confirm.select-ok");
    let _refusing = wire.nack();
    for (number, key) in [(1, "me"), (2, "nobody")] {
        let publish = format!("1 basic.publish nameko-rpc {key} mandatory body=");
        client.say(&publish).await;
        let heard = [client.hear().await, client.hear().await, client.hear().await];
        let verdict = if key == "me" { "nack" } else { "ack" };
        let wanted = format!("1 basic.{verdict} {number}");
        assert!(heard.contains(&wanted), "{key}: {heard:?}");
    }
}
