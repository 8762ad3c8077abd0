//! What errors say: which call, which timer, what may be concluded; and never an argument or a token.

use nameko_cachetools::{CacheFirstRpcProxy, CallError, Context, Delivery, ErrorClass, Reply, args};
use nameko_cachetools_testkit::{Answer, FakeBroker, When};
use serde_json::json;

use crate::{S, client};

#[tokio::test(start_paused = true)]
async fn every_failure_has_its_class_and_what_may_be_concluded() {
    use Delivery::{Answered, NotSent, Unknown};
    use ErrorClass::{ClientFault, ServerFault, Unavailable};
    let cases = [
        (
            Answer::error("ValueError", "bad"),
            ServerFault,
            Answered,
            "shop.get raised ValueError bad",
        ),
        (
            Answer::method_not_found("get"),
            ClientFault,
            Answered,
            "shop.get raised MethodNotFound get",
        ),
        (
            Answer::unknown_service(),
            Unavailable,
            NotSent,
            "unknown service `shop`",
        ),
        (Answer::nack(), Unavailable, Unknown, "basic.nack"),
        (
            Answer::disconnect(When::BeforeSend),
            Unavailable,
            NotSent,
            "the connection was lost",
        ),
        (
            Answer::disconnect(When::AfterSend),
            Unavailable,
            Unknown,
            "the service may have executed the request",
        ),
        (
            Answer::never(),
            Unavailable,
            Unknown,
            "did not reply within call_timeout of 5s",
        ),
        (
            Answer::raw("x", "application/x-python-serialize"),
            ServerFault,
            Answered,
            "\"application/x-python-serialize\"",
        ),
        (
            Answer::raw(r#"{"result": NaN}"#, "application/json"),
            ServerFault,
            Answered,
            "a non-finite float",
        ),
        (
            Answer::ok("text"),
            ServerFault,
            Answered,
            "the result of shop.get is not a u64",
        ),
    ];
    for (answer, class, delivery, text) in cases {
        let broker = FakeBroker::new();
        broker.on("shop.get").reply(answer);
        let error = client(&broker)
            .service("shop")
            .call::<u64, _>("get", ())
            .timeout(S(5))
            .await
            .unwrap_err();
        assert_eq!((error.class(), error.delivery()), (class, delivery), "{error}");
        assert!(error.to_string().contains(text), "{error}");
        assert_eq!(error.may_have_executed(), delivery != NotSent);
        assert_eq!(error.is_unavailable(), class == Unavailable);
    }
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_sent_is_not_sent() {
    let broker = FakeBroker::new();
    let shop = CacheFirstRpcProxy::new("shop", &client(&broker));
    let plain = client(&broker).service("shop");
    for error in [
        shop.call::<u64, _>("get", (f64::NAN,)).await.unwrap_err(),
        plain
            .call::<u64, _>("get", args![x = f64::INFINITY])
            .await
            .unwrap_err(),
        plain.call::<u64, _>("get.all", ()).await.unwrap_err(),
        client(&broker)
            .service("sh op")
            .call::<u64, _>("get", ())
            .await
            .unwrap_err(),
    ] {
        assert_eq!(
            (error.class(), error.delivery()),
            (ErrorClass::ClientFault, Delivery::NotSent),
            "{error}"
        );
        assert!(error.to_string().contains("nothing was sent"), "{error}");
    }
    broker.all_calls().assert_times(0);
}

/// Statement 80: neither Display nor Debug of anything public shows what callers and services said to each other.
#[tokio::test(start_paused = true)]
async fn nothing_shows_arguments_values_or_tokens() {
    let broker = FakeBroker::new();
    broker.on("shop.get").reply(json!("canary"));
    let client = client(&broker).with_context(&Context::new().auth_token("canary").language("canary"));
    let shop = CacheFirstRpcProxy::new("shop", &client);
    let call = shop
        .call::<String, _>("get", args!["canary", word = "canary"])
        .context(Context::new().user_id("canary"));
    let mut shown = format!("{call:?} {client:?} {shop:?}");
    let reply: Reply<String> = call.await.unwrap();
    shown += &format!(
        "{reply:?} {} {:?}",
        reply.outcome(),
        shop.call::<String, _>("get", args!["canary"])
    );
    let error: CallError = shop.call::<u64, _>("get", args!["canary"]).await.unwrap_err();
    shown += &format!("{error} {error:?}");
    assert!(!shown.contains("canary"), "{shown}");
}
