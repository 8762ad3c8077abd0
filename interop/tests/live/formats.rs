//! Other formats than JSON, and replies that nameko itself would not send.

use std::time::Duration;

use nameko_cachetools::{CachedRpcProxy, CallError, Reply, Source, args};
use nameko_cachetools_interop::{Interop, Packages, live};
use serde_json::{Value, json};

use crate::{client, interop};

#[test]
fn a_service_of_another_format_that_accepts_json_too_answers_in_json() {
    let builder = Interop::builder()
        .config("serializer", r#""msgpack""#)
        .config("ACCEPT", r#"["json", "msgpack", "pickle", "yaml"]"#);
    live::alone(builder, async |nameko| {
        let echo: Reply<Value> = interop(nameko)
            .await
            .call("echo", args![1, two = 2])
            .await
            .unwrap();
        assert_eq!(*echo, json!({"args": [1], "kwargs": {"two": 2}}));
    });
}

#[test]
fn a_service_that_does_not_accept_json_is_silent_and_lives() {
    for format in [r#""msgpack""#, r#""pickle""#] {
        live::alone(Interop::builder().config("serializer", format), async |nameko| {
            let interop = interop(nameko).await;
            for _ in 0..2 {
                let call = interop
                    .call::<Value, _>("echo", args![])
                    .timeout(Duration::from_secs(1));
                let error = call.await.unwrap_err();
                assert!(error.is_timeout(), "{format}: {error}");
            }
        });
    }
}

/// Proves: R11.
#[test]
fn a_reply_in_another_format_is_refused_by_name_and_not_read() {
    live::shared(Packages::Nameko2, async |nameko| {
        let interop = interop(nameko).await;
        let json = r#"{"result": 1, "error": null}"#;
        for (content_type, body) in [
            (Some("application/x-python-serialize"), "\u{80}\u{4}N."),
            (
                Some("application/x-msgpack"),
                "\u{82}\u{a6}result\u{1}\u{a5}error\u{c0}",
            ),
            (Some("application/x-yaml"), "{error: null, result: 1}"),
            (Some("application/json; charset=utf-8"), json),
            (Some("text/plain"), json),
            (None, json),
        ] {
            let error = interop
                .call::<Value, _>("raw", (content_type, body))
                .await
                .unwrap_err();
            assert!(
                matches!(error, CallError::UnsupportedContentType { .. }),
                "{content_type:?}: {error}"
            );
            assert!(
                error.to_string().contains(content_type.unwrap_or("missing")),
                "{error}"
            );
        }
    });
}

#[test]
fn odd_replies_are_read_as_python_reads_them() {
    live::shared(Packages::Nameko2, async |nameko| {
        let interop = interop(nameko).await;
        for body in [
            r#"{"result": 1}"#,
            r#"{"result": 1, "error": {}}"#,
            r#"{"error": null, "more": [], "result": 1}"#,
        ] {
            assert_eq!(
                *interop.call::<u8, _>("raw", (JSON, body)).await.unwrap(),
                1,
                "{body}"
            );
        }
        let both = r#"{"result": 1, "error": {"exc_type": "Foo", "value": "bar"}}"#;
        let error = interop.call::<u8, _>("raw", (JSON, both)).await.unwrap_err();
        assert_eq!(error.remote().unwrap().to_string(), "Foo bar", "the error wins");
    });
}

/// Proves: R8.
#[test]
fn what_is_no_reply_is_an_error_and_never_cached() {
    live::shared(Packages::Nameko2, async |nameko| {
        let cached = CachedRpcProxy::builder(nameko.service("interop"))
            .call_timeout(crate::LIMIT)
            .build(&client(nameko).await);
        for body in [
            "{}",
            "[]",
            "null",
            "",
            "{\"result\": 1",
            r#"{"error": "text", "result": 1}"#,
            "\u{ef}\u{bb}\u{bf}{}",
            "\u{ff}",
        ] {
            for _ in 0..2 {
                let error = cached.call::<Value, _>("raw", (JSON, body)).await.unwrap_err();
                assert!(
                    matches!(error, CallError::MalformedReply { .. }),
                    "{body:?}: {error}"
                );
            }
        }
        let good: Reply<u8> = cached
            .call("raw", (JSON, r#"{"result": 1, "error": null}"#))
            .await
            .unwrap();
        assert_eq!((*good, good.outcome().source()), (1, Source::Live));
    });
}

const JSON: &str = "application/json";
