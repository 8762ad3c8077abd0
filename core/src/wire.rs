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
        source: std::sync::Arc::new(Mismatch(without_values(&error.to_string()))),
    })
}

/// Why a result is not what was asked for.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Mismatch(String);

/// serde's messages quote what they found: `invalid type: string "secret", expected u64`. What stays is what comes from
/// the caller's own type, and the place.
fn without_values(message: &str) -> String {
    if let Some((found, expected)) = message.rsplit_once(", expected ") {
        let kind = found.split(['"', '`']).next().unwrap_or_default().trim_end();
        let kind = kind.trim_end_matches(|c: char| c.is_ascii_digit() || matches!(c, '-' | '.' | ' '));
        return format!("{kind}, expected {expected}");
    }
    if ["missing field", "duplicate field"]
        .iter()
        .any(|known| message.starts_with(known))
    {
        return message.to_owned();
    }
    let place = message.rfind(" at line ").map_or("", |at| &message[at..]);
    format!("its type refuses a value{place}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args;

    fn route() -> Route {
        Route::new("products", "get").unwrap()
    }

    fn text<P: Serialize, K: Serialize>(args: Args<P, K>) -> String {
        String::from_utf8(body(&args).unwrap().to_vec()).unwrap()
    }

    fn read(body: &[u8]) -> Result<String, CallError> {
        let result = result(&route(), Response::json(body.to_vec()))?;
        Ok(String::from_utf8(result.to_vec()).unwrap())
    }

    #[test]
    fn a_request_is_what_nameko_expects() {
        assert_eq!(
            text(args![1, "two", three = 3]),
            r#"{"args": [1,"two"], "kwargs": {"three":3}}"#
        );
        assert_eq!(text(args![]), r#"{"args": [], "kwargs": {}}"#);
        assert_eq!(
            text(args!["ü\u{1d11e}\0"]),
            "{\"args\": [\"ü\u{1d11e}\\u0000\"], \"kwargs\": {}}"
        );
        assert_eq!(
            text(args![1u128 << 80]),
            r#"{"args": [1208925819614629174706176], "kwargs": {}}"#
        );
    }

    #[test]
    fn the_context_travels_as_headers() {
        let context = Context::new().language("sv").set("none", Value::Null);
        let context = context.parent_calls((0..20).map(|n| format!("id-{n}")));
        let publishing = Publishing {
            persistent: true,
            expiration: None,
        };
        let request = request(route(), Bytes::new(), &context, "shop", publishing);
        let [(language, sv), (stack, ids)] = &request.headers[..] else {
            panic!("{:?}", request.headers)
        };
        assert_eq!((language.as_ref(), sv), ("nameko.language", &Value::from("sv")));
        assert_eq!(stack, "nameko.call_id_stack");
        let ids: Vec<_> = ids
            .as_array()
            .unwrap()
            .iter()
            .map(|id| id.as_str().unwrap())
            .collect();
        assert_eq!((ids.len(), ids[0], ids[9]), (11, "id-10", "id-19"));
        assert!(
            ids[10].starts_with("shop.call.") && ids[10].len() == "shop.call.".len() + 36,
            "{ids:?}"
        );
    }

    #[test]
    fn a_result_is_split_off_as_it_came() {
        assert_eq!(
            read(br#"{"result": {"a" : 1.10}, "error": null}"#).unwrap(),
            r#"{"a" : 1.10}"#
        );
        assert_eq!(
            read(br#"{"error": null, "result": 1208925819614629174706176}"#).unwrap(),
            "1208925819614629174706176"
        );
        for falsy in ["null", "{}", "[]", "0", "false", "\"\"", "{ }"] {
            assert_eq!(
                read(format!(r#"{{"result": null, "error": {falsy}}}"#).as_bytes()).unwrap(),
                "null"
            );
        }
        assert_eq!(read(br#"{"result": 1, "more": [1, 2]}"#).unwrap(), "1");
        assert_eq!(
            read(br#"{"result": "\ud800", "error": null}"#).unwrap(),
            r#""\ud800""#
        );
    }

    #[test]
    fn the_error_wins_and_keeps_its_arguments() {
        let body = br#"{"result": 1, "error": {"exc_type": "CustomError", "exc_path": "nk.CustomError",
            "exc_args": ["x", {"a": "1"}], "value": "('x', {'a': 1})"}}"#;
        let error = read(body).unwrap_err();
        let remote = error.remote().unwrap();
        assert_eq!(
            (remote.exc_path.as_str(), &remote.exc_args[1]["a"]),
            ("nk.CustomError", &"1".into())
        );
        assert_eq!(
            error.to_string(),
            "products.get raised CustomError ('x', {'a': 1})"
        );
        let short = read(br#"{"result": null, "error": {"exc_type": "Foo", "value": "bar"}}"#).unwrap_err();
        assert_eq!(short.remote().unwrap().to_string(), "Foo bar");
    }

    /// Proves: 80, R8, R13.
    #[test]
    fn what_is_no_reply_is_named_but_not_quoted() {
        for (body, reason) in [
            (
                &br#"{"result": NaN, "error": null}"#[..],
                "a non-finite float (at byte 12 of 30)",
            ),
            (
                br#"{"result": {"x": [1, -Infinity]}, "error": null}"#,
                "a non-finite float",
            ),
            (br#"{"result": "canary"#, "the JSON is cut off"),
            (
                br#"{"result": "canary"} canary"#,
                "the body is not JSON (at byte 22",
            ),
            (b"\xff{}", "not UTF-8"),
            (b"canary", "not JSON"),
            (b"", "cut off"),
            (br#"["canary"]"#, "not one object"),
            (br#"{"result": 1, "result": 2}"#, "not one object"),
            (br#"{"other": "canary"}"#, "neither `result` nor `error`"),
            (
                br#"{"result": null, "error": "canary"}"#,
                "its `error` is not an object",
            ),
            (
                br#"{"result": null, "error": {"exc_args": ["canary"]}}"#,
                "its `error` is not an object",
            ),
        ] {
            let error = read(body).unwrap_err().to_string();
            assert!(
                error.contains(reason) && !error.contains("canary"),
                "{error} / {reason}"
            );
        }
        let deep = [b"{\"result\": ".as_slice(), &[b'['; 1_000_000], b"}"].concat();
        assert!(matches!(read(&deep), Err(CallError::MalformedReply { .. })));
    }

    /// Proves: R11.
    #[test]
    fn other_content_types_are_refused_by_name_and_unread() {
        for name in [
            None,
            Some("application/x-python-serialize"),
            Some("application/json; charset=utf-8"),
            Some("a\nb"),
        ] {
            let response = Response::new(name.map(str::to_owned), &br#"{"result": 1}"#[..]);
            let error = result(&route(), response).unwrap_err();
            assert!(matches!(error, CallError::UnsupportedContentType { .. }));
            let text = error.to_string();
            assert!(
                text.contains(&name.unwrap_or("missing").escape_debug().to_string()) && !text.contains('\n'),
                "{text}"
            );
        }
    }

    /// Proves: 80, R13.
    #[test]
    fn decode_errors_say_where_and_quote_nothing() {
        #[derive(Deserialize, Debug)]
        struct Product {
            #[allow(dead_code)]
            price: u64,
            #[allow(dead_code)]
            #[serde(default, deserialize_with = "refused")]
            secret: (),
        }
        fn refused<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<(), D::Error> {
            let found = String::deserialize(deserializer)?;
            Err(serde::de::Error::custom(format_args!(
                "{found} is not what I like"
            )))
        }
        for (json, reason) in [
            (
                &br#"{"price": "canary"}"#[..],
                "invalid type: string, expected u64 at line 1 column",
            ),
            (br#"{"price": -77}"#, "invalid value: integer, expected u64"),
            (br#"{"name": "canary"}"#, "missing field `price`"),
            (br#""canary""#, "invalid type: string, expected struct Product"),
            (
                br#"{"price": "a, expected canary"}"#,
                "invalid type: string, expected u64 at line 1 column",
            ),
            (
                br#"{"price": 1, "secret": "canary"}"#,
                "its type refuses a value at line 1 column",
            ),
        ] {
            let error = decode::<Product>(&route(), json).unwrap_err().to_string();
            assert!(
                error.contains(reason) && !error.contains("canary") && !error.contains("77"),
                "{error}"
            );
            assert!(
                error.contains("products.get") && error.contains("Product"),
                "{error}"
            );
        }
    }
}
