//! The contract of [`Transport`] as small named checks, for every implementation, wrappers and fakes included.
//!
//! The checks need a service behind the transport: [`SERVICE`], which does what [`answer`] says. A transport to a
//! [`FakeBroker`] gets one by [`serve`]; behind a real broker, consume the requests of queue
//! `rpc-{SERVICE}`, pass each to [`answer`], and publish what it returns.
//!
//! ```
//! use nameko_cachetools_testkit::{FakeBroker, transport_conformance};
//!
//! # #[tokio::main(flavor = "current_thread", start_paused = true)]
//! # async fn main() {
//! let broker = FakeBroker::new();
//! transport_conformance::serve(&broker);
//! transport_conformance::run_all(&|| broker.transport()).await; // here: your own wrapper around it
//! # }
//! ```

mod ends;
mod requests;

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use bytes::Bytes;
use nameko_cachetools::{Headers, JSON, Request, Response, Route, Transport, TransportError};
use serde_json::{Value, json};
use tokio::{task::JoinHandle, time::timeout};

use crate::{
    Answer, FakeBroker,
    conformance::{self, checks},
    fail,
};

pub use crate::conformance::{Checking, Outcome};

/// The service that the checks call.
pub const SERVICE: &str = "conformance";

/// A service that no queue is bound for.
pub const UNKNOWN_SERVICE: &str = "conformance_unknown";

/// How long the service takes for its method `slow`.
pub const SLOW: Duration = Duration::from_millis(300);

/// All checks, by name. [`run_all`] runs them; a test for each gives nicer names in a test run.
pub const CHECKS: &[(&str, Check)] = checks![
    requests::a_request_gets_its_reply,
    requests::a_thousand_requests_at_once_get_their_own_replies,
    requests::a_silent_service_holds_up_no_other_request,
    requests::bodies_arrive_byte_exact,
    requests::headers_arrive_with_their_types,
    requests::replies_arrive_byte_exact_with_their_content_type,
    requests::reply_headers_arrive_with_their_types,
    requests::an_error_of_the_service_is_a_reply,
    requests::an_unknown_service_is_told_and_harms_nobody,
    requests::a_future_may_wait_before_its_first_poll,
    requests::a_late_reply_to_a_dropped_request_is_ignored,
    requests::a_connected_transport_is_ready,
    requests::pointers_forward_everything,
    ends::a_dropped_request_leaves_nothing_to_wait_for,
    ends::a_closed_transport_refuses_requests,
    ends::closing_waits_for_requests_under_way,
    ends::closing_fails_what_outlasts_the_grace,
    ends::closing_twice_is_harmless,
    ends::closing_an_idle_transport_is_quick,
    ends::a_lost_connection_ends_every_wait,
];

/// One check.
pub type Check = for<'a> fn(&'a dyn Harness) -> Checking<'a>;

/// Runs all checks, one after the other.
///
/// # Panics
/// If any failed, naming each and saying how.
pub async fn run_all(harness: &dyn Harness) {
    let checks = CHECKS.iter().map(|(name, check)| (*name, check(harness)));
    conformance::run_all("transport_conformance", checks).await;
}

/// What the checks need of a transport's tests. Any closure that makes a connected transport is one.
#[async_trait]
pub trait Harness: Send + Sync {
    /// A new transport with a connection of its own, [ready](nameko_cachetools::ConnectionState::Ready), behind which
    /// [`SERVICE`] runs.
    async fn transport(&self) -> Arc<dyn Transport>;

    /// Whether [`Transport::close`] does something. The default is that it does; a transport without a connection
    /// may keep the trait's own `close`, which does nothing.
    fn closes(&self) -> bool {
        true
    }

    /// Cuts every connection once, by force, as a failing network would; the transports may reconnect at once.
    /// `false` (the default) if there is no way to.
    async fn cut(&self) -> bool {
        false
    }

    /// How long a prompt thing may take: real brokers on busy machines need some time. Default: 10 s.
    fn patience(&self) -> Duration {
        Duration::from_secs(10)
    }
}

#[async_trait]
impl<F, T> Harness for F
where
    F: Fn() -> T + Send + Sync,
    T: Transport,
{
    async fn transport(&self) -> Arc<dyn Transport> {
        Arc::new(self())
    }
}

/// What [`SERVICE`] does with one request: a reply and after how long, or none.
///
/// | method | reply |
/// |---|---|
/// | `echo` | the request's own body, at once |
/// | `slow` | the same after [`SLOW`] |
/// | `silent` | none, ever |
/// | `headers` | the request's headers as a JSON object |
/// | `raise` | nameko's error reply for a `ValueError("bad")` |
/// | `typed` | all 256 byte values, content type `application/x-conformance; a=b` |
/// | `untyped` | the text `untyped`, without content type |
/// | `with_headers` | `{}`, with a header of each type |
///
/// A method it doesn't have gets nameko's `MethodNotFound`.
pub fn answer(request: &Request) -> Option<(Response, Duration)> {
    let at_once = |response| Some((response, Duration::ZERO));
    match request.route.method() {
        "echo" => at_once(Response::json(request.body.clone())),
        "slow" => Some((Response::json(request.body.clone()), SLOW)),
        "silent" => None,
        "headers" => {
            let headers = request
                .headers
                .iter()
                .map(|(name, value)| (name.to_string(), value.clone()));
            at_once(Response::json(Value::Object(headers.collect()).to_string()))
        }
        "raise" => at_once(Response::json(RAISED)),
        "typed" => at_once(Response::new(Some(TYPED.to_owned()), every_byte())),
        "untyped" => at_once(Response::new(None, "untyped")),
        "with_headers" => at_once(Response::json("{}").with_headers(reply_headers())),
        _ => at_once(Response::json(METHOD_NOT_FOUND)),
    }
}

/// Makes [`SERVICE`] run behind a fake broker.
pub fn serve(broker: &FakeBroker) {
    for method in [
        "echo",
        "slow",
        "silent",
        "headers",
        "raise",
        "typed",
        "untyped",
        "with_headers",
    ] {
        broker
            .on(&format!("{SERVICE}.{method}"))
            .reply_with(|call| match answer(&call.request) {
                Some((response, after)) => Answer::response(response).after(after),
                None => Answer::never(),
            });
    }
    broker
        .on(&format!("{UNKNOWN_SERVICE}.echo"))
        .reply(Answer::unknown_service());
}

const TYPED: &str = "application/x-conformance; a=b";
const RAISED: &str = r#"{"result": null, "error": {"exc_type": "ValueError", "exc_path": "builtins.ValueError", "exc_args": ["bad"], "value": "bad"}}"#;
const METHOD_NOT_FOUND: &str = r#"{"result": null, "error": {"exc_type": "MethodNotFound", "exc_path": "nameko.exceptions.MethodNotFound", "exc_args": [], "value": ""}}"#;

fn every_byte() -> Bytes {
    (0..=u8::MAX).collect()
}

/// Sorted by name.
fn reply_headers() -> Headers {
    vec![
        ("a.float".into(), 0.5.into()),
        ("b.large".into(), 9_007_199_254_740_993_i64.into()),
        ("c.list".into(), json!([1, "two", {"three": [true]}])),
        ("d.small".into(), (-7).into()),
        ("e.text".into(), "é😀".into()),
        ("f.yes".into(), true.into()),
    ]
}

/// A request to the service, with one argument that is its mark.
fn request(method: &'static str, mark: impl Into<Value>) -> Request {
    request_to(SERVICE, method, mark)
}

fn request_to(service: &'static str, method: &'static str, mark: impl Into<Value>) -> Request {
    match Route::new(service, method) {
        Ok(route) => Request::new(route, format!(r#"{{"args": [{}], "kwargs": {{}}}}"#, mark.into())),
        Err(error) => fail(error), // all names are written above
    }
}

/// Sends a request whose body comes back, and checks that it does.
async fn echo(harness: &dyn Harness, transport: &dyn Transport, mark: impl Into<Value>) -> Outcome {
    let request = request("echo", mark);
    let body = request.body.clone();
    let response = conformance::within(harness.patience(), "an echo", transport.request(request)).await?;
    let response = response.map_err(|error| format!("an echo failed: {error}"))?;
    if response.body != body {
        return Err(format!("an echo of {body:?} brought {:?}", response.body));
    }
    if response.content_type.as_deref() != Some(JSON) {
        return Err(format!("an echo came as {:?}", response.content_type));
    }
    Ok(())
}

/// Starts a request that gets no reply soon, and makes sure that it is sent: an echo after it comes back.
async fn under_way(
    harness: &dyn Harness,
    transport: &Arc<dyn Transport>,
    method: &'static str,
) -> Result<JoinHandle<Result<Response, TransportError>>, String> {
    let mut task = tokio::spawn({
        let transport = Arc::clone(transport);
        async move { transport.request(request(method, "under way")).await }
    });
    let _ = timeout(SLOW / 3, &mut task).await;
    echo(harness, transport, "behind it").await?;
    Ok(task)
}
