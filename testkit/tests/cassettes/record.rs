use nameko_cachetools::{Client, Transport};
use nameko_cachetools_testkit::{Answer, FakeBroker, cassette::Recorder};
use serde_json::json;

use crate::{MS, call, recorded, send};

/// The file's text is kept in users' repositories, so it is part of what is promised.
#[tokio::test(start_paused = true)]
async fn a_recording_reads_like_this() {
    let text = recorded().await.cassette().to_string();
    let expected = r#"{"cassette": 1, "blank": "<redacted>"}
{"call": "billing.total", "args": [7], "kwargs": {"a": "x", "z": 1}, "context": {"language": "sv", "user_id": "<redacted>"}}
{"ms": 12, "result": 12}
{"call": "billing.total", "args": [7], "kwargs": {"a": "x", "z": 1}, "context": {"language": "sv", "user_id": "<redacted>"}}
{"ms": 12, "result": {"a": [1.5, null], "z": "é"}}
{"call": "billing.total", "args": [7], "kwargs": {"a": "x", "z": 1}, "context": {"language": "sv", "user_id": "<redacted>"}}
{"ms": 12, "error": {"exc_type": "Closed", "exc_path": "billing.exceptions.Closed", "exc_args": ["until Monday"], "value": "until Monday"}}
{"call": "stock.level", "args": ["A1"], "kwargs": {}, "context": {}}
{"ms": 5000, "silent": true}
{"call": "stock.level", "args": ["A1"], "kwargs": {}, "context": {}}
{"ms": 0, "failed": "unknown service"}
{"call": "stock.level", "args": ["A1"], "kwargs": {}, "context": {}}
{"ms": 0, "failed": "nack"}
{"call": "stock.level", "args": ["A1"], "kwargs": {}, "context": {}}
{"ms": 0, "failed": "not sent"}
{"call": "stock.level", "args": ["A1"], "kwargs": {}, "context": {}}
{"ms": 0, "failed": "disconnected"}
{"call": "stock.level", "args": ["A1"], "kwargs": {}, "context": {}}
{"ms": 0, "reply": {"content_type": "text/plain", "bytes": 28}}
{"call": "stock.level", "args": ["A1"], "kwargs": {}, "context": {}}
{"ms": 0, "reply": {"content_type": "application/json", "bytes": 30}}
{"call": "stock.level", "args": ["A1"], "kwargs": {}, "context": {}}
{"ms": 0, "reply": {"content_type": "application/json", "bytes": 13}}
{"call": "stock.level", "args": ["A1"], "kwargs": {}, "context": {}}
{"ms": 0, "reply": {"content_type": "application/json", "bytes": 200027}}
{"call": "stock.level", "args": ["A1"], "kwargs": {}, "context": {}}
{"ms": 0, "reply": {"content_type": null, "bytes": 28}}
{"call": "stock.level", "args": ["A1"], "kwargs": {}, "context": {}}
{"ms": 5000, "silent": true}
"#;
    for (got, expected) in text.lines().zip(expected.lines()) {
        assert_eq!(got, expected);
    }
    assert_eq!(text.lines().count(), expected.lines().count());
}

#[tokio::test(start_paused = true)]
async fn calls_stand_in_the_order_in_which_they_began() {
    let real = FakeBroker::new();
    real.on("a.slow").after(MS(50)).reply(Answer::ok(1));
    real.on("a.quick").reply(Answer::ok(2));
    real.on("a.held").hold();
    let recorder = Recorder::new(real.transport());
    let held = tokio::spawn({
        let recorder = recorder.clone();
        async move { send(&recorder, "a.held", call(json!([])), json!({})).await }
    });
    let slow = send(&recorder, "a.slow", call(json!([])), json!({}));
    let quick = send(&recorder, "a.quick", call(json!([])), json!({}));
    tokio::join!(slow, quick);
    let cassette = recorder.cassette();
    let text = cassette.to_string();
    assert_eq!(cassette.len(), 2, "what is under way is not recorded yet: {text}");
    assert!(text.find("a.slow") < text.find("a.quick"), "{text}");
    assert!(text.contains(r#"{"ms": 50, "result": 1}"#), "{text}");
    held.abort();
    let _ = held.await;
    assert_eq!(recorder.cassette().len(), 3, "and is silent if its caller leaves");
}

#[tokio::test(start_paused = true)]
async fn what_never_reached_the_broker_is_no_recording_of_a_service() {
    let real = FakeBroker::new();
    real.on("a.b").reply(Answer::ok(1));
    let recorder = Recorder::new(real.transport());
    for outage in [real.down(), real.blocked()] {
        send(&recorder, "a.b", call(json!([])), json!({})).await;
        outage.end();
    }
    recorder.close(MS(0)).await;
    send(&recorder, "a.b", call(json!([])), json!({})).await;
    assert!(recorder.cassette().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_request_that_is_none_of_namekos_goes_through_unrecorded() {
    let real = FakeBroker::new();
    real.on("a.b").reply(Answer::ok(1));
    let recorder = Recorder::new(real.transport());
    for body in [json!([[], {}]), json!({"args": []}), json!(7)] {
        send(&recorder, "a.b", body, json!({})).await;
    }
    assert!(recorder.cassette().is_empty());
    assert_eq!(real.verify().unwrap_err().count(), 3, "the broker saw them");
}

#[tokio::test(start_paused = true)]
async fn a_client_does_not_notice_the_recorder() {
    let real = FakeBroker::new();
    real.on("a.b").reply(Answer::ok(1));
    let recorder = Recorder::new(real.transport());
    let client = Client::new(recorder.clone());
    let outage = real.down();
    assert!(!client.is_ready());
    outage.end();
    assert!(client.is_ready());
    assert_eq!(*client.service("a").call::<u8, _>("b", ()).await.unwrap(), 1);
}
