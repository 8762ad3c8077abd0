//! nameko's messages: the only file that can spell them.
//!
//! Facts are of nameko 2.14 and 3.0 with kombu's JSON, measured on the wire.

use std::{borrow::Cow, time::Duration};

use bytes::Bytes;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::{Value, value::RawValue};

use crate::{
    args::Args,
    context::{CALL_ID_STACK, Context},
    error::CallError,
    message::{Headers, JSON, Request, Response},
    route::Route,
};

/// Context data travels as headers `nameko.{key}`.
const HEADER_PREFIX: &str = "nameko.";

/// nameko keeps the call itself and its ten nearest ancestors (`parent_calls_tracked`).
const CALL_IDS_SENT: usize = 11;

/// How a request is published.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Publishing {
    pub(crate) persistent: bool,
    pub(crate) expiration: Option<Duration>,
}

/// Body of a request: `{"args": [..], "kwargs": {..}}`. nameko answers a body that lacks either with
/// `MalformedRequest`, and kills no process as long as it is a map.
pub(crate) fn body<P: Serialize, K: Serialize>(args: &Args<P, K>) -> Result<Bytes, serde_json::Error> {
    const START: &[u8] = br#"{"args": "#;
    const MIDDLE: &[u8] = br#", "kwargs": "#;
    let mut body = Vec::with_capacity(128);
    for (label, empty, keyword) in [(START, b"[]", false), (MIDDLE, b"{}", true)] {
        body.extend_from_slice(label);
        let start = body.len();
        if keyword {
            serde_json::to_writer(&mut body, &args.keyword)?;
        } else {
            serde_json::to_writer(&mut body, &args.positional)?;
        }
        if &body[start..] == b"null" {
            body.truncate(start);
            body.extend_from_slice(empty); // serde's unit: no arguments
        }
    }
    body.push(b'}');
    Ok(body.into())
}

/// A whole request. Each gets a call id of its own, `{app}.call.{uuid}`, at the end of the context's stack.
pub(crate) fn request(
    route: Route,
    body: Bytes,
    context: &Context,
    app: &str,
    publishing: Publishing,
) -> Request {
    let mut request = Request::new(route, body);
    request.headers = headers(context, app);
    request.persistent = publishing.persistent;
    request.expiration = publishing.expiration;
    request
}

fn headers(context: &Context, app: &str) -> Headers {
    let parents = context.call_ids();
    let parents = &parents[parents.len().saturating_sub(CALL_IDS_SENT - 1)..];
    let own = format!("{app}.call.{}", uuid::Uuid::new_v4());
    // A list of texts and nothing else: any other element kills the nameko process that reads it.
    let stack = parents.iter().cloned().chain([own]).map(Value::String).collect();
    let name = |key: &str| Cow::Owned(format!("{HEADER_PREFIX}{key}"));
    let data = context.iter().filter(|(_, value)| !value.is_null());
    let mut headers: Headers = data.map(|(key, value)| (name(key), value.clone())).collect();
    headers.push((name(CALL_ID_STACK), stack));
    headers
}

/// The result in a reply, as the JSON text that came, still undecoded; a slice of the reply's own body.
///
/// # Errors
/// `Remote` if the service raised, `MalformedReply` or `UnsupportedContentType` if this is no nameko reply in JSON.
pub(crate) fn result(route: &Route, response: Response) -> Result<Bytes, CallError> {
    // Exactly so, in lower case and without parameters, as nameko sends it and as Python callers demand it.
    if response.content_type.as_deref() != Some(JSON) {
        return Err(CallError::UnsupportedContentType {
            route: route.clone(),
            content_type: response.content_type,
        });
    }
    let malformed = |reason: String| CallError::MalformedReply {
        route: route.clone(),
        reason,
    };
    let envelope: Envelope<'_> = serde_json::from_slice(&response.body)
        .map_err(|error| malformed(why_not_json(&response.body, &error)))?;
    if !is_object(&response.body) {
        return Err(malformed(
            "the body is not one object with `result` and `error`".into(),
        ));
    }
    match envelope.error.map(RawValue::get) {
        Some(text) if !is_falsy(text) => Err(match serde_json::from_str(text) {
            Ok(error) if is_object(text.as_bytes()) => CallError::Remote {
                route: route.clone(),
                error: Box::new(error),
            },
            _ => malformed("its `error` is not an object with an `exc_type`".into()),
        }),
        _ => match envelope.result {
            Some(result) => Ok(lean(&response.body, result.get())),
            None => Err(malformed("it has neither `result` nor `error`".into())),
        },
    }
}

/// The result as a slice of the body, or as a copy if the slice would keep alive much more than itself.
fn lean(body: &Bytes, result: &str) -> Bytes {
    if body.len() > 2 * result.len() + 256 {
        Bytes::copy_from_slice(result.as_bytes())
    } else {
        body.slice_ref(result.as_bytes())
    }
}

/// The two members of a reply, as raw text: no value tree is built.
#[derive(Deserialize)]
struct Envelope<'a> {
    #[serde(borrow, default, deserialize_with = "present")]
    result: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    error: Option<&'a RawValue>,
}

/// A member that is there, be it `null`: a result of `null` is a result.
fn present<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<&'de RawValue>, D::Error> {
    <&RawValue>::deserialize(deserializer).map(Some)
}

/// serde would take `[result, error]` too.
fn is_object(json: &[u8]) -> bool {
    json.iter().find(|b| !b.is_ascii_whitespace()) == Some(&b'{')
}

/// What Python takes for "no error".
fn is_falsy(json: &str) -> bool {
    matches!(json, "null" | "false" | "0" | "\"\"") || is_empty(json, '{', '}') || is_empty(json, '[', ']')
}

fn is_empty(json: &str, open: char, close: char) -> bool {
    json.strip_prefix(open)
        .and_then(|rest| rest.strip_suffix(close))
        .is_some_and(|inner| inner.trim().is_empty())
}

/// Says what is wrong with a body, by place and kind, without quoting it.
fn why_not_json(body: &[u8], error: &serde_json::Error) -> String {
    let place = format!("at byte {} of {}", offset(body, error), body.len());
    if std::str::from_utf8(body).is_err() {
        return format!("the body is not UTF-8 ({place})");
    }
    let rest = &body[offset(body, error).saturating_sub(1)..];
    if ["NaN", "Infinity", "-Infinity"]
        .iter()
        .any(|word| rest.starts_with(word.as_bytes()))
    {
        return format!("a non-finite float ({place}): Python writes NaN and Infinity, which are not JSON");
    }
    match error.classify() {
        serde_json::error::Category::Eof => format!("the JSON is cut off ({place})"),
        serde_json::error::Category::Data => "the body is not one object with `result` and `error`".into(),
        _ => format!("the body is not JSON ({place})"),
    }
}

/// Where in the body an error stands, from its line and column.
fn offset(body: &[u8], error: &serde_json::Error) -> usize {
    let lines = body
        .split_inclusive(|b| *b == b'\n')
        .take(error.line().saturating_sub(1));
    (lines.map(<[u8]>::len).sum::<usize>() + error.column()).min(body.len())
}

/// Decodes a result.
///
/// # Errors
/// `Decode` says where and what was expected; it does not quote what was found.
pub(crate) fn decode<T: DeserializeOwned>(route: &Route, result: &[u8]) -> Result<T, CallError> {
    serde_json::from_slice(result).map_err(|error| CallError::Decode {
        route: route.clone(),
        expected: std::any::type_name::<T>(),
        source: std::sync::Arc::new(Mismatch(without_values(&error))),
    })
}

/// Why a result is not what was asked for.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Mismatch(String);

/// serde's messages quote what they found: `invalid type: string "secret", expected u64`. What stays is what comes from
/// the caller's own type, and the place. Of a type's own words nothing does: they may quote anything.
fn without_values(error: &serde_json::Error) -> String {
    let message = error.to_string();
    let begins_with_one_of = |words: &[&str]| words.iter().any(|word| message.starts_with(word));
    let is_known = begins_with_one_of(&[
        "invalid type: ",
        "invalid value: ",
        "invalid length ",
        "unknown variant `",
        "unknown field `",
    ]);
    if is_known
        && !message.contains("`, there are no ") // and nothing is expected
        && let Some((found, expected)) = message.rsplit_once(", expected ")
    {
        let kind = found.split(['"', '`']).next().unwrap_or_default().trim_end();
        let kind = kind.trim_end_matches(|c: char| c.is_ascii_digit() || matches!(c, '-' | '.' | ' '));
        return format!("{kind}, expected {expected}");
    }
    if begins_with_one_of(&["missing field", "duplicate field"]) {
        return message;
    }
    match (error.line(), error.column()) {
        (0, _) => "its type refuses a value".to_owned(),
        (line, column) => format!("its type refuses a value at line {line} column {column}"),
    }
}

#[cfg(test)]
mod tests;
