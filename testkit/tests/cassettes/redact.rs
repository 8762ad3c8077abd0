use nameko_cachetools_testkit::{Answer, FakeBroker, cassette::Recorder};
use serde_json::json;

use crate::{call, send};

/// Canaries in every place where a secret may stand, sent and sent back in every way.
///
/// Proves: R27.
#[tokio::test(start_paused = true)]
async fn no_canary_gets_into_a_recording() {
    let real = FakeBroker::new();
    real.on("accounts.login").reply_with(|call| {
        let echo = format!("{:?} {:?} {:?}", call.args, call.kwargs, call.context);
        match call.number % 4 {
            0 => Answer::ok(
                json!({"echo": [echo], "session_key": "canary-session", "again": "canary-session"}),
            ),
            1 => Answer::error("canary-context", &echo),
            2 => Answer::raw(echo, "text/canary-free"),
            _ => Answer::ok(json!({ echo: 1 })),
        }
    });
    let recorder = Recorder::new(real.transport())
        .redact(["Card"])
        .redact_arg("accounts.*", 1);
    let headers = json!({
        "auth_token": "canary-token", "user_id": "canary-user", "tenant": {"name": ["canary-context"]},
        "call_id_stack": ["canary-call"], "language": "sv",
    });
    let body = json!({
        "args": ["tess", {"pin": "canary-pin"}, [{"Password": "canary-password"}]],
        "kwargs": {"card": ["canary-card"], "API_KEY": {"of": "canary-key"}, "note": "my card is canary-card!"},
    });
    for _ in 0..8 {
        send(&recorder, "accounts.login", body.clone(), headers.clone()).await;
    }
    let text = recorder.cassette().to_string();
    assert_eq!(recorder.cassette().len(), 8);
    let leaks: Vec<&str> = text
        .lines()
        .filter(|line| line.replace("canary-free", "").contains("canary"))
        .collect();
    assert!(leaks.is_empty(), "{leaks:#?}");
    assert!(
        text.contains(r#""args": ["tess", "<redacted>", [{"Password": "<redacted>"}]]"#),
        "{text}"
    );
    assert!(
        text.contains(r#""note": "<redacted>""#) && text.contains(r#""language": "sv""#),
        "{text}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_secret_is_known_again_in_later_calls() {
    let real = FakeBroker::new();
    real.on("a.b").reply(Answer::ok("hello canary-password"));
    real.on("a.c").reply(Answer::ok("hello canary-password"));
    let recorder = Recorder::new(real.transport());
    let body = json!({"args": [], "kwargs": {"password": "canary-password"}});
    send(&recorder, "a.b", body, json!({})).await;
    send(&recorder, "a.c", call(json!(["canary-password"])), json!({})).await;
    assert!(!recorder.cassette().to_string().contains("canary"));
}

#[tokio::test(start_paused = true)]
async fn what_is_kept_is_kept() {
    let real = FakeBroker::new();
    real.on("a.b").reply(Answer::ok(json!({"tokens_used": 7})));
    let recorder = Recorder::new(real.transport()).keep(["tenant", "Tokens_Used"]);
    send(
        &recorder,
        "a.b",
        call(json!([])),
        json!({"tenant": "acme", "user_id": 1}),
    )
    .await;
    let text = recorder.cassette().to_string();
    assert!(
        text.contains(r#""context": {"tenant": "acme", "user_id": "<redacted>"}"#),
        "{text}"
    );
    assert!(text.contains(r#"{"tokens_used": 7}"#), "{text}");
}

/// What a reply shows to be a secret may stand in what was recorded before.
#[tokio::test(start_paused = true)]
async fn a_secret_is_known_again_in_earlier_calls() {
    let real = FakeBroker::new();
    real.on("accounts.check")
        .reply(Answer::ok(json!({"valid": "canary-key is valid"})));
    real.on("accounts.login").reply(
        Answer::ok(json!({"session": {"key": "canary-key", "pin": 92741}})).header("x-token", "canary-key"),
    );
    real.on("accounts.log").reply(
        Answer::ok("pin 92741")
            .header("nameko.user", "canary-user")
            .header("age", 7),
    );
    let recorder = Recorder::new(real.transport());
    send(
        &recorder,
        "accounts.check",
        call(json!(["canary-key"])),
        json!({}),
    )
    .await;
    send(&recorder, "accounts.log", call(json!([])), json!({})).await;
    send(&recorder, "accounts.login", call(json!([])), json!({})).await;
    let expected = r#"{"cassette": 1, "blank": "<redacted>"}
{"call": "accounts.check", "args": ["<redacted>"], "kwargs": {}, "context": {}}
{"ms": 0, "result": {"valid": "<redacted>"}}
{"call": "accounts.log", "args": [], "kwargs": {}, "context": {}}
{"ms": 0, "headers": {"age": 7, "nameko.user": "<redacted>"}, "result": "<redacted>"}
{"call": "accounts.login", "args": [], "kwargs": {}, "context": {}}
{"ms": 0, "headers": {"x-token": "<redacted>"}, "result": {"session": "<redacted>"}}
"#;
    assert_eq!(recorder.cassette().to_string(), expected);
}
