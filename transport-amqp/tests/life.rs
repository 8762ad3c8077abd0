//! From connecting to closing, in virtual time.
#![allow(clippy::panic, clippy::unwrap_used, reason = "tests")]

mod fake;

use std::{sync::atomic::Ordering, time::Duration};

use fake::{Attempt, Broker, Mood, body, error, pass, request, settle, start};
use nameko_cachetools::{Clock, ConnectionState, Delivery, Timer, Transport, TransportError};
use nameko_cachetools_amqp::{AmqpTransport, ConnectError, OpenError};
use tokio::{runtime::Handle, time::Instant};

fn state(transport: &AmqpTransport) -> ConnectionState {
    transport.state().borrow().clone()
}

/// Proves: T1, T5.
#[tokio::test(start_paused = true)]
async fn a_lost_link_ends_all_calls_at_once_and_the_next_has_its_own_reply_queue() {
    let broker = Broker::new([]);
    let transport = broker.connect().await;
    let (calls, old) = (
        [start(&transport, "1").await, start(&transport, "2").await],
        broker.link(),
    );
    let lost = Instant::now();
    old.events.lost("cut");
    for call in calls {
        let error = error(call).await;
        assert!(
            matches!(
                error,
                TransportError::Disconnected {
                    delivery: Delivery::Unknown,
                    ..
                }
            ),
            "{error:?}"
        );
        assert!(error.to_string().contains("cut"));
    }
    assert_eq!(lost.elapsed(), Duration::ZERO);
    let refused = transport.request(request("3")).await.unwrap_err();
    assert!(
        matches!(refused, TransportError::NotConnected { .. }),
        "{refused:?}"
    );
    assert!(old.is_aborted());

    pass(0.05).await;
    let new = broker.link();
    assert_eq!(broker.attempts(), 2);
    assert_ne!(new.plan.topology.reply_queue, old.plan.topology.reply_queue);
    assert_eq!(new.plan.superseded.as_ref(), Some(&old.plan.topology.reply_queue));
    assert!(state(&transport).is_ready());
    new.set(Mood::Echoes);
    assert_eq!(body(start(&transport, "4").await).await, "4");
    assert_eq!(old.taken().len(), 2, "nothing is sent a second time");
    assert!(new.taken().is_empty());

    old.events.lost("an old link's last words");
    old.events.blocked("an old link's last words");
    settle().await;
    assert!(state(&transport).is_ready());
}

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

/// Proves: T9.
#[tokio::test(start_paused = true)]
async fn a_blocked_broker_gets_no_requests_and_loses_none() {
    let broker = Broker::new([]);
    let transport = broker.connect().await;
    let link = broker.link();
    let waiting = start(&transport, "1").await;
    link.events.blocked("low on memory");
    settle().await;
    assert_eq!(
        state(&transport),
        ConnectionState::Blocked {
            reason: "low on memory".to_owned()
        }
    );
    let refused = transport.request(request("2")).await.unwrap_err();
    assert!(matches!(refused, TransportError::Blocked { .. }), "{refused:?}");
    *link.consumers.lock().unwrap() = None;
    pass(3600.0).await;
    assert_eq!(
        broker.attempts(),
        1,
        "a broker that doesn't read can't answer a probe"
    );
    link.events.unblocked();
    settle().await;
    assert!(state(&transport).is_ready());
    let sent = link.taken();
    assert_eq!(sent.len(), 1);
    link.reply(&sent[0].correlation_id, "1");
    assert_eq!(body(waiting).await, "1");
}

/// A request in the buffers of a blocked broker would be executed when nobody wants it any more.
///
/// Proves: T9.
#[tokio::test(start_paused = true)]
async fn a_request_given_up_unread_is_taken_back_by_cutting_the_link() {
    for (read, cut) in [(false, true), (true, false)] {
        let broker = Broker::new([]);
        let transport = broker.connect().await;
        let link = broker.link();
        let call = start(&transport, "x").await;
        if read {
            link.taken().remove(0).ticket.confirmed();
        }
        link.events.blocked("low on memory");
        settle().await;
        call.abort();
        settle().await;
        assert_eq!(link.is_aborted(), cut, "confirmed: {read}");
    }
}

/// A blocked broker tells a new link so only when something is published: no caller has to find it out by waiting.
#[tokio::test(start_paused = true)]
async fn after_a_cut_while_blocked_the_link_is_tried_before_requests_are() {
    let broker = Broker::new([]);
    let transport = broker.connect().await;
    let call = start(&transport, "given up").await;
    broker.link().events.blocked("low on memory");
    settle().await;
    broker.holds_trials.store(true, Ordering::SeqCst);
    call.abort();
    pass(0.05).await;
    let link = broker.link();
    assert_eq!(broker.attempts(), 2);
    let trial = std::mem::take(&mut *link.trials.lock().unwrap());
    assert_eq!(trial.len(), 1);
    for told in [false, true] {
        let refused = transport.request(request("x")).await.unwrap_err();
        assert!(matches!(refused, TransportError::Blocked { .. }), "{refused:?}");
        assert_eq!(
            state(&transport),
            ConnectionState::Blocked {
                reason: "low on memory".to_owned()
            }
        );
        if !told {
            link.events.blocked("low on memory");
            pass(60.0).await;
        }
    }
    link.events.returned(Some(&trial[0].correlation_id));
    settle().await;
    assert!(state(&transport).is_ready());
    assert_eq!(transport.counters().in_flight, 0);
    link.set(Mood::Echoes);
    assert_eq!(body(start(&transport, "x").await).await, "x");
}

/// Proves: T10.
#[tokio::test(start_paused = true)]
async fn silence_is_looked_into() {
    let broker = Broker::new([]);
    let transport = broker
        .builder()
        .heartbeat(Duration::from_secs(10))
        .connect()
        .await
        .unwrap();
    let link = broker.link();
    pass(60.0).await;
    let probes = link.probes.load(Ordering::SeqCst);
    assert!((8..=12).contains(&probes), "{probes} probes in a silent minute");
    for _ in 0..60 {
        pass(1.0).await;
        link.reply("any sign of life", "");
    }
    assert!(
        link.probes.load(Ordering::SeqCst) <= probes + 1,
        "no probe while the broker speaks"
    );

    let (waiting, since) = (start(&transport, "x").await, Instant::now());
    *link.consumers.lock().unwrap() = None;
    let error = waiting.await.unwrap().unwrap_err();
    assert!(
        matches!(
            error,
            TransportError::Disconnected {
                delivery: Delivery::Unknown,
                ..
            }
        ),
        "{error:?}"
    );
    let noticed = since.elapsed();
    assert!(
        noticed <= Duration::from_secs(20),
        "two heartbeats at most: {noticed:?}"
    );
    assert!(link.is_aborted());
}

#[tokio::test(start_paused = true)]
async fn a_consumer_lost_without_a_word_is_noticed() {
    let broker = Broker::new([]);
    let transport = broker.connect().await;
    *broker.link().consumers.lock().unwrap() = Some(0);
    let waiting = start(&transport, "x").await;
    pass(10.0).await;
    let error = error(waiting).await;
    assert!(error.to_string().contains("consumes"), "{error}");
}

/// Proves: T15.
#[tokio::test(start_paused = true)]
async fn close_waits_for_calls_and_then_ends_everything() {
    let broker = Broker::new([]);
    let transport = broker.connect().await;
    let link = broker.link();
    let (soon, never) = (start(&transport, "soon").await, start(&transport, "never").await);
    let began = Instant::now();
    let closing = tokio::spawn({
        let transport = transport.clone();
        async move { transport.close(Duration::from_secs(3)).await }
    });
    settle().await;
    let late = transport.request(request("late")).await.unwrap_err();
    assert!(matches!(late, TransportError::Closed), "{late:?}");
    pass(1.0).await;
    link.reply(&link.taken()[0].correlation_id, "soon");
    assert_eq!(body(soon).await, "soon");
    closing.await.unwrap();
    assert_eq!(began.elapsed(), Duration::from_secs(3));
    let cut_off = error(never).await;
    assert!(
        matches!(
            cut_off,
            TransportError::Disconnected {
                delivery: Delivery::Unknown,
                ..
            }
        ),
        "{cut_off:?}"
    );
    assert_eq!(link.closes.load(Ordering::SeqCst), 1, "closed in good order");
    assert_eq!(state(&transport), ConnectionState::Closed);
    assert_eq!(Handle::current().metrics().num_alive_tasks(), 0);

    let began = Instant::now();
    transport.close(Duration::from_secs(3)).await;
    assert_eq!(
        began.elapsed(),
        Duration::ZERO,
        "a second close has nothing to wait for"
    );
}

#[tokio::test(start_paused = true)]
async fn close_does_not_wait_for_nobody() {
    let broker = Broker::new([]);
    let transport = broker.connect().await;
    let began = Instant::now();
    transport.close(Duration::from_secs(60)).await;
    assert_eq!(began.elapsed(), Duration::ZERO);
}

/// Proves: T8, T15.
#[tokio::test(start_paused = true)]
async fn close_ends_within_a_second_whatever_the_link_does() {
    let broker = Broker::new([]);
    let transport = broker.connect().await;
    broker.link().close_hangs.store(true, Ordering::SeqCst);
    let waiting = start(&transport, "x").await;
    let began = Instant::now();
    transport.close(Duration::from_secs(2)).await;
    assert!(began.elapsed() < Duration::from_secs(3), "{:?}", began.elapsed());
    assert!(broker.link().is_aborted());
    assert_eq!(error(waiting).await.delivery(), Delivery::Unknown);

    let broker = Broker::new([Attempt::Hangs]);
    let transport = broker.builder().connect_lazy().unwrap();
    settle().await;
    let began = Instant::now();
    transport.close(Duration::from_secs(2)).await;
    assert_eq!(began.elapsed(), Duration::ZERO, "also while connecting");
    assert_eq!(Handle::current().metrics().num_alive_tasks(), 0);
}

#[tokio::test(start_paused = true)]
async fn the_last_clone_takes_everything_with_it() {
    let broker = Broker::new([]);
    let transport = broker.connect().await;
    let (clone, mut watching) = (transport.clone(), transport.state());
    drop(transport);
    settle().await;
    assert!(watching.borrow().is_ready());
    drop(clone);
    settle().await;
    assert_eq!(*watching.borrow_and_update(), ConnectionState::Closed);
    assert_eq!(broker.link().closes.load(Ordering::SeqCst), 1);
    assert_eq!(Handle::current().metrics().num_alive_tasks(), 0);
}

/// A transport that outlives its runtime says so instead of waiting for ever.
#[test]
fn a_transport_without_its_runtime_is_closed() {
    let runtime = || {
        tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .start_paused(true)
            .build()
            .unwrap()
    };
    let (first, second) = (runtime(), runtime());
    let broker = Broker::new([]);
    let transport = first.block_on(broker.connect());
    drop(first);
    let error = second.block_on(transport.request(request("x"))).unwrap_err();
    assert!(matches!(error, TransportError::Closed), "{error:?}");
    assert_eq!(state(&transport), ConnectionState::Closed);
    second.block_on(transport.close(Duration::from_secs(1)));
}
