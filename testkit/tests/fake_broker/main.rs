//! What the fake broker promises to tests, tried as tests use it.
#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

mod answers;
mod events;
mod held;
mod manners;
mod outages;
mod pushes;
mod report;
mod rules;
mod services;
mod timeline;

use std::time::Duration;

use nameko_cachetools::{Request, Response, Route, Transport, TransportError};
use serde_json::{Value, json};

const MS: fn(u64) -> Duration = Duration::from_millis;

/// A request with positional arguments, as a client sends it.
fn request(route: &str, args: Value) -> Request {
    let (service, method) = route.rsplit_once('.').unwrap();
    Request::new(
        Route::new(service, method).unwrap(),
        json!({"args": args, "kwargs": {}}).to_string(),
    )
}

async fn send(transport: &impl Transport, route: &str, args: Value) -> Result<Response, TransportError> {
    transport.request(request(route, args)).await
}

/// The reply's text.
async fn text(transport: &impl Transport, route: &str, args: Value) -> String {
    let response = send(transport, route, args).await.unwrap();
    String::from_utf8_lossy(&response.body).into_owned()
}

/// The reply's `result`.
async fn result(transport: &impl Transport, route: &str, args: Value) -> Value {
    let reply: Value = serde_json::from_str(&text(transport, route, args).await).unwrap();
    assert_eq!(reply["error"], Value::Null);
    reply["result"].clone()
}
