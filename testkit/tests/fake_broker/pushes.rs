use nameko_cachetools::Transport;
use nameko_cachetools_testkit::{Answer, FakeBroker, Latency};
use serde_json::json;
use tokio::time::Instant;

use crate::{MS, request, result, send, text};

#[tokio::test(start_paused = true)]
async fn pushed_answers_come_first_and_in_order() {
    let broker = FakeBroker::new();
    broker.on("stock.level").expect(2).reply(Answer::ok("rule"));
    broker.on("stock.name").reply(Answer::ok("name"));
    let transport = broker.transport();
    broker.push("stock.level", [Answer::ok(1), Answer::ok(2)]);
    broker.push("stock.level", [json!(3)]);
    let level = async || result(&transport, "stock.level", json!([])).await;
    assert_eq!(result(&transport, "stock.name", json!([])).await, "name");
    assert_eq!([level().await, level().await, level().await], [1, 2, 3]);
    assert_eq!([level().await, level().await], ["rule", "rule"]);
    broker.calls("stock.level").assert_times(5);
}

#[tokio::test(start_paused = true)]
async fn a_pattern_pushes_for_whoever_comes_first() {
    let broker = FakeBroker::new();
    broker.on("stock.*").reply(Answer::ok("rule"));
    let transport = broker.transport();
    broker.push("stock.*", [Answer::ok(1), Answer::ok(2)]);
    assert_eq!(result(&transport, "stock.name", json!([])).await, 1);
    assert_eq!(result(&transport, "stock.level", json!([])).await, 2);
    assert_eq!(result(&transport, "stock.level", json!([])).await, "rule");
}

#[tokio::test(start_paused = true)]
async fn a_pushed_answer_needs_no_rule_and_may_be_held() {
    let broker = FakeBroker::new();
    broker.push("stock.level", [Answer::hold()]);
    let transport = broker.transport();
    let caller = tokio::spawn(async move { transport.request(request("stock.level", json!([]))).await });
    let start = Instant::now();
    broker
        .next_call("stock.level")
        .await
        .reply(Answer::ok(1).after(MS(7)));
    assert_eq!(
        caller.await.unwrap().unwrap().body,
        r#"{"result": 1, "error": null}"#
    );
    assert_eq!(start.elapsed(), MS(7));
    assert_eq!(broker.verify(), Ok(()));
}

#[tokio::test(start_paused = true)]
async fn pushing_changes_no_rules_chance() {
    async fn run(push: bool) -> String {
        let broker = FakeBroker::with_seed(3);
        let slow = Latency::lognormal(MS(20), MS(900));
        broker.on("stock.level").after(slow).reply(Answer::ok(3));
        let transport = broker.transport();
        if push {
            broker.push("stock.level", [Answer::ok(1).after(slow)]);
            let _ = send(&transport, "stock.level", json!([])).await;
        }
        let start = Instant::now();
        let _ = send(&transport, "stock.level", json!([])).await;
        format!("{:?}", start.elapsed())
    }
    assert_eq!(run(true).await, run(false).await);
}

#[tokio::test(start_paused = true)]
async fn what_was_pushed_and_never_used_fails_the_test() {
    let broker = FakeBroker::new();
    broker.on("stock.level").reply(Answer::ok(3));
    let line = line!() + 1;
    broker.push("stock.level", [Answer::ok(1), Answer::nack(), Answer::nack()]);
    broker.push("*", [Answer::ok(2)]);
    assert_eq!(
        text(&broker.transport(), "stock.level", json!([])).await,
        r#"{"result": 1, "error": null}"#
    );
    let violations = broker.verify().unwrap_err();
    assert_eq!(violations.count(), 2);
    let report = violations.to_string();
    let expected = format!(
        "1. 2 answers pushed for stock.level ({}:{line}) never used",
        file!()
    );
    assert!(report.contains(&expected), "{report}");
    assert!(report.contains("2. 1 answer pushed for * ("), "{report}");
}
