//! What goes out and what comes in, byte by byte.

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

/// What a type of the caller's says by itself may quote what it found, however much it sounds like serde.
///
/// Proves: 80, R13.
#[test]
fn decode_errors_quote_nothing_in_a_types_own_words() {
    struct Refused;
    impl<'de> Deserialize<'de> for Refused {
        fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            Err(serde::de::Error::custom(String::deserialize(deserializer)?))
        }
    }
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Nothing {}

    let texts = [
        decode::<Refused>(&route(), br#""canary is no price, expected digits""#).err(),
        decode::<Refused>(&route(), br#""a price, expected canary""#).err(),
        decode::<Refused>(&route(), br#""no price at line canary""#).err(),
        decode::<Nothing>(&route(), br#"{"a, expected canary": 1}"#).err(),
    ];
    for text in texts.map(|error| error.unwrap().to_string()) {
        assert!(
            text.contains("its type refuses a value") && !text.contains("canary"),
            "{text}"
        );
    }
}
