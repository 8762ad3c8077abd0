//! Every error that nameko answers with, or that stands for its silence.

use std::time::Duration;

use nameko_cachetools::{
    CallError, Delivery, ErrorClass, IntoArgs, RemoteError, Request, Route, Timer, Transport, args,
};
use nameko_cachetools_interop::{Interop, Packages, live};
use nameko_cachetools_lapin::LapinTransport;
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::{client, interop};

#[test]
fn an_exception_comes_with_its_class_path_arguments_and_text() {
    for packages in [Packages::Nameko2, Packages::OldKombu, Packages::Nameko3] {
        live::shared(packages, async |nameko| {
            let error = raised(nameko, "raise_standard", ("ValueError", "bad", 7)).await;
            assert_remote(
                &error,
                "ValueError",
                "builtins.ValueError",
                json!(["bad", "7"]),
                "('bad', 7)",
            );
            let error = raised(nameko, "raise_standard", ("KeyError", "k")).await;
            assert_remote(&error, "KeyError", "builtins.KeyError", json!(["k"]), "'k'");

            let error = raised(nameko, "raise_custom", ("x", json!({"a": 1}))).await;
            assert_remote(
                &error,
                "CustomError",
                "nk_services.CustomError",
                json!(["x", {"a": "1"}]),
                "('x', {'a': 1})",
            );
            for method in ["raise_registered", "raise_expected"] {
                let error = raised(nameko, method, ("x",)).await;
                assert_eq!(
                    (&error.exc_args[..], &error.value),
                    (&[json!("x")][..], &json!("x")),
                    "{method}"
                );
            }
        });
    }
}

#[test]
fn rich_exception_arguments_keep_their_shape_and_lose_their_types() {
    live::shared(Packages::Nameko2, async |nameko| {
        let error = raised(nameko, "raise_rich", args![]).await;
        let args = json!([
            "1",
            "None",
            "True",
            "2.5",
            "2024-02-29 12:34:56.789012",
            "1234567890.123456789012345678",
            {"k": ["1", ["2", "3"]]},
            ["98", "121"]
        ]);
        assert_eq!(Value::from(error.exc_args.clone()), args);
        assert!(
            error
                .value
                .as_str()
                .unwrap()
                .starts_with("(1, None, True, 2.5, datetime.datetime("),
            "{error}"
        );
    });
}

#[test]
fn an_exception_may_have_no_arguments_or_no_text() {
    live::shared(Packages::Nameko2, async |nameko| {
        let error = raised(nameko, "raise_no_args", args![]).await;
        assert_remote(
            &error,
            "NoArgsError",
            "nk_services.NoArgsError",
            json!([]),
            "code is 42",
        );
        let error = raised(nameko, "raise_broken_str", args![]).await;
        assert_remote(
            &error,
            "BrokenStrError",
            "nk_services.BrokenStrError",
            json!(["x"]),
            "[__unicode__ failed]",
        );
    });
}

#[test]
fn what_nameko_itself_refuses_is_the_callers_fault() {
    for packages in [Packages::Nameko2, Packages::Nameko3] {
        live::shared(packages, async |nameko| {
            let interop = interop(nameko).await;
            let error = interop.call::<Value, _>("nope", args![]).await.unwrap_err();
            assert_eq!(
                (error.class(), error.delivery()),
                (ErrorClass::ClientFault, Delivery::Answered)
            );
            let path = "nameko.exceptions.MethodNotFound";
            assert_remote(
                error.remote().unwrap(),
                "MethodNotFound",
                path,
                json!(["nope"]),
                "nope",
            );

            let error = interop.call::<Value, _>("add", args![]).await.unwrap_err();
            assert_eq!(error.class(), ErrorClass::ClientFault);
            let error = error.remote().unwrap();
            assert!(
                error.is("IncorrectSignature") && error.to_string().contains("missing 1 required"),
                "{error}"
            );

            let error = replied(nameko, r#"{"args": []}"#).await;
            assert_eq!(error["exc_path"], "nameko.exceptions.MalformedRequest");
            assert_eq!(error["value"], "Message missing `args` or `kwargs`");
            let error = replied(nameko, "[1]").await; // by an accident in nameko, no MalformedRequest
            assert_eq!(error["exc_path"], "builtins.TypeError");
        });
    }
}

#[test]
fn a_result_that_nameko_cannot_write_is_the_services_fault() {
    live::shared(Packages::Nameko2, async |nameko| {
        let interop = interop(nameko).await;
        let error = interop
            .call::<Value, _>("unserialisable", args![])
            .await
            .unwrap_err();
        assert_eq!(
            (error.class(), error.may_have_executed()),
            (ErrorClass::ServerFault, true)
        );
        let text = "Unserializable value: `<Unserialisable fixture>`";
        let path = "nameko.exceptions.UnserializableValueError";
        assert_remote(
            error.remote().unwrap(),
            "UnserializableValueError",
            path,
            json!([]),
            text,
        );
    });
}

#[test]
fn an_error_behind_a_relay_is_the_relays_remote_error() {
    live::shared(Packages::Nameko2, async |nameko| {
        let relay = client(nameko).await.service(nameko.service("interop_relay"));
        let error = relay
            .call::<Value, _>("call", ("raise_custom", ["deep"]))
            .await
            .unwrap_err();
        let (path, args) = ("nameko.exceptions.RemoteError", json!(["CustomError deep"]));
        assert_remote(
            error.remote().unwrap(),
            "RemoteError",
            path,
            args,
            "CustomError deep",
        );

        let error = relay.call::<Value, _>("call_missing", args![]).await.unwrap_err();
        let missing = nameko.service("no_such_service");
        let (path, text) = (
            "nameko.exceptions.UnknownService",
            format!("Unknown service `{missing}`"),
        );
        assert_remote(
            error.remote().unwrap(),
            "UnknownService",
            path,
            json!([missing]),
            &text,
        );
    });
}

#[test]
fn a_service_that_never_ran_is_unknown_at_once() {
    live::shared(Packages::Nameko2, async |nameko| {
        let client = client(nameko).await;
        let began = Instant::now();
        let error = client
            .service(nameko.service("nobody"))
            .call::<Value, _>("get", args![])
            .await
            .unwrap_err();
        assert!(matches!(error, CallError::UnknownService { .. }), "{error}");
        assert!(error.is_unavailable() && !error.may_have_executed());
        assert!(began.elapsed() < Duration::from_secs(10));

        // nameko's own client pays for it with its connection; ours goes on.
        let interop = client.service(nameko.service("interop"));
        assert_eq!(*interop.call::<u8, _>("ident", (1,)).await.unwrap(), 1);
    });
}

#[test]
fn silence_ends_at_the_calls_limit_and_disturbs_no_later_call() {
    live::shared(Packages::Nameko2, async |nameko| {
        let interop = interop(nameko).await;
        let limit = Duration::from_millis(200);
        let error = interop
            .call::<u8, _>("sleep", (1.0, 1))
            .timeout(limit)
            .await
            .unwrap_err();
        assert!(error.is_timeout() && error.may_have_executed(), "{error}");
        assert!(
            matches!(error, CallError::Timeout { timer: Timer::CallTimeout, after, .. } if after == limit)
        );
        // The late reply to the first comes while the second waits.
        assert_eq!(*interop.call::<u8, _>("sleep", (1.5, 2)).await.unwrap(), 2);
    });
}

#[test]
fn arguments_that_kombu_cannot_read_are_dropped_and_look_like_silence() {
    live::shared(Packages::Nameko2, async |nameko| {
        let interop = interop(nameko).await;
        let args = args![json!({"__type__": "nonsense", "__value__": 1})];
        let error = interop
            .call::<Value, _>("ident", args)
            .timeout(Duration::from_secs(1))
            .await
            .unwrap_err();
        assert!(error.is_timeout(), "{error}");
        assert_eq!(
            *interop.call::<u8, _>("ident", (1,)).await.unwrap(),
            1,
            "and the service lives"
        );
    });
}

#[test]
fn names_that_nameko_could_not_route_are_refused_before_anything_is_sent() {
    live::shared(Packages::Nameko2, async |nameko| {
        let interop = interop(nameko).await;
        for method in ["", "a.b"] {
            let error = interop.call::<Value, _>(method, args![]).await.unwrap_err();
            assert!(
                matches!(error, CallError::InvalidRoute(_)) && !error.may_have_executed(),
                "{error}"
            );
        }
    });
}

async fn raised(nameko: &Interop, method: &str, args: impl IntoArgs) -> RemoteError {
    let error = interop(nameko)
        .await
        .call::<Value, _>(method, args)
        .await
        .unwrap_err();
    assert_eq!(error.class(), ErrorClass::ServerFault);
    error.remote().unwrap().clone()
}

fn assert_remote(error: &RemoteError, exc_type: &str, exc_path: &str, exc_args: Value, value: &str) {
    assert_eq!(
        (error.exc_type.as_str(), error.exc_path.as_str()),
        (exc_type, exc_path)
    );
    assert_eq!(
        (Value::from(error.exc_args.clone()), &error.value),
        (exc_args, &json!(value))
    );
}

/// The `error` that nameko answers a raw body with.
async fn replied(nameko: &Interop, body: &'static str) -> Value {
    let transport = LapinTransport::connect(nameko.uri()).await.unwrap();
    let route = Route::new(nameko.service("interop"), "echo").unwrap();
    let reply = transport.request(Request::new(route, body)).await.unwrap();
    serde_json::from_slice::<Value>(&reply.body).unwrap()["error"].take()
}
