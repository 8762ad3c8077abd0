//! Calls over a live RabbitMQ: what goes out, what comes back, and what each error means.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use super::support::{self, Responder, echo, eventually, live, request, unique, within};
use nameko_cachetools::{ConnectionState, Delivery, Transport, TransportError};
use serde_json::json;
use tokio::{task::JoinSet, time::timeout};

use crate::Tested;

/// Proves: T1.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_concurrent_calls_get_their_own_replies() {
    let uri = live!();
    let responder = Responder::start(&uri).await;
    let transport = Tested::connect(&uri).await.unwrap();
    let mut calls = JoinSet::new();
    for n in 0..1000 {
        let (transport, service) = (transport.clone(), responder.service.clone());
        calls.spawn(async move { echo(&transport, &service, &n.to_string()).await });
    }
    within(30, calls.join_all()).await;
    assert_eq!(transport.counters().in_flight, 0);
    assert_eq!(transport.counters().unmatched_replies, 0);
    transport.close(Duration::ZERO).await;
}

/// The service answers one after the other, and tasks of one thread run in the order in which they are woken.
#[tokio::test]
async fn requests_arrive_in_the_order_of_their_calls() {
    let uri = live!();
    let responder = Responder::start(&uri).await;
    let transport = Tested::connect(&uri).await.unwrap();
    let answered = Arc::new(Mutex::new(Vec::new()));
    let mut calls = JoinSet::new();
    for n in 0..500 {
        let (transport, service, answered) = (transport.clone(), responder.service.clone(), answered.clone());
        calls.spawn(async move {
            echo(&transport, &service, &n.to_string()).await;
            answered.lock().unwrap().push(n);
        });
    }
    within(30, calls.join_all()).await;
    assert!(answered.lock().unwrap().is_sorted(), "{answered:?}");
    transport.close(Duration::ZERO).await;
}

/// Proves: T7.
#[tokio::test]
async fn a_service_that_never_ran_is_unknown() {
    let uri = live!();
    let transport = Tested::connect(&uri).await.unwrap();
    let call = transport.request(request(&unique("nobody"), "m", "x"));
    let error = within(5, call).await.unwrap_err();
    assert!(matches!(error, TransportError::UnknownService), "{error:?}");
    assert_eq!(transport.counters().in_flight, 0);
    transport.close(Duration::ZERO).await;
}

/// lapin gives a returned message to the next confirm that is resolved, whosever that is.
///
/// Proves: T1, T7.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn returns_reach_their_own_calls_under_concurrency() {
    let uri = live!();
    let responder = Responder::start(&uri).await;
    let transport = Tested::connect(&uri).await.unwrap();
    let nobody = unique("nobody");
    let mut calls = JoinSet::new();
    for n in 0..2000 {
        let (transport, service, nobody) = (transport.clone(), responder.service.clone(), nobody.clone());
        calls.spawn(async move {
            if n % 5 == 0 {
                let error = transport.request(request(&nobody, "m", "x")).await.unwrap_err();
                assert!(matches!(error, TransportError::UnknownService), "{error:?}");
            } else {
                echo(&transport, &service, &n.to_string()).await;
            }
        });
    }
    within(30, calls.join_all()).await;
    transport.close(Duration::ZERO).await;
}

/// Proves: 30, T3, T12.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dropped_calls_free_their_slots_and_their_replies_are_counted() {
    let uri = live!();
    let responder = Responder::start(&uri).await;
    let transport = Tested::connect(&uri).await.unwrap();
    let silent = || transport.request(request(&responder.service, "silent", "x"));
    for patience in [0, 1, 5] {
        for _ in 0..50 {
            let _ = timeout(Duration::from_millis(patience), silent()).await;
        }
    }
    assert_eq!(transport.counters().in_flight, 0);
    within(5, transport.request(request(&responder.service, "twice", "x")))
        .await
        .unwrap();
    within(
        5,
        transport.request(request(&responder.service, "garbled_id", "x")),
    )
    .await
    .unwrap();
    within(5, transport.request(request(&responder.service, "no_id", "x")))
        .await
        .unwrap();
    eventually("the surplus replies are counted", || {
        transport.counters().unmatched_replies == 5
    })
    .await;
    echo(&transport, &responder.service, "still works").await;
    transport.close(Duration::ZERO).await;
}

/// Proves: T14.
#[tokio::test]
async fn what_goes_out_is_namekos_own() {
    let uri = live!();
    let responder = Responder::start(&uri).await;
    let transport = Tested::builder().uri(&uri).app("shop").connect().await.unwrap();
    let mut sent = request(&responder.service, "properties", "x");
    sent.headers = vec![
        ("nameko.call_id_stack".into(), json!(["shop.call.1", "b"])),
        ("nameko.language".into(), json!("de")),
        ("int".into(), json!(-5)),
        ("long".into(), json!(i64::MAX)),
        ("double".into(), json!(2.5)),
        ("bool".into(), json!(true)),
        ("table".into(), json!({"k": [1, null]})),
        ("none".into(), json!(null)),
    ];
    let mut shown = Vec::new();
    for (persistent, expiration) in [(true, None), (false, Some(Duration::from_micros(60_000_500)))] {
        (sent.persistent, sent.expiration) = (persistent, expiration);
        let reply = within(5, transport.request(sent.clone())).await.unwrap();
        shown.push(String::from_utf8(reply.body.to_vec()).unwrap().replace('\\', ""));
    }
    let text = |text: &str| format!("{:?}", lapin::types::LongString::from(text));
    let stack = format!(
        r#"ShortString("nameko.call_id_stack"): FieldArray(FieldArray([LongString({}), LongString({})]))"#,
        text("shop.call.1"),
        text("b")
    );
    let language = format!(r#"ShortString("nameko.language"): LongString({})"#, text("de"));
    for part in [
        stack.as_str(),
        language.as_str(),
        r#"content_type: Some(ShortString("application/json"))"#,
        r#"content_encoding: Some(ShortString("utf-8"))"#,
        r#"ShortString("int"): LongInt(-5)"#,
        r#"ShortString("long"): LongLongInt(9223372036854775807)"#,
        r#"ShortString("double"): Double(2.5)"#,
        r#"ShortString("bool"): Boolean(true)"#,
        r#"ShortString("k"): FieldArray(FieldArray([LongInt(1)]))"#,
        "priority: Some(0)",
        "message_id: None",
        "app_id: None",
        "user_id: None",
    ] {
        assert!(shown[0].contains(part), "{part}\n{}", shown[0]);
    }
    assert!(!shown[0].contains("none"), "{}", shown[0]);
    assert!(
        shown[0].contains("delivery_mode: Some(2)") && shown[0].contains("expiration: None"),
        "{}",
        shown[0]
    );
    assert!(shown[1].contains("delivery_mode: Some(1)"), "{}", shown[1]);
    assert!(
        shown[1].contains(r#"expiration: Some(ShortString("60001"))"#),
        "{}",
        shown[1]
    );
    let bare = within(
        5,
        transport.request(request(&responder.service, "properties", "x")),
    )
    .await
    .unwrap();
    assert!(
        String::from_utf8_lossy(&bare.body).contains("headers: Some(FieldTable({}))"),
        "{:?}",
        bare.body
    );
    transport.close(Duration::ZERO).await;
}

/// A request that waits in the queue of a stopped service is dropped by the broker when its time is over.
///
/// Proves: 36, R24.
#[tokio::test]
async fn expired_requests_are_not_executed() {
    let uri = live!();
    let responder = Responder::start(&uri).await;
    let transport = Tested::connect(&uri).await.unwrap();
    let queue = unique("rpc-stopped");
    let (name, none) = (
        lapin::types::ShortString::from(queue.as_str()),
        lapin::types::FieldTable::default,
    );
    let exclusive = lapin::options::QueueDeclareOptions {
        exclusive: true,
        ..Default::default()
    };
    responder
        .channel
        .queue_declare(name.clone(), exclusive, none())
        .await
        .unwrap();
    let (key, options) = (
        format!("{queue}.*").into(),
        lapin::options::QueueBindOptions::default(),
    );
    responder
        .channel
        .queue_bind(name.clone(), "nameko-rpc".into(), key, options, none())
        .await
        .unwrap();
    // The expiring one first: RabbitMQ drops a message only when it has come to the head of its queue.
    for expiration in [Some(Duration::from_millis(50)), None] {
        let mut sent = request(&queue, "m", "x");
        sent.expiration = expiration;
        assert!(
            timeout(Duration::from_millis(150), transport.request(sent))
                .await
                .is_err()
        );
    }
    let passive = lapin::options::QueueDeclareOptions {
        passive: true,
        ..exclusive
    };
    let left = responder
        .channel
        .queue_declare(name, passive, none())
        .await
        .unwrap();
    assert_eq!(left.message_count(), 1, "only the one without an expiration");
    transport.close(Duration::ZERO).await;
}

/// Proves: R1, R17, R22.
#[tokio::test]
async fn limits_are_errors_of_their_own_and_hurt_no_other_call() {
    let uri = live!();
    let responder = Responder::start(&uri).await;
    let builder = Tested::builder()
        .uri(&uri)
        .max_in_flight(1)
        .max_request_bytes(100)
        .max_reply_bytes(1000);
    let transport = builder.connect().await.unwrap();
    let service = responder.service.as_str();

    let error = transport
        .request(request(service, "echo", &"x".repeat(100)))
        .await
        .unwrap_err();
    assert!(
        matches!(
            error,
            TransportError::RequestTooLarge {
                bytes: 125,
                limit: 100
            }
        ),
        "{error:?}"
    );

    let error = within(5, transport.request(request(service, "size_2000", "")))
        .await
        .unwrap_err();
    assert!(
        matches!(
            error,
            TransportError::ReplyTooLarge {
                bytes: 2029,
                limit: 1000
            }
        ),
        "{error:?}"
    );

    let waiting = tokio::spawn({
        let (transport, silent) = (transport.clone(), request(service, "silent", "x"));
        async move { transport.request(silent).await }
    });
    eventually("one call waits", || transport.counters().in_flight == 1).await;
    let error = transport
        .request(request(service, "echo", "x"))
        .await
        .unwrap_err();
    assert!(
        matches!(error, TransportError::Overloaded { limit: 1 }),
        "{error:?}"
    );
    waiting.abort();
    eventually("its slot is free", || transport.counters().in_flight == 0).await;
    echo(&transport, service, "works again").await;

    let mut poison = request(service, "echo", "x");
    poison.headers = vec![("nameko.call_id_stack".into(), json!("not a list"))];
    let error = transport.request(poison).await.unwrap_err();
    assert_eq!(error.delivery(), Delivery::NotSent);
    transport.close(Duration::ZERO).await;
}

#[tokio::test]
async fn close_drains_then_fails_the_rest_and_deletes_the_reply_queue() {
    let uri = live!();
    let responder = Responder::start(&uri).await;
    let app = unique("close");
    let transport = Tested::builder().uri(&uri).app(&app).connect().await.unwrap();
    assert!(transport.state().borrow().is_ready());
    let shown = within(
        5,
        transport.request(request(&responder.service, "properties", "x")),
    )
    .await
    .unwrap();
    let shown = String::from_utf8(shown.body.to_vec()).unwrap().replace('\\', "");
    let key = shown
        .split(r#"reply_to: Some(ShortString(""#)
        .nth(1)
        .unwrap()
        .split('"')
        .next()
        .unwrap();
    let queue = format!("rpc.reply-{app}-{key}");
    let passive = |channel: lapin::Channel, queue: String| async move {
        let options = lapin::options::QueueDeclareOptions {
            passive: true,
            ..Default::default()
        };
        channel
            .queue_declare(queue.into(), options, Default::default())
            .await
            .map(|q| q.consumer_count())
    };
    let channel = responder.connection.create_channel().await.unwrap();
    assert_eq!(passive(channel, queue.clone()).await.unwrap(), 1);

    let hopeless = tokio::spawn({
        let (transport, silent) = (transport.clone(), request(&responder.service, "silent", "x"));
        async move { transport.request(silent).await }
    });
    eventually("a call waits", || transport.counters().in_flight == 1).await;
    let closing = tokio::spawn({
        let transport = transport.clone();
        async move { transport.close(Duration::from_millis(200)).await }
    });
    eventually("new requests are refused", || {
        let mut one = Box::pin(transport.request(request(&responder.service, "echo", "x")));
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        matches!(
            one.as_mut().poll(&mut context),
            std::task::Poll::Ready(Err(TransportError::Closed))
        )
    })
    .await;
    let start = tokio::time::Instant::now();
    within(5, closing).await.unwrap();
    assert!(
        start.elapsed() < Duration::from_millis(1200),
        "{:?}",
        start.elapsed()
    );
    let error = hopeless.await.unwrap().unwrap_err();
    assert_eq!(error.delivery(), Delivery::Unknown, "{error}");
    assert_eq!(*transport.state().borrow(), ConnectionState::Closed);
    let channel = responder.connection.create_channel().await.unwrap();
    assert!(passive(channel, queue).await.is_err(), "the reply queue is gone");
    transport.close(Duration::ZERO).await; // closing twice does no harm
}
