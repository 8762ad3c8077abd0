//! One call as the fake broker received it.

use std::{collections::BTreeMap, fmt, time::Duration};

use nameko_cachetools::{IntoArgs, Request, Route};
use serde_json::{Map, Value};

use crate::{fail, json::clipped};

/// One request that reached the fake broker, read as a nameko service reads it.
///
/// Displayed as `products.get("the_odyssey", currency="EUR")`. Arguments are shown in full here and in every report
/// of the testkit: it is meant for test data.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Call {
    /// Its number among all calls of this broker, from 1.
    pub number: u64,
    /// When it arrived: tokio's time since the broker was made.
    pub at: Duration,
    /// Which connection it came by: 1 for the broker's first [`transport`](crate::FakeBroker::transport).
    pub connection: u32,
    /// Where it was sent.
    pub route: Route,
    /// The positional arguments.
    pub args: Vec<Value>,
    /// The keyword arguments.
    pub kwargs: Map<String, Value>,
    /// The worker context, as a nameko service sees it: the headers, a leading `nameko.` taken off.
    pub context: BTreeMap<String, Value>,
    /// The request as it came, with body, headers, persistence and expiration.
    pub request: Request,
}

impl Call {
    /// Reads a request's body; `Err` says what is wrong with it.
    pub(crate) fn read(
        number: u64,
        at: Duration,
        connection: u32,
        request: Request,
    ) -> Result<Self, (Request, Unreadable)> {
        let (args, kwargs) = match read_body(&request.body) {
            Ok(read) => read,
            Err(unreadable) => return Err((request, unreadable)),
        };
        let context = request
            .headers
            .iter()
            .map(|(name, value)| (context_key(name).to_owned(), value.clone()))
            .collect();
        Ok(Self {
            number,
            at,
            connection,
            route: request.route.clone(),
            args,
            kwargs,
            context,
            request,
        })
    }
}

/// Arguments as a service receives them.
#[track_caller]
pub(crate) fn written(args: impl IntoArgs) -> (Vec<Value>, Map<String, Value>) {
    let (positional, keyword) = args.into_args().into_parts();
    match (serde_json::to_value(positional), serde_json::to_value(keyword)) {
        (Ok(Value::Null), Ok(Value::Object(kwargs))) => (Vec::new(), kwargs), // `()`
        (Ok(Value::Array(args)), Ok(Value::Object(kwargs))) => (args, kwargs),
        (Ok(args), Ok(kwargs)) => fail(format!(
            "arguments are a list and a map of names and values, got {args} and {kwargs}"
        )),
        (Err(error), _) | (_, Err(error)) => {
            fail(format!("these arguments can't be written as JSON: {error}"))
        }
    }
}

/// A header's name as the key of nameko's worker context.
pub(crate) fn context_key(header: &str) -> &str {
    header.strip_prefix("nameko.").unwrap_or(header)
}

impl fmt::Display for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}({})", self.route, Arguments(&self.args, &self.kwargs))
    }
}

/// Arguments as they would stand in Python, each cut at 60 characters.
pub(crate) struct Arguments<'a>(pub(crate) &'a [Value], pub(crate) &'a Map<String, Value>);

impl fmt::Display for Arguments<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let positional = self.0.iter().map(shown);
        let keyword = self
            .1
            .iter()
            .map(|(name, value)| format!("{name}={}", shown(value)));
        f.write_str(&positional.chain(keyword).collect::<Vec<_>>().join(", "))
    }
}

/// A value as JSON, cut at 60 characters.
pub(crate) fn shown(value: &Value) -> String {
    clipped(&value.to_string(), 60)
}

/// Why a nameko service could not read a request, and so what it does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unreadable {
    /// Not JSON: nameko drops the message, and the caller waits in vain.
    NotJson,
    /// No `args` or no `kwargs`: nameko answers `MalformedRequest`.
    Malformed,
}

fn read_body(body: &[u8]) -> Result<(Vec<Value>, Map<String, Value>), Unreadable> {
    let value: Value = serde_json::from_slice(body).map_err(|_| Unreadable::NotJson)?;
    let Value::Object(mut members) = value else {
        return Err(Unreadable::Malformed);
    };
    match (members.remove("args"), members.remove("kwargs")) {
        (Some(Value::Array(args)), Some(Value::Object(kwargs))) => Ok((args, kwargs)),
        _ => Err(Unreadable::Malformed),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn request(body: &'static str) -> Request {
        Request::new(Route::new("products", "get").unwrap(), body)
    }

    #[test]
    fn a_call_reads_as_python() {
        let mut request = request(r#"{"args": ["o1", [1, 2]], "kwargs": {"currency": "EUR"}}"#);
        request.headers.push(("nameko.language".into(), json!("sv")));
        let call = Call::read(1, Duration::ZERO, 1, request).unwrap();
        assert_eq!(call.to_string(), r#"products.get("o1", [1,2], currency="EUR")"#);
        assert_eq!(call.context["language"], "sv");
    }

    #[test]
    fn what_nameko_can_not_read_is_told_apart() {
        let why = |body| {
            Call::read(1, Duration::ZERO, 1, request(body))
                .map_err(|(_, why)| why)
                .unwrap_err()
        };
        assert_eq!(why("nonsense"), Unreadable::NotJson);
        assert_eq!(why("[1]"), Unreadable::Malformed);
        assert_eq!(why(r#"{"args": []}"#), Unreadable::Malformed);
    }
}
