//! Recording and replaying, and what must not get into a recording.
#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

mod check;
mod record;
mod redact;
mod replay;

use std::time::Duration;

use nameko_cachetools::{Client, Context, Request, Route, Transport, args};
use nameko_cachetools_testkit::{
    Answer, Correlation, FakeBroker, FakeTransport, Malformed, When, cassette::Recorder,
};
use serde_json::{Value, json};

const MS: fn(u64) -> Duration = Duration::from_millis;

/// Sends a request by hand; what comes of it is in the recording.
async fn send(transport: &impl Transport, route: &str, body: Value, headers: Value) {
    let (service, method) = route.rsplit_once('.').unwrap();
    let mut request = Request::new(Route::new(service, method).unwrap(), body.to_string());
    for (key, value) in headers.as_object().unwrap() {
        request
            .headers
            .push((format!("nameko.{key}").into(), value.clone()));
    }
    let _ = tokio::time::timeout(MS(5000), transport.request(request)).await;
}

fn call(args: Value) -> Value {
    json!({"args": args, "kwargs": {}})
}

/// A recording of all there is to record.
async fn recorded() -> Recorder<FakeTransport> {
    let real = FakeBroker::new();
    real.on("billing.total")
        .after(MS(12))
        .reply(Answer::ok(12))
        .then(Answer::ok(json!({"z": "é", "a": [1.5, null]})))
        .then(Answer::error("billing.exceptions.Closed", "until Monday"));
    real.on("stock.level").sequence([
        Answer::never(),
        Answer::unknown_service(),
        Answer::nack(),
        Answer::disconnect(When::BeforeSend),
        Answer::disconnect(When::AfterSend),
        Answer::malformed(Malformed::OtherContentType),
        Answer::malformed(Malformed::NanLiteral),
        Answer::malformed(Malformed::NotAnObject),
        Answer::malformed(Malformed::DeeplyNested),
        Answer::malformed(Malformed::NoContentType),
        Answer::ok(1).correlation(Correlation::Missing),
    ]);
    let recorder = Recorder::new(real.transport());
    let billing = Client::new(recorder.clone()).service("billing");
    let context = Context::new().language("sv").user_id(7).parent_calls(["a.b.1"]);
    for _ in 0..3 {
        let total = billing.call::<Value, _>("total", args![7, z = 1, a = "x"]);
        let _ = total.context(context.clone()).await;
    }
    for _ in 0..11 {
        send(&recorder, "stock.level", call(json!(["A1"])), json!({})).await;
    }
    recorder
}
