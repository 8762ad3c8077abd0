//! What a transport carries: one request, one response. Bytes and names, nothing of nameko's meaning.

use std::{borrow::Cow, fmt, time::Duration};

use bytes::Bytes;
use serde_json::Value;

use crate::Route;

/// AMQP message headers in JSON's types: text, whole numbers, floats, booleans, lists and maps; `null` is left out.
pub type Headers = Vec<(Cow<'static, str>, Value)>;

/// The only content type requests are sent with, and the only one replies are read from.
pub const JSON: &str = "application/json";

/// One RPC request, ready to be sent: to exchange `nameko-rpc`, with routing key `{service}.{method}`.
#[derive(Clone)]
#[non_exhaustive]
pub struct Request {
    /// Where it goes.
    pub route: Route,
    /// JSON text: `{"args": [..], "kwargs": {..}}`.
    pub body: Bytes,
    /// The caller's context, as headers under nameko's names (`nameko.call_id_stack`, `nameko.language`, ..).
    pub headers: Headers,
    /// Whether the broker writes the request to disk (AMQP delivery mode 2, nameko's default) or not (mode 1).
    pub persistent: bool,
    /// How long the request may wait in the service's queue before the broker drops it (AMQP `expiration`).
    /// `None`: for ever, so a service that comes back executes it, however old.
    pub expiration: Option<Duration>,
}

impl Request {
    /// A persistent request without headers or expiration.
    pub fn new(route: Route, body: impl Into<Bytes>) -> Self {
        Self {
            route,
            body: body.into(),
            headers: Headers::new(),
            persistent: true,
            expiration: None,
        }
    }
}

/// Names and sizes only: bodies and headers hold callers' data.
impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Request")
            .field("route", &self.route)
            .field("body_bytes", &self.body.len())
            .field("headers", &names(&self.headers))
            .field("persistent", &self.persistent)
            .field("expiration", &self.expiration)
            .finish()
    }
}

/// One RPC reply as it came: not yet looked into.
#[derive(Clone)]
#[non_exhaustive]
pub struct Response {
    /// The message's content type; `None` if it had none.
    pub content_type: Option<String>,
    /// The message's body; from nameko, `{"result": .., "error": ..}`.
    pub body: Bytes,
    /// The message's headers, each name once; nameko's own services send none. What has no form in JSON is left out.
    pub headers: Headers,
}

impl Response {
    /// A reply of any content type, without headers.
    pub fn new(content_type: Option<String>, body: impl Into<Bytes>) -> Self {
        Self {
            content_type,
            body: body.into(),
            headers: Headers::new(),
        }
    }

    /// A reply of content type `application/json`, as nameko sends it.
    pub fn json(body: impl Into<Bytes>) -> Self {
        Self::new(Some(JSON.to_owned()), body)
    }

    /// The same reply with these headers.
    #[must_use]
    pub fn with_headers(self, headers: Headers) -> Self {
        Self { headers, ..self }
    }
}

/// Names and sizes only: body and headers hold a service's data.
impl fmt::Debug for Response {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Response")
            .field("content_type", &self.content_type)
            .field("body_bytes", &self.body.len())
            .field("headers", &names(&self.headers))
            .finish()
    }
}

fn names(headers: &Headers) -> Vec<&str> {
    headers.iter().map(|(name, _)| name.as_ref()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_shows_no_data() -> Result<(), crate::InvalidRoute> {
        let mut request = Request::new(Route::new("s", "m")?, "canary");
        request
            .headers
            .push(("nameko.auth_token".into(), "canary".into()));
        let response = Response::json("canary").with_headers(vec![("max-age".into(), "canary".into())]);
        let shown = format!("{request:?} {response:?}");
        assert!(
            shown.contains("nameko.auth_token") && shown.contains("max-age") && !shown.contains("canary"),
            "{shown}"
        );
        Ok(())
    }
}
