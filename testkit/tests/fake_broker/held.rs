use nameko_cachetools::Transport;
use nameko_cachetools_testkit::{Answer, FakeBroker};
use serde_json::json;
use tokio::time::{Instant, timeout};

use crate::{MS, request, send, text};

#[tokio::test(start_paused = true)]
async fn the_test_answers_held_calls_in_any_order() {
    let broker = FakeBroker::new();
    broker.on("products.get").hold();
    let ask = |id: &'static str| {
        let transport = broker.transport();
        tokio::spawn(async move { text(&transport, "products.get", json!([id])).await })
    };
    let (first, second) = (ask("o1"), ask("o2"));
    let (held_first, held_second) = (
        broker.next_call("products.get").await,
        broker.next_call("products.get").await,
    );
    assert_eq!(
        (held_first.args[0].as_str(), held_second.args[0].as_str()),
        (Some("o1"), Some("o2"))
    );
    assert_eq!(broker.in_flight(), 2);

    held_second.reply(json!("two"));
    assert_eq!(second.await.unwrap(), r#"{"result": "two", "error": null}"#);
    assert!(!first.is_finished() && held_first.is_awaited());
    let start = Instant::now();
    held_first.reply(Answer::ok("one").after(MS(70)));
    assert_eq!(first.await.unwrap(), r#"{"result": "one", "error": null}"#);
    assert_eq!(start.elapsed(), MS(70));
    assert_eq!(broker.max_in_flight(), 2);
}

#[tokio::test(start_paused = true)]
async fn an_answer_after_the_caller_gave_up_is_noted_and_changes_nothing() {
    let broker = FakeBroker::new();
    broker.on("products.get").hold().then(Answer::ok(2));
    let transport = broker.transport();
    assert!(
        timeout(MS(50), send(&transport, "products.get", json!([1])))
            .await
            .is_err()
    );
    let held = broker.next_call("products.get").await;
    assert!(!held.is_awaited());
    held.reply(json!("late"));
    assert_eq!(
        text(&transport, "products.get", json!([2])).await,
        r#"{"result": 2, "error": null}"#
    );
    assert!(
        broker
            .timeline()
            .contains("#1   too late, nobody waits: ok \"late\""),
        "{}",
        broker.timeline()
    );
}

#[tokio::test(start_paused = true)]
async fn a_held_call_that_is_dropped_is_never_answered() {
    let broker = FakeBroker::new();
    broker.on("products.get").hold();
    let transport = broker.transport();
    let caller = tokio::spawn(async move { transport.request(request("products.get", json!([]))).await });
    drop(broker.next_call("products.get").await);
    tokio::time::sleep(MS(1_000_000)).await;
    assert!(!caller.is_finished());
}

#[tokio::test(start_paused = true)]
async fn next_call_waits_for_a_call_that_comes_later() {
    let broker = FakeBroker::new();
    broker.on("products.get").hold();
    let transport = broker.transport();
    let caller = tokio::spawn(async move {
        tokio::time::sleep(MS(600_000)).await;
        transport.request(request("products.get", json!([]))).await
    });
    broker.next_call("products.get").await.reply(json!(1));
    assert!(caller.await.unwrap().is_ok());
}

#[tokio::test(start_paused = true)]
#[should_panic(expected = "no such call came within an hour")]
async fn next_call_does_not_wait_for_ever() {
    let broker = FakeBroker::new();
    broker.on("products.get").hold();
    let _ = broker.next_call("products.get").await;
}

#[tokio::test]
#[should_panic(expected = "no rule holds calls of products.get: add broker.on(\"products.get\").hold()")]
async fn next_call_of_a_route_that_nothing_holds_says_so() {
    let broker = FakeBroker::new();
    broker.on("products.get").reply(Answer::ok(1));
    let _ = broker.next_call("products.get").await;
}
