//! Between the proxies and the broker: writes down what goes out and what comes back.

use std::panic::resume_unwind;

use async_trait::async_trait;
use nameko_cachetools::{CallError, Delivery, JSON, Request, Response, Transport, TransportError};
use serde_json::Value;
use tokio::sync::watch;

use super::log::{Asked, Brought, Event, Fault, Log, Number, Owner};
use super::schedule::{Ms, Says};
use crate::FakeTransport;

/// The content type that makes this transport panic.
pub(super) const PANIC: &str = "x/panic";

/// The header that carries a request's number to the service, which writes it into its answer.
pub(super) const NUMBER: &str = "request";

/// The headers by which a reply says what becomes of it.
pub(super) const FRESH_FOR: &str = "nameko.cache_fresh_for";
pub(super) const TAGS: &str = "nameko.cache_tags";
pub(super) const NO_STORE: &str = "nameko.cache_no_store";

/// The transport of all proxies.
pub(super) struct Recorder {
    pub(super) inner: FakeTransport,
    pub(super) log: Log,
}

impl Recorder {
    fn sent(&self, request: &Request) -> Number {
        let number = self.log.next_request();
        let header = |name: &str| {
            request
                .headers
                .iter()
                .find(|(key, _)| key == name)
                .map(|(_, value)| value)
        };
        let body: Value = serde_json::from_slice(&request.body).unwrap_or_default();
        let asked = Asked {
            service: if request.route.service() == "alpha" {
                "alpha"
            } else {
                "beta"
            },
            method: match request.route.method() {
                "get" => "get",
                "list" => "list",
                _ => "set",
            },
            key: body["args"][0].as_u64().unwrap_or(u64::MAX),
            user: header("nameko.user_id").and_then(Value::as_u64),
        };
        let caller = header("nameko.user_agent")
            .and_then(Value::as_str)
            .and_then(|text| text.parse().ok());
        if !matches!(self.log.owner(), Owner::Caller(_)) {
            self.log.own(Owner::Flight(number));
        }
        self.log.add(Event::Sent {
            number,
            asked,
            caller,
        });
        number
    }
}

#[async_trait]
impl Transport for Recorder {
    async fn request(&self, mut request: Request) -> Result<Response, TransportError> {
        let number = self.sent(&request);
        request.headers.push((NUMBER.into(), number.into()));
        let mut wait = Wait {
            log: &self.log,
            number,
            is_over: false,
        };
        let mut result = self.inner.request(request).await;
        wait.is_over = true;
        if is_panic(&result) && matches!(self.log.owner(), Owner::Caller(_)) {
            // A plain call's panic is its caller's own.
            result = Err(TransportError::other("as planned", Delivery::Unknown));
        }
        let what = brought(&result);
        let panics = what == Brought::Error(Fault::Aborted);
        let says = result.as_ref().map_or_else(|_| Says::default(), says);
        self.log.add(Event::Brought { number, what, says });
        if panics {
            resume_unwind(Box::new("as planned")); // without the panic hook's lines on standard error
        }
        result
    }

    fn state(&self) -> watch::Receiver<nameko_cachetools::ConnectionState> {
        self.inner.state()
    }
}

/// Somebody who waits for a request. Dropped early, it writes that down.
struct Wait<'a> {
    log: &'a Log,
    number: Number,
    is_over: bool,
}

impl Drop for Wait<'_> {
    fn drop(&mut self) {
        if !self.is_over {
            self.log.add(Event::GivenUp { number: self.number });
        }
    }
}

fn is_panic(result: &Result<Response, TransportError>) -> bool {
    matches!(result, Ok(response) if response.content_type.as_deref() == Some(PANIC))
}

fn brought(result: &Result<Response, TransportError>) -> Brought {
    match result {
        Err(error) => Brought::Error(of_transport(error)),
        Ok(response) => match response.content_type.as_deref() {
            Some(JSON) => of_body(&response.body),
            Some(PANIC) => Brought::Error(Fault::Aborted),
            _ => Brought::Error(Fault::ContentType),
        },
    }
}

fn says(response: &Response) -> Says {
    let header = |name: &str| {
        let found = response.headers.iter().find(|(other, _)| other == name);
        found.map(|(_, value)| value)
    };
    let seconds = header(FRESH_FOR).and_then(Value::as_f64);
    Says {
        fresh_for: seconds.map(|seconds| (seconds * 1000.0).round() as Ms),
        tagged: header(TAGS).is_some(),
        no_store: header(NO_STORE).is_some(),
    }
}

fn of_body(body: &[u8]) -> Brought {
    let reply: Value = serde_json::from_slice(body).unwrap_or_default();
    match reply["error"]["exc_type"].as_str() {
        Some(name) => Brought::Error(of_exception(name)),
        None if reply["result"]["odd"].is_number() => Brought::Odd,
        None => Brought::Good,
    }
}

fn of_exception(name: &str) -> Fault {
    match name {
        "Boom" => Fault::Boom,
        "NotFound" => Fault::NotFound,
        "MethodNotFound" => Fault::MethodNotFound,
        _ => Fault::Other,
    }
}

fn of_transport(error: &TransportError) -> Fault {
    match error {
        TransportError::UnknownService => Fault::UnknownService,
        TransportError::Rejected => Fault::Rejected,
        TransportError::NotConnected { .. } => Fault::NotConnected,
        TransportError::Blocked { .. } => Fault::Blocked,
        TransportError::Disconnected { delivery, .. } if *delivery == Delivery::NotSent => {
            Fault::DisconnectedBefore
        }
        TransportError::Disconnected { .. } => Fault::Disconnected,
        _ => Fault::Other,
    }
}

/// An error by name.
pub(super) fn fault(error: &CallError) -> Fault {
    match error {
        CallError::Remote { error, .. } => of_exception(&error.exc_type),
        CallError::Timeout { .. } => Fault::Timeout,
        CallError::UnknownService { .. } => Fault::UnknownService,
        CallError::Transport { error, .. } => of_transport(error),
        CallError::UnsupportedContentType { .. } => Fault::ContentType,
        CallError::Decode { .. } => Fault::Decode,
        CallError::NotCached { .. } => Fault::NotCached,
        CallError::CircuitOpen { .. } => Fault::CircuitOpen,
        CallError::Aborted { .. } => Fault::Aborted,
        _ => Fault::Other,
    }
}
