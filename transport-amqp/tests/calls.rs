//! Each call ends exactly once, with its own reply or one true error.
#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used, reason = "tests")]

mod fake;

use std::{collections::HashSet, time::Duration};

use fake::{Broker, Mood, body, error, pass, request, settle, start};
use nameko_cachetools::{Client, Delivery, Timer, Transport, TransportError};
use serde_json::json;
use uuid::Uuid;

/// Proves: T1.
#[tokio::test(start_paused = true)]
async fn replies_find_their_calls_in_any_order() {
    let broker = Broker::new([]);
    let transport = broker.connect().await;
    let (first, second) = (start(&transport, "1").await, start(&transport, "2").await);
    let sent = broker.link().taken();
    for message in sent.iter().rev() {
        broker
            .link()
            .reply(&message.correlation_id, &String::from_utf8_lossy(&message.body));
    }
    assert_eq!(
        (body(first).await, body(second).await),
        ("1".to_owned(), "2".to_owned())
    );
    assert_eq!(transport.counters().in_flight, 0);
}

/// Proves: 30, 31, T3, R7.
#[tokio::test(start_paused = true)]
async fn surplus_replies_are_counted_and_hurt_nobody() {
    let broker = Broker::new([]);
    let transport = broker.connect().await;
    let (answered, waiting) = (start(&transport, "1").await, start(&transport, "2").await);
    let (link, sent) = (broker.link(), broker.link().taken());
    link.reply(&sent[0].correlation_id, "first");
    for id in [
        sent[0].correlation_id.as_str(),
        "",
        "no uuid",
        "\u{0}",
        &Uuid::new_v4().to_string(),
    ] {
        link.reply(id, "surplus");
    }
    assert_eq!(body(answered).await, "first");
    assert!(!waiting.is_finished());
    assert_eq!(transport.counters().unmatched_replies, 5);
    assert_eq!(transport.counters().in_flight, 1);
}

/// Proves: T6, T7.
#[tokio::test(start_paused = true)]
async fn what_the_broker_says_of_a_request_is_told_apart() {
    let broker = Broker::new([]);
    let transport = broker.connect().await;
    let link = broker.link();

    let returned = start(&transport, "returned, then confirmed").await;
    let message = link.taken().remove(0);
    link.events.returned(Some(&message.correlation_id));
    message.ticket.confirmed();
    assert!(matches!(error(returned).await, TransportError::UnknownService));

    let returned = start(&transport, "confirmed, then returned").await;
    let message = link.taken().remove(0);
    message.ticket.confirmed();
    link.events.returned(Some(&message.correlation_id));
    assert!(matches!(error(returned).await, TransportError::UnknownService));

    let rejected = start(&transport, "nacked").await;
    link.taken().remove(0).ticket.rejected();
    assert!(matches!(error(rejected).await, TransportError::Rejected));

    for delivery in [Delivery::NotSent, Delivery::Unknown] {
        let failed = start(&transport, "not taken by the library").await;
        link.taken().remove(0).ticket.failed(delivery, "why");
        assert_eq!(error(failed).await.delivery(), delivery);
    }

    let confirmed = start(&transport, "only confirmed").await;
    link.taken().remove(0).ticket.confirmed();
    pass(3600.0).await;
    assert!(
        !confirmed.is_finished(),
        "a call without a limit waits as long as the connection lives"
    );
}

/// Proves: 30, T2, T12.
#[tokio::test(start_paused = true)]
async fn dropped_calls_leave_no_slot() {
    let broker = Broker::new([]);
    let transport = broker.connect().await;
    for _ in 0..100 {
        let call = start(&transport, "x").await;
        assert_eq!(transport.counters().in_flight, 1);
        call.abort();
        settle().await;
        assert_eq!(transport.counters().in_flight, 0);
    }
    let unpolled = transport.request(request("x"));
    assert_eq!(
        transport.counters().in_flight,
        0,
        "the first poll may come much later"
    );
    drop(unpolled);
    for message in broker.link().taken() {
        broker.link().reply(&message.correlation_id, "late");
    }
    assert_eq!(transport.counters().unmatched_replies, 100);
}

/// Proves: T14, R6.
#[tokio::test(start_paused = true)]
async fn ids_are_random_and_used_once() {
    let broker = Broker::new([]);
    let transport = broker.connect().await;
    broker.link().set(Mood::Keeps);
    let mut ids = HashSet::new();
    for _ in 0..10_000 {
        let call = tokio::time::timeout(Duration::ZERO, transport.request(request("x")));
        assert!(call.await.is_err());
    }
    for message in broker.link().taken() {
        let id = Uuid::try_parse(&message.correlation_id).unwrap();
        assert_eq!(
            (id.get_version_num(), id.to_string()),
            (4, message.correlation_id)
        );
        ids.insert(id.as_u128());
    }
    assert_eq!(ids.len(), 10_000);
    let prefixes: HashSet<_> = ids.iter().map(|id| id >> 88).collect();
    assert!(
        prefixes.len() > 9_990,
        "40 random bits hardly ever repeat: {}",
        prefixes.len()
    );
}

/// Proves: T2, R1, R17, R22.
#[tokio::test(start_paused = true)]
async fn limits_refuse_before_anything_is_sent() {
    let broker = Broker::new([]);
    let builder = broker
        .builder()
        .max_in_flight(2)
        .max_request_bytes(10)
        .max_reply_bytes(5);
    let transport = builder.connect().await.unwrap();

    let large = transport.request(request("12345678901")).await.unwrap_err();
    assert!(
        matches!(large, TransportError::RequestTooLarge { bytes: 11, limit: 10 }),
        "{large:?}"
    );

    let mut bad = request("x");
    bad.headers = vec![("nameko.call_id_stack".into(), json!("poison"))];
    let bad = transport.request(bad).await.unwrap_err();
    assert_eq!(bad.delivery(), Delivery::NotSent);
    assert!(bad.to_string().contains("nameko.call_id_stack"), "{bad}");

    let (large_reply, other) = (start(&transport, "1").await, start(&transport, "2").await);
    let over = transport.request(request("3")).await.unwrap_err();
    assert!(
        matches!(over, TransportError::Overloaded { limit: 2 }),
        "{over:?}"
    );
    let sent = broker.link().taken();
    assert_eq!(sent.len(), 2);
    broker.link().reply(&sent[0].correlation_id, "123456");
    broker.link().reply(&sent[1].correlation_id, "12345");
    let large = error(large_reply).await;
    assert!(
        matches!(large, TransportError::ReplyTooLarge { bytes: 6, limit: 5 }),
        "{large:?}"
    );
    assert_eq!(body(other).await, "12345");
}

/// Proves: R13.
#[tokio::test(start_paused = true)]
async fn a_request_on_its_way_shows_no_data() {
    let broker = Broker::new([]);
    let transport = broker.connect().await;
    let mut secret = request("canary");
    secret.headers = vec![("nameko.token".into(), json!("canary"))];
    let call = tokio::time::timeout(Duration::ZERO, transport.request(secret));
    assert!(call.await.is_err());
    let shown = format!("{:?}", broker.link().taken());
    assert!(!shown.contains("canary"), "{shown}");
}

/// Proves: 36, R24.
#[tokio::test(start_paused = true)]
async fn expiration_is_whole_milliseconds_and_never_early() {
    let broker = Broker::new([]);
    let transport = broker.connect().await;
    for (asked, sent) in [
        (None, None),
        (Some(Duration::ZERO), Some(0)),
        (Some(Duration::from_nanos(1)), Some(1)),
        (Some(Duration::from_millis(1500)), Some(1500)),
        (Some(Duration::MAX), Some(u32::MAX)),
    ] {
        let mut request = request("x");
        request.expiration = asked;
        assert!(
            tokio::time::timeout(Duration::ZERO, transport.request(request))
                .await
                .is_err()
        );
        assert_eq!(broker.link().taken()[0].expiration_ms, sent);
    }
}

/// Requests wait for room in front of a slow socket, within `send_timeout`; then they were certainly not sent.
///
/// Proves: T9.
#[tokio::test(start_paused = true)]
async fn bytes_in_front_of_the_socket_are_bounded() {
    let broker = Broker::new([]);
    let builder = broker.builder().max_request_bytes(60).max_unsent_bytes(100);
    let transport = builder.connect().await.unwrap();
    broker.link().set(Mood::Stalls);
    let sixty = "x".repeat(60);
    let (first, second) = (start(&transport, &sixty).await, start(&transport, &sixty).await);
    let mut sent = broker.link().taken();
    assert_eq!(sent.len(), 1);
    sent[0].ticket.written();
    settle().await;
    let kept = broker.link().taken(); // dropping a message gives its room back
    assert_eq!(kept.len(), 1, "there is room for the second now");
    let third = start(&transport, &sixty).await;
    pass(4.9).await;
    assert!(!third.is_finished());
    pass(0.2).await;
    let third = error(third).await;
    assert!(third.delivery() == Delivery::NotSent, "{third:?}");
    drop((first, second));
}

/// What waits for room waits at its caller's expense.
#[tokio::test(start_paused = true)]
async fn a_request_that_waited_for_room_expires_with_its_caller_all_the_same() {
    let broker = Broker::new([]);
    let builder = broker.builder().max_request_bytes(60).max_unsent_bytes(100);
    let transport = builder.connect().await.unwrap();
    let link = broker.link();
    link.set(Mood::Stalls);
    let first = start(&transport, &"x".repeat(60)).await;
    let mut second = request(&"x".repeat(60));
    second.expiration = Some(Duration::from_secs(3));
    let second = tokio::spawn({
        let transport = transport.clone();
        async move { transport.request(second).await }
    });
    pass(2.0).await;
    link.taken()[0].ticket.written();
    settle().await;
    assert_eq!(link.taken()[0].expiration_ms, Some(1000));
    drop((first, second));
}

/// What callers leave behind counts, however small it is.
#[tokio::test(start_paused = true)]
async fn requests_without_a_body_are_bounded_too() {
    let broker = Broker::new([]);
    let builder = broker.builder().max_request_bytes(60).max_unsent_bytes(100_000);
    let transport = builder.connect().await.unwrap();
    let link = broker.link();
    link.set(Mood::Stalls);
    for _ in 0..1000 {
        start(&transport, "").await.abort();
    }
    settle().await;
    assert_eq!(transport.counters().in_flight, 0);
    let kept = link.taken().len();
    assert!((50..=200).contains(&kept), "{kept}");
}

/// A socket that takes nothing is given up, so that nothing can be written after its caller has left.
///
/// Proves: T8.
#[tokio::test(start_paused = true)]
async fn a_request_that_is_not_written_in_time_ends_the_link() {
    let broker = Broker::new([]);
    let transport = broker.connect().await;
    let link = broker.link();
    let written = start(&transport, "written").await;
    link.set(Mood::Stalls);
    let stalled = start(&transport, "stalled").await;
    pass(6.3).await;
    let stalled = error(stalled).await;
    let limit = Duration::from_secs(5);
    let TransportError::Timeout {
        timer: Timer::SendTimeout,
        after,
        delivery: Delivery::Unknown,
    } = stalled
    else {
        panic!("{stalled:?}")
    };
    assert_eq!(after, limit);
    assert!(matches!(
        error(written).await,
        TransportError::Disconnected {
            delivery: Delivery::Unknown,
            ..
        }
    ));
    assert!(link.is_aborted());
}

#[tokio::test(start_paused = true)]
async fn services_see_the_apps_name_in_call_ids() {
    let broker = Broker::new([]);
    let transport = broker.builder().app("shop").connect().await.unwrap();
    for (client, app) in [
        (Client::new(transport.clone()), "shop"),
        (
            Client::builder(transport.clone()).app_name("cart").build(),
            "cart",
        ),
    ] {
        let products = client.service("products");
        let call = products
            .call::<u8, _>("get", ())
            .timeout(Duration::from_millis(1));
        assert!(call.await.is_err());
        let headers = &broker.link().taken()[0].headers;
        let (name, stack) = &headers[0];
        assert_eq!(name, "nameko.call_id_stack");
        let id = stack[0].as_str().unwrap();
        assert!(id.starts_with(&format!("{app}.call.")), "{id}");
    }
}

#[tokio::test(start_paused = true)]
async fn requests_expire_unless_they_must_not() {
    let limit = Duration::from_micros(1500);
    for (expire, wanted) in [(true, Some(2)), (false, None)] {
        let broker = Broker::new([]);
        let transport = broker.builder().expire_requests(expire).connect().await.unwrap();
        let mut request = request("1");
        request.expiration = Some(limit);
        let _ = tokio::time::timeout(limit, transport.request(request)).await;
        assert_eq!(broker.link().taken()[0].expiration_ms, wanted);
    }
}
