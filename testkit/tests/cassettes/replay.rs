use std::fs;

use nameko_cachetools_testkit::{
    Answer, FakeBroker,
    cassette::{Cassette, Matching, Recorder},
};
use serde_json::json;

use crate::{MS, call, recorded, send};

/// A cassette of these lines, in a file of its own.
fn loaded(name: &str, lines: &str) -> Cassette {
    let folder = std::env::temp_dir().join(format!("nameko-cassettes-{}-{name}", std::process::id()));
    fs::create_dir_all(&folder).unwrap();
    let path = folder.join(format!("{name}.jsonl"));
    fs::write(
        &path,
        format!("{{\"cassette\": 1, \"blank\": \"<redacted>\"}}\n{lines}"),
    )
    .unwrap();
    let cassette = Cassette::load(&path).unwrap();
    fs::remove_dir_all(&folder).unwrap();
    cassette
}

const LEVELS: &str = r#"{"call": "stock.level", "args": ["A1"], "kwargs": {}, "context": {"language": "sv", "user_id": "<redacted>"}}
{"ms": 10, "result": 1}
{"call": "stock.level", "args": ["A1"], "kwargs": {}, "context": {"language": "sv", "user_id": "<redacted>"}}
{"ms": 20, "result": 2}
{"call": "stock.level", "args": ["<redacted>"], "kwargs": {"page": {"of": "<redacted>", "size": 2}}, "context": {}}
{"ms": 0, "result": 36893488147419103232}
"#;

/// Recording a replay gives the same recording: all that is in a cassette is replayed, in content, kind and time.
#[tokio::test(start_paused = true)]
async fn a_replay_is_recorded_as_what_it_replays() {
    let first = recorded().await.cassette();
    let broker = FakeBroker::new();
    broker.replay(&first, Matching::Strict);
    let recorder = Recorder::new(broker.transport());
    let context = json!({"language": "sv", "user_id": "somebody else"});
    for _ in 0..3 {
        let body = json!({"args": [7], "kwargs": {"a": "x", "z": 1}});
        send(&recorder, "billing.total", body, context.clone()).await;
    }
    for _ in 0..11 {
        send(&recorder, "stock.level", call(json!(["A1"])), json!({})).await;
    }
    assert_eq!(recorder.cassette().to_string(), first.to_string());
    assert_eq!(broker.verify(), Ok(()));
}

#[tokio::test(start_paused = true)]
async fn a_saved_cassette_is_loaded_as_it_was() {
    let cassette = recorded().await.cassette();
    let path = std::env::temp_dir().join(format!("nameko-cassette-{}.jsonl", std::process::id()));
    cassette.save(&path).unwrap();
    let loaded = Cassette::load(&path).unwrap();
    fs::remove_file(&path).unwrap();
    assert_eq!(loaded.to_string(), cassette.to_string());
    let missing = Cassette::load(&path).unwrap_err();
    assert!(missing.to_string().contains("nameko-cassette-"), "{missing}");
}

#[tokio::test(start_paused = true)]
async fn strict_means_each_recording_once_and_in_its_context() {
    let broker = FakeBroker::new();
    broker.replay(&loaded("strict", LEVELS), Matching::Strict);
    let recorder = Recorder::new(broker.transport());
    let sv = json!({"language": "sv", "user_id": 1});
    send(&recorder, "stock.level", call(json!(["A1"])), sv.clone()).await;
    send(
        &recorder,
        "stock.level",
        call(json!(["A1"])),
        json!({"language": "en", "user_id": 1}),
    )
    .await;
    send(
        &recorder,
        "stock.level",
        call(json!(["A1"])),
        json!({"language": "sv"}),
    )
    .await;
    let violations = broker.verify().unwrap_err();
    let report = violations.to_string();
    assert_eq!(violations.count(), 4, "{report}");
    for expected in [
        r#"rule stock.level("A1") (strict.jsonl:2) expected exactly 2 calls, saw 1"#,
        r#"(strict.jsonl:6) expected exactly 1 call, saw none"#,
        r#"context.language  expected "sv"          got "en"  <-- differs"#,
        r#"context.user_id   expected "<redacted>"  got nothing  <-- differs"#,
    ] {
        assert!(report.contains(expected), "{expected} is not in\n{report}");
    }
}

#[tokio::test(start_paused = true)]
async fn lenient_repeats_the_last_and_forgives_what_is_not_used() {
    let broker = FakeBroker::new();
    broker.replay(&loaded("lenient", LEVELS), Matching::Lenient);
    let recorder = Recorder::new(broker.transport());
    for _ in 0..4 {
        send(
            &recorder,
            "stock.level",
            call(json!(["A1"])),
            json!({"language": "en"}),
        )
        .await;
    }
    let text = recorder.cassette().to_string();
    let answers: Vec<&str> = text.lines().skip(2).step_by(2).collect();
    let (one, two) = (r#"{"ms": 10, "result": 1}"#, r#"{"ms": 20, "result": 2}"#);
    assert_eq!(answers, [one, two, two, two]);
    assert_eq!(broker.verify(), Ok(()));
}

#[tokio::test(start_paused = true)]
async fn what_was_redacted_matches_anything_and_digits_are_kept() {
    let broker = FakeBroker::new();
    broker.replay(&loaded("blank", LEVELS), Matching::Lenient);
    let recorder = Recorder::new(broker.transport());
    let body = |size: u8| json!({"args": [{"any": "thing"}], "kwargs": {"page": {"of": [1], "size": size}}});
    send(&recorder, "stock.level", body(2), json!({})).await;
    assert!(recorder.cassette().to_string().contains("36893488147419103232"));
    send(&recorder, "stock.level", body(3), json!({})).await;
    let report = broker.verify().unwrap_err().to_string();
    assert!(report.contains("kwargs.page.size  expected 2"), "{report}");
    assert!(!report.contains("kwargs.page.of"), "{report}");
}

#[tokio::test(start_paused = true)]
async fn a_replayed_service_can_fail_like_any_other() {
    let broker = FakeBroker::new();
    broker.replay(&loaded("faults", LEVELS), Matching::Lenient);
    broker.push("stock.level", [Answer::nack()]);
    let recorder = Recorder::new(broker.transport());
    send(&recorder, "stock.level", call(json!(["A1"])), json!({})).await;
    let _slow = broker.brown_out("stock", MS(100), 0.0);
    send(&recorder, "stock.level", call(json!(["A1"])), json!({})).await;
    let text = recorder.cassette().to_string();
    assert!(
        text.contains("nack") && text.contains(r#"{"ms": 110, "result": 1}"#),
        "{text}"
    );
}

const DIALOGUE: &str = r#"{"call": "stock.take", "args": ["A1"], "kwargs": {}, "context": {}}
{"ms": 0, "headers": {"cache-control": "max-age=30"}, "result": null}
{"call": "stock.level", "args": ["A1"], "kwargs": {}, "context": {}}
{"ms": 0, "result": 2}
{"call": "stock.take", "args": ["A1"], "kwargs": {}, "context": {}}
{"ms": 0, "result": null}
"#;

#[tokio::test(start_paused = true)]
async fn strict_means_in_the_order_recorded() {
    let replayed = async |matching, routes: &[&str]| {
        let broker = FakeBroker::new();
        broker.replay(&loaded("order", DIALOGUE), matching);
        let transport = broker.transport();
        for route in routes {
            send(&transport, route, call(json!(["A1"])), json!({})).await;
        }
        broker.verify()
    };
    let (as_recorded, otherwise) = (
        ["stock.take", "stock.level", "stock.take"],
        ["stock.take", "stock.take", "stock.level"],
    );
    assert_eq!(replayed(Matching::Strict, &as_recorded).await, Ok(()));
    assert_eq!(replayed(Matching::Unordered, &otherwise).await, Ok(()));
    let report = replayed(Matching::Strict, &otherwise).await.unwrap_err();
    assert_eq!(report.count(), 1);
    let expected = "1. call #2 stock.take(\"A1\") came before its turn\n   \
                    recorded before it: stock.level(\"A1\") (order.jsonl:4)\n   \
                    to allow any order: Matching::Unordered\n";
    assert!(report.to_string().contains(expected), "{report}");
}

#[tokio::test(start_paused = true)]
async fn a_replayed_reply_has_the_headers_it_had() {
    let broker = FakeBroker::new();
    broker.replay(&loaded("headers", DIALOGUE), Matching::Lenient);
    let recorder = Recorder::new(broker.transport());
    send(&recorder, "stock.take", call(json!(["A1"])), json!({})).await;
    let text = recorder.cassette().to_string();
    assert!(
        text.contains(r#"{"ms": 0, "headers": {"cache-control": "max-age=30"}, "result": null}"#),
        "{text}"
    );
}
