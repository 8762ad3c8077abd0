use std::panic::{AssertUnwindSafe, catch_unwind};

use nameko_cachetools::{Request, Route, Transport, args};
use nameko_cachetools_testkit::{Answer, FakeBroker};
use serde_json::json;
use tokio::time::timeout;

use crate::{MS, send, text};

fn message(panic: &(dyn std::any::Any + Send)) -> String {
    panic.downcast_ref::<String>().cloned().unwrap_or_default()
}

/// The text that a user's first failing test shows.
#[tokio::test(start_paused = true)]
async fn the_report_explains_itself() {
    let broker = FakeBroker::with_seed(7);
    let (here, rule) = (line!(), broker.on("billing.get_invoice"));
    rule.with(args![7]).expect(2).reply(json!({"total": 10}));
    let transport = broker.transport();
    let _ = send(&transport, "billing.get_invoice", json!([7])).await;
    tokio::time::sleep(MS(1000)).await;
    let body = r#"{"args": [8], "kwargs": {"lang": "sv"}}"#;
    let _ = transport
        .request(Request::new(Route::new("billing", "get_invoice").unwrap(), body))
        .await;
    let report = broker.verify().unwrap_err().to_string();
    assert_eq!(
        report,
        format!(
            r#"fake broker: 2 violations   (seed 7, time 1.000 s, 2 calls seen)

1. rule billing.get_invoice(7) ({file}:{here}) expected exactly 2 calls, saw 1

2. unmatched call #2 billing.get_invoice(8, lang="sv") at 1.000 s
   nearest rule billing.get_invoice(7) ({file}:{here})
      args[0]      expected 7        got 8     <-- differs
      kwargs.lang  expected nothing  got "sv"  <-- differs
   the caller was answered IncorrectSignature; a cache may have hidden this from your assertions
   to allow it: broker.on("billing.get_invoice").with(args![8, lang = "sv"]).reply(..)

timeline:
       0 ms  #1 billing.get_invoice(7)
       0 ms  #1   ok {{"total": 10}}
    1000 ms  #2 billing.get_invoice(8, lang="sv")
    1000 ms  #2   error IncorrectSignature no rule of the fake broker matches this call
"#,
            file = file!(),
        )
    );
}

#[tokio::test(start_paused = true)]
async fn unmatched_calls_are_answered_as_nameko_would_and_reported() {
    let broker = FakeBroker::new();
    broker.on("products.get").reply(Answer::ok(1));
    let transport = broker.transport();
    let error = send(&transport, "prodcuts.get", json!([])).await.unwrap_err();
    assert_eq!(
        error.delivery(),
        nameko_cachetools::Delivery::NotSent,
        "{error:?}"
    );
    assert_eq!(
        text(&transport, "products.fetch", json!([1])).await,
        r#"{"result": null, "error": {"exc_type": "MethodNotFound", "exc_path": "nameko.exceptions.MethodNotFound", "exc_args": ["fetch"], "value": "fetch"}}"#
    );
    for _ in 0..3 {
        let _ = send(&transport, "products.fetch", json!([2])).await;
    }
    let violations = broker.verify().unwrap_err();
    assert_eq!(violations.count(), 5);
    let report = violations.to_string();
    for expected in [
        "1. unmatched call #1 prodcuts.get() at 0.000 s\n   no rule is for prodcuts.get; the nearest is products.get(..)",
        "was answered UnknownService",
        "2. unmatched call #2 products.fetch(1)",
        "was answered MethodNotFound",
        "3. unmatched call #3 products.fetch(2) at 0.000 s (3 times)",
    ] {
        assert!(report.contains(expected), "{expected:?} is not in\n{report}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_drop_with_violations_panics() {
    let broker = FakeBroker::new();
    let _ = send(&broker.transport(), "products.get", json!([])).await;
    let panic = catch_unwind(AssertUnwindSafe(|| drop(broker))).unwrap_err();
    assert!(message(panic.as_ref()).contains("the broker has no rules at all"));
}

#[tokio::test(start_paused = true)]
async fn a_drop_while_the_test_panics_does_not_panic_again() {
    let panic = catch_unwind(|| {
        let broker = FakeBroker::new();
        broker.on("products.get").expect(1).reply(Answer::ok(1));
        panic!("the test's own failure");
    });
    assert_eq!(
        panic.unwrap_err().downcast_ref::<&str>(),
        Some(&"the test's own failure")
    );
}

#[tokio::test(start_paused = true)]
async fn a_broker_that_saw_what_it_expects_is_silent() {
    let broker = FakeBroker::new();
    broker.on("products.get").expect(1..=2).reply(Answer::ok(1));
    broker.on("products.list").reply(Answer::ok(2));
    broker.on("products.delete").expect(0).reply(Answer::ok(()));
    let _ = send(&broker.transport(), "products.get", json!([])).await;
    assert_eq!(broker.verify(), Ok(()));
}

#[tokio::test(start_paused = true)]
async fn calls_beyond_the_expected_are_answered_and_reported() {
    let broker = FakeBroker::new();
    broker.on("products.get").expect(..=1).reply(Answer::ok(1));
    let transport = broker.transport();
    for _ in 0..3 {
        assert_eq!(
            text(&transport, "products.get", json!([])).await,
            r#"{"result": 1, "error": null}"#
        );
    }
    let report = broker.verify().unwrap_err().to_string();
    assert!(report.contains("expected at most 1 call, saw 3"), "{report}");
}

#[tokio::test(start_paused = true)]
async fn a_rule_without_an_answer_is_reported() {
    let broker = FakeBroker::new();
    let _unfinished = broker.on("products.get");
    let transport = broker.transport();
    let _ = send(&transport, "products.get", json!([1])).await;
    let report = broker.verify().unwrap_err().to_string();
    assert!(
        report.contains("has no answer\n   end it with .reply(..)"),
        "{report}"
    );
    assert!(report.contains("matches, but has no answer"), "{report}");
}

#[tokio::test(start_paused = true)]
async fn an_assertion_in_a_handler_fails_the_test() {
    let broker = FakeBroker::new();
    broker.on("products.get").reply_with(|call| {
        assert_eq!(call.args, ["o1"], "only o1 exists");
        Answer::ok(1)
    });
    let transport = broker.transport();
    assert!(
        text(&transport, "products.get", json!(["o2"]))
            .await
            .contains(r#""exc_type": "AssertionError""#)
    );
    assert_eq!(
        text(&transport, "products.get", json!(["o1"])).await,
        r#"{"result": 1, "error": null}"#
    );
    let report = broker.verify().unwrap_err().to_string();
    assert!(
        report.contains("panicked on call #1 products.get(\"o2\")") && report.contains("only o1 exists"),
        "{report}"
    );
}

#[tokio::test(start_paused = true)]
async fn requests_that_nameko_can_not_read_are_reported() {
    let broker = FakeBroker::new();
    broker.on("products.get").reply(Answer::ok(1));
    let transport = broker.transport();
    let request = |body: &'static str| Request::new(Route::new("products", "get").unwrap(), body);
    let reply = transport.request(request(r#"{"args": []}"#)).await.unwrap();
    assert_eq!(
        reply.body,
        r#"{"result": null, "error": {"exc_type": "MalformedRequest", "exc_path": "nameko.exceptions.MalformedRequest", "exc_args": ["Message missing `args` or `kwargs`"], "value": "Message missing `args` or `kwargs`"}}"#
    );
    assert!(
        timeout(MS(60_000), transport.request(request("no JSON")))
            .await
            .is_err(),
        "dropped unanswered"
    );
    assert_eq!(broker.in_flight(), 0);
    let report = broker.verify().unwrap_err().to_string();
    assert!(
        report.contains("call #1 of products.get is no nameko request"),
        "{report}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_flood_of_unmatched_calls_makes_a_short_report() {
    let broker = FakeBroker::new();
    let transport = broker.transport();
    for i in 0..1000 {
        let _ = send(&transport, "products.get", json!([i])).await;
    }
    let violations = broker.verify().unwrap_err();
    assert_eq!(violations.count(), 1000);
    assert!(violations.to_string().lines().count() < 100, "{violations}");
}

/// Two long arguments that look alike: the report shows where they are not.
#[tokio::test(start_paused = true)]
async fn a_near_miss_is_shown_where_it_is() {
    let broker = FakeBroker::new();
    let filter = |state: &str| json!({"page": {"marks": vec![7; 40], "size": 50}, "state": state});
    broker
        .on("orders.search")
        .args((filter("open"),))
        .reply(Answer::ok(1));
    let _ = send(&broker.transport(), "orders.search", json!([filter("closed")])).await;
    let report = broker.verify().unwrap_err().to_string();
    let expected = r#"
      args[0].state  expected "open"  got "closed"  <-- differs
   the caller"#;
    assert!(report.contains(expected), "{report}");
}
