//! How a first link is got, and the next one.

use std::time::Duration;

use nameko_cachetools::{Clock, ConnectionState, Delivery, Timer, Transport, TransportError};
use nameko_cachetools_amqp::{Backoff, ConnectError, OpenError};
use tokio::time::Instant;

use crate::{
    fake::{Attempt, Broker, error, pass, request, settle, start},
    state,
};

/// Proves: T8.
#[tokio::test(start_paused = true)]
async fn connecting_is_bounded_and_says_what_failed() {
    let broker = Broker::new([Attempt::Hangs, Attempt::Hangs]);
    let began = Instant::now();
    let failed = broker
        .builder()
        .uri("amqp://a;amqp://b")
        .connect()
        .await
        .unwrap_err();
    assert_eq!(began.elapsed(), Duration::from_secs(10), "5 s for each address");
    let ConnectError::Failed(TransportError::Timeout {
        timer,
        after,
        delivery,
    }) = failed
    else {
        panic!("{failed:?}")
    };
    assert_eq!(
        (timer, after, delivery),
        (Timer::ConnectTimeout, Duration::from_secs(5), Delivery::NotSent)
    );

    let broker = Broker::new([Attempt::Fails(OpenError::unreachable("nobody")), Attempt::Works]);
    broker.builder().uri("amqp://a;amqp://b").connect().await.unwrap();
    assert_eq!(broker.link().plan.address.host, "b");

    for (fails, wanted) in [
        (OpenError::unreachable("nobody"), "NotConnected"),
        (OpenError::refused("password"), "Refused"),
        (OpenError::paused_clock(), "PausedClock"),
    ] {
        let broker = Broker::new([Attempt::Fails(fails)]);
        let failed = broker.builder().connect().await.unwrap_err();
        assert!(
            format!("{failed:?}").starts_with(&format!("Failed({wanted}")),
            "{failed:?}"
        );
        pass(3600.0).await;
        assert_eq!(broker.attempts(), 1, "nothing goes on behind");
    }
}

/// A network that swallows everything lets each attempt hang for 5 s: whoever is heard again is not waited for that
/// long, and the second host not until the first has timed out.
#[tokio::test(start_paused = true)]
async fn attempts_that_hang_are_overtaken() {
    let broker = Broker::new((0..12).map(|_| Attempt::Hangs));
    let builder = broker.builder().uri("amqp://a;amqp://b");
    let transport = builder.connect_lazy().unwrap();
    pass(0.0).await;
    assert_eq!(broker.attempts(), 1);
    pass(1.0).await;
    assert_eq!(broker.attempts(), 2);
    pass(30.0).await;
    assert_eq!(broker.attempts(), 12 + 1, "and the next works");
    assert!(state(&transport).is_ready());
    assert_eq!(broker.links().len(), 1);

    let broker = Broker::new([Attempt::Hangs]);
    let transport = broker.builder().uri("amqp://a;amqp://b").connect_lazy().unwrap();
    pass(1.0).await;
    assert!(state(&transport).is_ready());
    assert_eq!(broker.link().plan.address.host, "b");
}

/// Proves: R12.
#[tokio::test(start_paused = true)]
async fn wrong_settings_are_refused_before_anything_happens() {
    let broker = Broker::new([]);
    let builder = || broker.builder();
    for builder in [
        builder().uri("http://canary"),
        builder().app(""),
        builder().app("a b"),
        builder().app("x".repeat(101)),
        builder().rpc_exchange("x".repeat(256)),
        builder().heartbeat(Duration::from_secs(3)),
        builder().connect_timeout(Duration::ZERO),
        builder().send_timeout(Duration::from_nanos(1)),
        builder().send_timeout(Duration::MAX),
        builder().backoff(Backoff {
            cap: Duration::MAX,
            ..Backoff::default()
        }),
        builder().max_in_flight(0),
        builder().max_request_bytes(usize::MAX),
    ] {
        let shown = format!("{builder:?}");
        let error = builder.connect_lazy().unwrap_err();
        assert!(!matches!(error, ConnectError::Failed(_)), "{error:?}");
        assert!(
            !format!("{shown} {error:?} {error}").contains("canary"),
            "{shown}"
        );
    }
    assert_eq!(broker.attempts(), 0);
}

#[tokio::test(start_paused = true)]
async fn lazy_starts_without_a_broker() {
    let broker = Broker::new((0..5).map(|_| Attempt::Fails(OpenError::unreachable("nobody"))));
    let transport = broker.builder().connect_lazy().unwrap();
    assert_eq!(state(&transport), ConnectionState::Connecting);
    let early = transport.request(request("x")).await.unwrap_err();
    assert!(matches!(early, TransportError::NotConnected { .. }), "{early:?}");
    settle().await;
    assert!(matches!(
        state(&transport),
        ConnectionState::Reconnecting { permanent: false, .. }
    ));
    pass(3.0).await;
    assert!(state(&transport).is_ready());
    assert_eq!(transport.clock(), Clock::Coarse);
}

/// 50, 100, .. 800 ms, then every second; each shortened by up to half.
///
/// Proves: T11.
#[tokio::test(start_paused = true)]
async fn attempts_are_paced_and_refusals_are_slow() {
    for (fails, lowest, highest) in [
        (OpenError::unreachable("nobody"), 60, 130),
        (OpenError::refused("password"), 6, 13),
    ] {
        let broker = Broker::new((0..1000).map(|_| Attempt::Fails(fails.clone())));
        let transport = broker.builder().connect_lazy().unwrap();
        pass(60.0).await;
        assert!(
            (lowest..highest).contains(&broker.attempts()),
            "{} attempts in a minute",
            broker.attempts()
        );
        let refused = transport.request(request("x")).await.unwrap_err();
        let permanent = matches!(refused, TransportError::Refused { .. });
        assert!(
            matches!(state(&transport), ConnectionState::Reconnecting { permanent: p, .. } if p == permanent)
        );
    }
}

/// A host that refuses us decides nothing while another can't be reached: that one may be the right one.
#[tokio::test(start_paused = true)]
async fn refused_is_who_is_refused_by_all_hosts() {
    let (gone, refused) = (OpenError::unreachable("nobody"), OpenError::refused("no vhost"));
    for fails in [[&gone, &refused], [&refused, &gone]] {
        let broker = Broker::new(fails.map(|error| Attempt::Fails(error.clone())));
        let transport = broker.builder().uri("amqp://a;amqp://b").connect_lazy().unwrap();
        settle().await;
        let ConnectionState::Reconnecting { reason, permanent } = state(&transport) else {
            panic!("{:?}", state(&transport));
        };
        assert!(!permanent, "{reason}");
        for part in ["amqp://a:5672", "amqp://b:5672", "nobody", "no vhost"] {
            assert!(reason.contains(part), "{reason}");
        }
        pass(1.0).await;
        assert!(state(&transport).is_ready());
    }
    let broker = Broker::new([&refused, &refused].map(|error| Attempt::Fails(error.clone())));
    let failed = broker.builder().uri("amqp://a;amqp://b").connect().await;
    assert!(
        matches!(failed, Err(ConnectError::Failed(TransportError::Refused { .. }))),
        "{failed:?}"
    );
}

/// A broker that accepts and drops us in a loop is not hammered.
///
/// Proves: T11.
#[tokio::test(start_paused = true)]
async fn links_that_die_young_slow_the_next_attempt_down() {
    let broker = Broker::new([]);
    let transport = broker.connect().await;
    let mut state = transport.state();
    let end = Instant::now() + Duration::from_secs(60);
    while Instant::now() < end {
        state.wait_for(ConnectionState::is_ready).await.unwrap();
        broker.link().events.lost("again");
        state.wait_for(|state| !state.is_ready()).await.unwrap();
    }
    assert!(broker.attempts() < 130, "{}", broker.attempts());

    state.wait_for(ConnectionState::is_ready).await.unwrap();
    pass(2.0).await;
    broker.link().events.lost("after a good life");
    pass(0.05).await;
    assert!(state.borrow().is_ready(), "the pause is short again");
}

/// RabbitMQ names whom it refuses something, in whatever it refuses.
///
/// Proves: R12.
#[tokio::test(start_paused = true)]
async fn no_reason_names_the_user() {
    let refused =
        "ACCESS_REFUSED - access to exchange 'nameko-rpc' in vhost 'canary' refused for user 'canary'";
    let unnamed = refused.replace("user 'canary'", "this user");
    let broker = Broker::new([Attempt::Fails(OpenError::refused(refused))]);
    let builder = || broker.builder().uri("amqp://canary:secret@h/canary");
    let failed = builder().connect().await.unwrap_err().to_string();
    assert!(failed.ends_with(&unnamed), "{failed}");

    let transport = builder().connect().await.unwrap();
    let call = start(&transport, "x").await;
    broker.link().events.lost(refused);
    let lost = error(call).await.to_string();
    assert!(lost.ends_with(&unnamed), "{lost}");
    let ConnectionState::Reconnecting { reason, .. } = state(&transport) else {
        panic!("{:?}", state(&transport));
    };
    assert_eq!(reason, unnamed);
}
