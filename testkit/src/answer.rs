//! What the fake answers to one call.

use std::borrow::Cow;

use bytes::Bytes;
use nameko_cachetools::{JSON, RemoteError, Response};
use serde::Serialize;
use serde_json::{Value, json};

use crate::{Latency, Malformed, When, act::Act, json::python_json, manner::Manner};

/// The answer to one call: a reply, an error, silence, or a fault on the way.
///
/// Any [`serde_json::Value`] is an answer too, and so is a [`RemoteError`].
///
/// ```
/// # use nameko_cachetools_testkit::{Answer, FakeBroker, When};
/// # use serde_json::json;
/// # use std::time::Duration;
/// let broker = FakeBroker::new();
/// broker.on("products.get").sequence([
///     Answer::ok(json!({"title": "The Odyssey"})),
///     Answer::error("NotFound", "the_odyssey").after(Duration::from_millis(50)),
///     Answer::never(),
///     Answer::disconnect(When::AfterSend),
/// ]);
/// broker.on("stock.level").reply(json!(3));
/// ```
#[derive(Debug, Clone)]
pub struct Answer {
    pub(crate) act: Act,
    /// Boxed, since answers are returned in the error of a `Result`.
    pub(crate) after: Option<Box<Latency>>,
    pub(crate) manner: Manner,
}

impl Answer {
    /// The service returned `result`. The reply's bytes are those a Python service writes; only NaN and infinities become
    /// `null`, for which there is [`Malformed::NanLiteral`].
    ///
    /// # Panics
    /// If `result` can't be written as JSON (a map whose keys are no text).
    ///
    /// ```
    /// # use nameko_cachetools_testkit::{Answer, FakeBroker};
    /// # let broker = FakeBroker::new();
    /// #[derive(serde::Serialize)]
    /// struct Product { title: &'static str, in_stock: u32 }
    /// broker.on("products.get").reply(Answer::ok(Product { title: "The Odyssey", in_stock: 7 }));
    /// ```
    #[track_caller]
    pub fn ok(result: impl Serialize) -> Self {
        match python_json(&result) {
            Ok(json) => Self::json(format!(r#"{{"result": {json}, "error": null}}"#)),
            Err(error) => crate::fail(format!(
                "Answer::ok: the result can't be written as JSON: {error}"
            )),
        }
    }

    /// The service raised an exception with one text argument: `raise ValueError("bad")`.
    ///
    /// A dotted `exc_type` (`"orders.exceptions.NotFound"`) is the exception's full path; a plain one gets the path
    /// `builtins.{exc_type}`. For anything richer see [`raise`](Self::raise).
    ///
    /// ```
    /// # use nameko_cachetools_testkit::{Answer, FakeBroker};
    /// # let broker = FakeBroker::new();
    /// broker.on("products.get").reply(Answer::error("ValueError", "bad"));
    /// ```
    pub fn error(exc_type: &str, text: &str) -> Self {
        let (path, name) = match exc_type.rsplit_once('.') {
            Some((_, name)) => (exc_type.to_owned(), name),
            None => (format!("builtins.{exc_type}"), exc_type),
        };
        Self::exception(name, &path, &[Value::from(text)], &Value::from(text))
    }

    /// The service raised an exception, given in full as it goes over the wire.
    ///
    /// ```
    /// # use nameko_cachetools_testkit::{Answer, FakeBroker};
    /// # use nameko_cachetools::RemoteError;
    /// # use serde_json::json;
    /// # let broker = FakeBroker::new();
    /// let mut error = RemoteError::new("CustomError", "('x', {'a': 1})");
    /// error.exc_path = "orders.CustomError".into();
    /// error.exc_args = vec![json!("x"), json!({"a": "1"})];
    /// broker.on("orders.place").reply(Answer::raise(error));
    /// ```
    pub fn raise(error: RemoteError) -> Self {
        Self::exception(&error.exc_type, &error.exc_path, &error.exc_args, &error.value)
    }

    /// The service has no such method: the reply nameko itself makes.
    ///
    /// ```
    /// # use nameko_cachetools_testkit::{Answer, FakeBroker};
    /// # let broker = FakeBroker::new();
    /// broker.on("products.fetch").reply(Answer::method_not_found("fetch"));
    /// ```
    pub fn method_not_found(method: &str) -> Self {
        Self::error("nameko.exceptions.MethodNotFound", method)
    }

    /// The method does not take such arguments: the reply nameko itself makes, with Python's explanation.
    ///
    /// ```
    /// # use nameko_cachetools_testkit::{Answer, FakeBroker};
    /// # let broker = FakeBroker::new();
    /// let why = "get() missing 1 required positional argument: 'product_id'";
    /// broker.on("products.get").args(()).reply(Answer::incorrect_signature(why));
    /// ```
    pub fn incorrect_signature(explanation: &str) -> Self {
        Self::error("nameko.exceptions.IncorrectSignature", explanation)
    }

    /// No reply, ever: the caller waits until it gives up or the connection is lost.
    ///
    /// This is how a stopped nameko service looks, since its durable queue outlives it. For a service that is silent
    /// for a while see [`FakeBroker::silent`](crate::FakeBroker::silent).
    ///
    /// ```
    /// # use nameko_cachetools_testkit::{Answer, FakeBroker};
    /// # let broker = FakeBroker::new();
    /// broker.on("products.get").reply(Answer::never());
    /// ```
    pub fn never() -> Self {
        Act::Never.into()
    }

    /// The test answers by hand: see [`FakeBroker::next_call`](crate::FakeBroker::next_call).
    ///
    /// ```
    /// # use nameko_cachetools_testkit::{Answer, FakeBroker};
    /// # let broker = FakeBroker::new();
    /// broker.on("products.get").reply(Answer::ok(1)).then(Answer::hold());   // the second call and all later ones
    /// ```
    pub fn hold() -> Self {
        Act::Hold.into()
    }

    /// A reply of any bytes and content type.
    ///
    /// ```
    /// # use nameko_cachetools_testkit::{Answer, FakeBroker};
    /// # let broker = FakeBroker::new();
    /// broker.on("products.get").reply(Answer::raw("<result>1</result>", "text/xml"));
    /// ```
    pub fn raw(body: impl Into<Bytes>, content_type: &str) -> Self {
        Self::response(Response::new(Some(content_type.to_owned()), body))
    }

    /// A reply as it stands, with any content type or none.
    ///
    /// ```
    /// # use nameko_cachetools_testkit::{Answer, FakeBroker};
    /// # use nameko_cachetools::Response;
    /// # let broker = FakeBroker::new();
    /// broker.on("products.get").reply(Answer::response(Response::new(None, "no content type")));
    /// ```
    pub fn response(response: Response) -> Self {
        Act::Reply(response).into()
    }

    /// A reply that no nameko service sends, broken in one of the ways that occur.
    ///
    /// ```
    /// # use nameko_cachetools_testkit::{Answer, FakeBroker, Malformed};
    /// # let broker = FakeBroker::new();
    /// broker.on("products.get").sequence(Malformed::ALL.iter().map(|kind| Answer::malformed(*kind)));
    /// ```
    pub fn malformed(kind: Malformed) -> Self {
        Act::Reply(kind.response()).into()
    }

    /// The broker returns the request: no queue is bound for the service.
    ///
    /// ```
    /// # use nameko_cachetools_testkit::{Answer, FakeBroker};
    /// # let broker = FakeBroker::new();
    /// broker.on("products.get").reply(Answer::unknown_service());
    /// ```
    pub fn unknown_service() -> Self {
        Act::UnknownService.into()
    }

    /// The broker refuses the request (`basic.nack`), as it does when it can't store it.
    ///
    /// ```
    /// # use nameko_cachetools_testkit::{Answer, FakeBroker};
    /// # let broker = FakeBroker::new();
    /// broker.on("products.get").reply(Answer::nack());
    /// ```
    pub fn nack() -> Self {
        Act::Nack.into()
    }

    /// The connection is lost, for this call and for all others that wait on the same connection. It is back at
    /// once; for a longer outage see [`FakeBroker::down`](crate::FakeBroker::down). Either way the call counts as one
    /// that its rule saw.
    ///
    /// ```
    /// # use nameko_cachetools_testkit::{Answer, FakeBroker, When};
    /// # let broker = FakeBroker::new();
    /// broker.on("products.get").reply(Answer::disconnect(When::AfterSend));
    /// ```
    pub fn disconnect(when: When) -> Self {
        Act::Disconnect(when).into()
    }

    /// The same reply with one more AMQP header, after those it has. nameko's own services send none.
    ///
    /// # Panics
    /// If the answer is no reply: silence and faults have no headers.
    ///
    /// ```
    /// # use nameko_cachetools_testkit::{Answer, FakeBroker};
    /// # let broker = FakeBroker::new();
    /// broker.on("products.get").reply(Answer::ok(1).header("cache-control", "max-age=30").header("version", 7));
    /// ```
    #[must_use]
    #[track_caller]
    pub fn header(mut self, name: impl Into<Cow<'static, str>>, value: impl Into<Value>) -> Self {
        match &mut self.act {
            Act::Reply(response) => response.headers.push((name.into(), value.into())),
            other => crate::fail(format!(
                "Answer::header: only a reply has headers, and this is none: {}",
                other.summary()
            )),
        }
        self
    }

    /// The same answer, this long after the request arrived. Wins over the rule's own
    /// [`after`](crate::Rule::after). For a call held by the test, it counts from its release.
    ///
    /// ```
    /// # use nameko_cachetools_testkit::{Answer, FakeBroker};
    /// # use std::time::Duration;
    /// # let broker = FakeBroker::new();
    /// broker.on("products.get").reply(Answer::ok(1).after(Duration::from_millis(300)));
    /// ```
    #[must_use]
    pub fn after(self, latency: impl Into<Latency>) -> Self {
        Self {
            after: Some(Box::new(latency.into())),
            ..self
        }
    }

    pub(crate) fn is_hold(&self) -> bool {
        matches!(self.act, Act::Hold)
    }

    pub(crate) fn malformed_request() -> Self {
        Self::error(
            "nameko.exceptions.MalformedRequest",
            "Message missing `args` or `kwargs`",
        )
    }

    fn exception(exc_type: &str, exc_path: &str, exc_args: &[Value], value: &Value) -> Self {
        let json = |value: &Value| python_json(value).unwrap_or_default(); // a `Value` can always be written
        Self::json(format!(
            r#"{{"result": null, "error": {{"exc_type": {}, "exc_path": {}, "exc_args": {}, "value": {}}}}}"#,
            json(&json!(exc_type)),
            json(&json!(exc_path)),
            json(&json!(exc_args)),
            json(value),
        ))
    }

    fn json(body: String) -> Self {
        Act::Reply(Response::new(Some(JSON.to_owned()), body)).into()
    }
}

impl From<Value> for Answer {
    fn from(result: Value) -> Self {
        Self::ok(result)
    }
}

impl From<RemoteError> for Answer {
    fn from(error: RemoteError) -> Self {
        Self::raise(error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn body(answer: Answer) -> String {
        match answer.act {
            Act::Reply(response) => String::from_utf8(response.body.to_vec()).unwrap(),
            other => panic!("no reply: {other:?}"),
        }
    }

    #[test]
    fn replies_are_namekos_own_text() {
        // Each text was sent by a nameko 2.14.1 service.
        assert_eq!(
            body(Answer::ok(json!({"args": [1, "two"], "kwargs": {"three": 3}}))),
            r#"{"result": {"args": [1, "two"], "kwargs": {"three": 3}}, "error": null}"#
        );
        assert_eq!(
            body(Answer::method_not_found("nope")),
            r#"{"result": null, "error": {"exc_type": "MethodNotFound", "exc_path": "nameko.exceptions.MethodNotFound", "exc_args": ["nope"], "value": "nope"}}"#
        );
        assert_eq!(
            body(Answer::incorrect_signature(
                "add() missing 1 required positional argument: 'a'"
            )),
            r#"{"result": null, "error": {"exc_type": "IncorrectSignature", "exc_path": "nameko.exceptions.IncorrectSignature", "exc_args": ["add() missing 1 required positional argument: 'a'"], "value": "add() missing 1 required positional argument: 'a'"}}"#
        );
        let mut error = RemoteError::new("ValueError", "('bad', 7)");
        error.exc_path = "builtins.ValueError".into();
        error.exc_args = vec![json!("bad"), json!("7")];
        assert_eq!(
            body(Answer::raise(error)),
            r#"{"result": null, "error": {"exc_type": "ValueError", "exc_path": "builtins.ValueError", "exc_args": ["bad", "7"], "value": "('bad', 7)"}}"#
        );
    }

    #[test]
    fn a_reply_takes_headers_and_nothing_else_does() {
        let Act::Reply(response) = Answer::ok(1).header("a", 1).header("b", "two").act else {
            panic!("no reply")
        };
        assert_eq!(
            response.headers,
            [("a".into(), json!(1)), ("b".into(), json!("two"))]
        );
        assert!(std::panic::catch_unwind(|| Answer::never().header("a", 1)).is_err());
    }

    #[test]
    fn an_error_is_named_plainly_or_by_its_path() {
        assert!(body(Answer::error("ValueError", "bad")).contains(r#""exc_path": "builtins.ValueError""#));
        let text = body(Answer::error("orders.exc.NotFound", "o1"));
        assert!(
            text.contains(r#""exc_type": "NotFound", "exc_path": "orders.exc.NotFound""#),
            "{text}"
        );
    }
}
