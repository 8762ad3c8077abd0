//! A dead service costs nobody patience for long, and is found alive again behind cached answers.

use std::{
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use nameko_cachetools::{
    Breaker, CacheFirst, CacheFirstRpcProxy, CachedRpcProxy, CallError, Client, Failover, Reason, Reply,
    Request, Response, TransportError, transport_fn,
};
use nameko_cachetools_testkit::{Answer, FakeBroker};
use serde_json::json;
use tokio::time::{Instant, sleep};

use crate::{MS, S, client, told};

fn failover(broker: &FakeBroker) -> CachedRpcProxy {
    CachedRpcProxy::builder("shop")
        .policy(Failover::after(MS(300)))
        .build(&client(broker))
}

/// Proves: 48, E16.
#[tokio::test(start_paused = true)]
async fn only_the_first_few_wait_for_a_silent_service() {
    let broker = FakeBroker::new();
    broker.on("shop.get").reply(json!(1));
    let shop = failover(&broker);
    let call = || async { shop.call::<u64, _>("get", ()).await.unwrap() };
    call().await;
    let silence = broker.silent("shop");
    let mut patient = 0;
    for _ in 0..1000 {
        let start = Instant::now();
        let reply = call().await;
        match reply.outcome().reason() {
            Reason::FailoverTimeout => patient += 1,
            reason => assert_eq!((reason, start.elapsed()), (Reason::CircuitOpen, Duration::ZERO)),
        }
        sleep(MS(10)).await;
    }
    assert_eq!(patient, 5);
    let stats = shop.stats();
    assert_eq!(
        (
            stats.stale,
            stats.failover_timeouts,
            stats.circuit_open,
            stats.masked
        ),
        (1000, 5, 995, 0)
    );
    let probes = broker.calls("shop.get").count() - 6;
    assert!(
        (2..=4).contains(&probes),
        "{probes}: after 1, 2 and 4 s, more or less"
    );

    silence.end(); // the service comes back, and answers what its queue kept
    sleep(MS(1)).await;
    assert!(!call().await.outcome().is_cached());
}

/// A probe goes out behind a cached answer, and the first that succeeds closes the circuit.
///
/// Proves: 49, E16.
#[tokio::test(start_paused = true)]
async fn nobody_waits_for_the_probe() {
    let broker = FakeBroker::new();
    broker.on("shop.get").reply(Answer::ok(1).after(MS(100)));
    let shop = failover(&broker);
    let call = || async { shop.call::<u64, _>("get", ()).await.unwrap() };
    call().await;
    let outage = broker.down();
    for _ in 0..5 {
        assert_eq!(call().await.outcome().reason(), Reason::Unavailable);
    }
    assert_eq!(told(&call().await), "hit; ttl=0; detail=circuit-open");
    outage.end();
    assert_eq!(
        call().await.outcome().reason(),
        Reason::CircuitOpen,
        "nobody has looked yet"
    );
    sleep(MS(1300)).await;
    let start = Instant::now();
    assert_eq!(call().await.outcome().reason(), Reason::CircuitOpen);
    assert_eq!(start.elapsed(), Duration::ZERO);
    sleep(MS(101)).await;
    assert!(!call().await.outcome().is_cached());
}

/// With nothing cached, a call goes out all the same.
///
/// Proves: 54.
#[tokio::test(start_paused = true)]
async fn without_a_cached_answer_a_call_goes_out_whatever_the_circuit_says() {
    let broker = FakeBroker::new();
    broker.on("shop.get").reply(json!(1));
    let shop = failover(&broker);
    let outage = broker.down();
    for _ in 0..10 {
        assert!(shop.call::<u64, _>("get", ()).await.unwrap_err().is_unavailable());
    }
    outage.end();
    assert_eq!(*shop.call::<u64, _>("get", ()).await.unwrap(), 1);
}

/// An exception is an answer; a hurried caller and one who left say nothing.
///
/// Proves: 34, 53.
#[tokio::test(start_paused = true)]
async fn only_silence_of_the_service_itself_counts() {
    let broker = FakeBroker::new();
    broker
        .on("shop.get")
        .reply(json!(1))
        .then(Answer::error("Boom", "x"));
    let shop = failover(&broker);
    let _: Reply<u64> = shop.call("get", ()).await.unwrap();
    for _ in 0..30 {
        let reply: Reply<u64> = shop.call("get", ()).await.unwrap();
        assert_eq!(reply.outcome().reason(), Reason::ServerFault);
    }
    let silence = broker.silent("shop");
    for n in 0..30 {
        let hurried = shop.call::<u64, _>("get", ()).timeout(MS(10)).await.unwrap();
        assert_eq!(hurried.outcome().reason(), Reason::Unavailable, "{n}");
        let _ = tokio::time::timeout(MS(10), shop.call::<u64, _>("get", ()).into_future()).await;
    }
    silence.end();
}

/// Methods have circuits of their own.
#[tokio::test(start_paused = true)]
async fn one_dead_method_does_not_take_the_others_with_it() {
    let broker = FakeBroker::new();
    broker.on("shop.get").reply(json!(1)).then(Answer::never());
    broker.on("shop.list").reply(json!(2));
    let shop = failover(&broker);
    for _ in 0..8 {
        let _: Reply<u64> = shop.call("get", ()).await.unwrap();
        let list: Reply<u64> = shop.call("list", ()).await.unwrap();
        assert!(!list.outcome().is_cached());
    }
    let get: Reply<u64> = shop.call("get", ()).await.unwrap();
    assert_eq!(get.outcome().reason(), Reason::CircuitOpen);
}

/// A refresh that fails is not repeated at every call.
///
/// Proves: 51.
#[tokio::test(start_paused = true)]
async fn failing_refreshes_are_paused_per_key() {
    let broker = FakeBroker::new();
    broker
        .on("shop.get")
        .reply(json!(1))
        .then(Answer::error("Boom", "x"));
    let policy = CacheFirst::fresh_for(S(10)).stale_while_revalidate(S(100));
    let shop = CacheFirstRpcProxy::builder("shop")
        .policy(policy)
        .build(&client(&broker));
    let call = || async { shop.call::<u64, _>("get", ()).await.unwrap() };
    call().await;
    sleep(S(10)).await;
    for _ in 0..200 {
        assert!(call().await.outcome().is_stale());
        sleep(MS(100)).await;
    }
    broker.calls("shop.get").assert_times(1 + 5); // after 0, 1, 3, 7 and 15 s
}

#[tokio::test(start_paused = true)]
async fn the_originals_presets_have_none() {
    let broker = FakeBroker::new();
    broker.on("shop.get").reply(json!(1)).then(Answer::never());
    let shop = CachedRpcProxy::builder("shop")
        .failover_timeout(MS(300))
        .build(&client(&broker));
    let _: Reply<u64> = shop.call("get", ()).await.unwrap();
    for _ in 0..20 {
        let reply: Reply<u64> = shop.call("get", ()).await.unwrap();
        assert_eq!(reply.outcome().reason(), Reason::FailoverTimeout);
    }
}

/// A service that is alive but slower than patience is taken for dead once half of twenty requests were slow, and its
/// late answers do not change that.
#[tokio::test(start_paused = true)]
async fn a_late_answer_does_not_close_the_circuit() {
    let broker = FakeBroker::new();
    broker
        .on("shop.get")
        .reply(json!(1))
        .then(Answer::ok(1).after(MS(400)));
    let shop = failover(&broker);
    let reason = || async { shop.call::<u64, _>("get", ()).await.unwrap().outcome().reason() };
    assert_eq!(reason().await, Reason::LiveFirst);
    for n in 0..19 {
        assert_eq!(reason().await, Reason::FailoverTimeout, "{n}");
        sleep(MS(200)).await; // the late answer comes
    }
    for _ in 0..3 {
        assert_eq!(reason().await, Reason::CircuitOpen);
        sleep(MS(200)).await;
    }
}

/// Statement 54: with nothing at hand a call goes out all the same, unless the policy fails fast.
#[tokio::test(start_paused = true)]
async fn who_has_no_answer_goes_out_or_fails_fast() {
    for fails_fast in [false, true] {
        let broker = FakeBroker::new();
        broker.on("shop.get").reply(json!(1));
        let policy = Failover::after(MS(100))
            .call_timeout(S(1))
            .breaker(Breaker::default().fail_fast(fails_fast));
        let shop = CachedRpcProxy::builder("shop")
            .policy(policy)
            .build(&client(&broker));
        let call = |key: u64| shop.call::<u64, _>("get", (key,));
        call(1).await.unwrap();
        let silence = broker.silent("shop");
        for _ in 0..5 {
            call(1).await.unwrap();
        }
        let start = Instant::now();
        let error = call(2).await.unwrap_err();
        assert_eq!(
            call(1).await.unwrap().outcome().reason(),
            Reason::CircuitOpen,
            "who has one gets it"
        );
        if !fails_fast {
            assert!(error.is_timeout() && start.elapsed() == S(1));
            continue;
        }
        let CallError::CircuitOpen { retry_in, .. } = error else {
            panic!("{error}")
        };
        assert!(error.is_unavailable() && !error.may_have_executed() && start.elapsed() == S(0));
        assert!(
            error.to_string().contains("shop.get was not called")
                && error.to_string().contains(&format!("{retry_in:?}"))
        );
        assert!(
            matches!(call(1).reload().await, Err(CallError::CircuitOpen { .. })),
            "nor does a reload wait"
        );
        let text = call(2).explain().await.unwrap();
        assert!(
            text.ends_with("so: fails at once, while the circuit is open\n"),
            "{text}"
        );
        silence.end();
        sleep(retry_in).await;
        assert_eq!(
            *call(2).await.unwrap(),
            1,
            "it is looked at again by whoever comes then"
        );
        assert_eq!(*call(3).await.unwrap(), 1);
        assert_eq!((shop.stats().errors, shop.stats().circuit_open), (2, 3));
    }
}

/// The call that is to look asks the service, even if the lost request of another could still be joined.
///
/// Proves: E16.
#[tokio::test(start_paused = true)]
async fn who_is_to_look_joins_nobody() {
    let broker = FakeBroker::new();
    broker
        .on("shop.get")
        .expect(2)
        .reply(Answer::never())
        .then(json!(7));
    let policy = CacheFirst::fresh_for(S(60))
        .failover_timeout(MS(100))
        .breaker(Breaker::default().after_failures(1).fail_fast(true));
    let shop = CacheFirstRpcProxy::builder("shop")
        .policy(policy)
        .build(&client(&broker));
    let call = || shop.call::<u64, _>("get", ());
    let lost = tokio::spawn(call().into_future());
    sleep(S(2)).await;
    let text = call().explain().await.unwrap();
    assert!(text.contains("so: sends a request"), "{text}");
    let start = Instant::now();
    assert_eq!(*call().await.unwrap(), 7);
    assert_eq!(start.elapsed(), S(0));
    assert_eq!(*lost.await.unwrap().unwrap(), 7, "what came meanwhile stands in");
}

/// It was no fault of the service, and no sign of life either.
#[tokio::test(start_paused = true)]
async fn what_was_never_sent_says_nothing_about_the_service() {
    let calls = AtomicUsize::new(0);
    let transport = transport_fn(move |_: Request| {
        let call = calls.fetch_add(1, Ordering::Relaxed);
        async move {
            match call {
                0 => Ok(Response::json(r#"{"result": 1, "error": null}"#)),
                4 => Err(TransportError::RequestTooLarge { bytes: 2, limit: 1 }),
                _ => Err(TransportError::Closed),
            }
        }
    });
    let shop = CachedRpcProxy::builder("shop")
        .policy(Failover::after(MS(300)))
        .build(&Client::new(transport));
    let mut reasons = Vec::new();
    for _ in 0..8 {
        let reply: Result<Reply<u64>, _> = shop.call("get", ()).await;
        reasons.push(reply.map(|reply| reply.outcome().reason()).ok());
    }
    let (live, failed) = (Some(Reason::LiveFirst), Some(Reason::Unavailable));
    assert_eq!(
        reasons,
        [
            live,
            failed,
            failed,
            failed,
            None,
            failed,
            failed,
            Some(Reason::CircuitOpen)
        ]
    );
}
