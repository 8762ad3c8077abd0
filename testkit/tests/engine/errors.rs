//! What errors say: which call, which timer, what may be concluded; and never an argument or a token.

use std::{
    future::pending,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
};

use async_trait::async_trait;
use nameko_cachetools::{
    CacheFirstRpcProxy, CallError, Client, Context, Delivery, ErrorClass, Reply, Request, Response,
    ServiceQueue, Transport, TransportError, args,
};
use nameko_cachetools_testkit::{Answer, FakeBroker, When};
use serde_json::json;
use tokio::time::Instant;

use crate::{MS, S, client};

/// Proves: E12.
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
            "the connection was lost: the fake broker cut the connection; the request was not sent",
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

/// Whoever waits in vain learns why, if the broker knows, and not a moment later for it.
///
/// Proves: E12.
#[tokio::test(start_paused = true)]
async fn a_timeout_says_what_the_broker_knows() {
    let (consumers, waiting) = (0, 7);
    let stopped = Some(ServiceQueue::Exists { consumers, waiting });
    for (knows, text) in [
        (
            Some(stopped),
            "The broker says of `shop`: nobody reads its queue, where 7 requests wait",
        ),
        (
            Some(Some(ServiceQueue::Missing)),
            "`shop`: it has no queue on this broker",
        ),
        (Some(None), "A stopped nameko service looks like this"),
        (None, "A stopped nameko service looks like this"),
    ] {
        let transport = Arc::new(Silent {
            knows,
            questions: AtomicU32::new(0),
        });
        let client = Client::new(transport.clone());
        let (plain, cached) = (client.service("shop"), CacheFirstRpcProxy::new("shop", &client));
        for (n, limit) in [S(5), MS(80)].into_iter().enumerate() {
            let (began, asked) = (Instant::now(), 2 * n as u32);
            let (one, other) = tokio::join!(
                plain.call::<u64, _>("get", ()).timeout(limit).into_future(),
                cached.call::<u64, _>("get", (n,)).timeout(limit).into_future(),
            );
            assert_eq!(began.elapsed(), limit, "not a moment later");
            for error in [one.unwrap_err(), other.unwrap_err()] {
                assert!(error.to_string().contains(text), "{error}");
                assert!(matches!(error, CallError::Timeout { queue, .. } if queue == knows.flatten()));
            }
            assert_eq!(
                transport.questions.load(Ordering::Relaxed),
                asked + 2,
                "once per call"
            );
        }
        let early = plain.call::<u64, _>("get", ()).timeout(S(5)).into_future();
        assert!(tokio::time::timeout(MS(4700), early).await.is_err());
        assert_eq!(
            transport.questions.load(Ordering::Relaxed),
            4,
            "not while there is time"
        );
    }
}

/// Its service answers nothing, nor does its broker, unless it knows.
struct Silent {
    knows: Option<Option<ServiceQueue>>,
    questions: AtomicU32,
}

#[async_trait]
impl Transport for Silent {
    async fn request(&self, _: Request) -> Result<Response, TransportError> {
        pending().await
    }

    async fn service_queue(&self, service: &str) -> Option<ServiceQueue> {
        assert_eq!(service, "shop");
        self.questions.fetch_add(1, Ordering::Relaxed);
        match self.knows {
            Some(queue) => queue,
            None => pending().await,
        }
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

/// Arguments without a key are sent uncached. But JSON's writer makes a `null` of what is no number.
///
/// Proves: K6.
#[tokio::test(start_paused = true)]
async fn nor_is_it_in_arguments_too_deep_or_too_large_for_a_key() {
    let broker = FakeBroker::new();
    broker.on("shop.get").expect(4).reply(json!(1));
    let cached = CacheFirstRpcProxy::new("shop", &client(&broker));
    let plain = client(&broker).service("shop");
    let deep = (0..70).fold(json!(1), |inner, _| json!([inner]));
    let large = "x".repeat(17 << 20);
    for bad in [f64::NAN, f64::NEG_INFINITY] {
        for error in [
            cached.call::<u64, _>("get", (&deep, bad)).await.unwrap_err(),
            plain
                .call::<u64, _>("get", (&deep, Some([bad as f32])))
                .await
                .unwrap_err(),
            cached
                .call::<u64, _>("get", args![&large, x = bad])
                .await
                .unwrap_err(),
            plain.call::<u64, _>("get", (&large, bad)).await.unwrap_err(),
        ] {
            assert!(matches!(error, CallError::Arguments { .. }), "{error}");
        }
    }
    for fine in [&json!(deep), &json!(large)] {
        cached.call::<u64, _>("get", (fine, 1.5)).await.unwrap();
        plain.call::<u64, _>("get", args![fine, x = "y"]).await.unwrap();
    }
}

/// What a type says when it can't be written may quote it.
#[tokio::test(start_paused = true)]
async fn nor_is_a_value_whose_own_serialize_fails_and_nobody_is_told_its_words() {
    struct Wordy;
    impl serde::Serialize for Wordy {
        fn serialize<S: serde::Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
            Err(serde::ser::Error::custom("canary"))
        }
    }
    let broker = FakeBroker::new();
    let cached = CacheFirstRpcProxy::new("shop", &client(&broker));
    let plain = client(&broker).service("shop");
    let deep = (0..70).fold(json!(1), |inner, _| json!([inner]));
    for error in [
        cached.call::<u64, _>("get", (Wordy,)).await.unwrap_err(),
        cached.call::<u64, _>("get", (&deep, Wordy)).await.unwrap_err(),
        plain.call::<u64, _>("get", args![x = Wordy]).await.unwrap_err(),
    ] {
        assert!(matches!(error, CallError::Arguments { .. }), "{error}");
        assert!(!format!("{error} {error:?}").contains("canary"), "{error:?}");
    }
    broker.all_calls().assert_times(0);
}

/// Neither Display nor Debug of anything public shows what callers and services said to each other.
///
/// Proves: 80, R12, R13, S11.
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
    let bytes = format!("{:?}", b"canary");
    let bytes = bytes.trim_matches(['[', ']']);
    assert!(!shown.contains("canary") && !shown.contains(bytes), "{shown}");
}

/// A type of the caller's own whose decoding panics, the first time.
#[derive(Debug)]
struct Bomb;

impl<'de> serde::Deserialize<'de> for Bomb {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        static ARMED: std::sync::atomic::AtomicBool = std::sync::atomic::AtomicBool::new(true);
        let armed = ARMED.swap(false, std::sync::atomic::Ordering::Relaxed);
        assert!(!armed, "decoding panics, as it should");
        u64::deserialize(deserializer).map(|_| Self)
    }
}

/// An argument whose encoding panics.
struct Unwritable;

impl serde::Serialize for Unwritable {
    fn serialize<S: serde::Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
        unreachable!("encoding panics, as it should")
    }
}

/// Proves: E14.
#[tokio::test(start_paused = true)]
async fn a_panic_of_the_callers_own_code_poisons_nothing() {
    let broker = FakeBroker::new();
    broker.on("shop.get").reply(json!(7));
    let shop = CacheFirstRpcProxy::new("shop", &client(&broker));
    let error = shop.call::<Bomb, _>("get", (1,)).await.unwrap_err();
    assert!(matches!(error, CallError::Aborted { .. }), "{error}");
    for _ in 0..2 {
        assert_eq!(*shop.call::<u64, _>("get", (1,)).await.unwrap(), 7);
        assert!(shop.call::<Bomb, _>("get", (1,)).await.is_ok());
        let encoding = tokio::spawn({
            let shop = shop.clone();
            async move {
                shop.call::<u64, _>("get", (1, Unwritable))
                    .await
                    .map(|reply| *reply)
            }
        });
        assert!(encoding.await.unwrap_err().is_panic());
    }
    let stats = shop.stats();
    assert_eq!((stats.live, stats.hits, stats.errors), (1, 3, 1));
}

/// Proves: R3.
#[tokio::test(start_paused = true)]
async fn deep_nesting_is_an_error_and_no_overflow() {
    let open = "[".repeat(1 << 20);
    let closed = open.clone() + &"]".repeat(1 << 20);
    let maps = r#"{"a":"#.repeat(1 << 18);
    for text in [open.as_str(), &closed, &maps] {
        for place in [
            text.to_owned(),
            format!(r#"{{"result": {text}, "error": null}}"#),
            format!(r#"{{"result": null, "error": {text}}}"#),
            format!(r#"{{"result": null, "error": {{"exc_type": "E", "value": "v", "exc_args": {text}}}}}"#),
        ] {
            let broker = FakeBroker::new();
            broker
                .on("shop.get")
                .reply(Answer::raw(place, "application/json"));
            let shop = CacheFirstRpcProxy::new("shop", &client(&broker));
            let result = shop.call::<serde_json::Value, _>("get", ()).await;
            assert_eq!(result.unwrap_err().class(), ErrorClass::ServerFault);
        }
    }
}
