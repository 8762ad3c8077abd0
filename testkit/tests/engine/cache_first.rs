//! The cache-first strategy beyond parity: freshness, refreshing behind, standing in.

use std::time::Duration;

use nameko_cachetools::{CacheFirst, CacheFirstRpcProxy, Reason, Reply};
use nameko_cachetools_testkit::{Answer, FakeBroker};
use serde_json::json;
use tokio::time::{Instant, sleep};

use crate::{MS, S, client, told};

/// The least step of tokio's virtual time.
const JUST: Duration = Duration::from_millis(1);

/// Proves: 47, E4, E5.
#[tokio::test(start_paused = true)]
async fn fresh_until_and_not_at_the_end_of_freshness() {
    let broker = FakeBroker::new();
    broker.on("shop.get").reply_with(|call| Answer::ok(call.number));
    let shop = CacheFirstRpcProxy::builder("shop")
        .policy(CacheFirst::fresh_for(S(10)))
        .build(&client(&broker));
    let call = || async { shop.call::<u64, _>("get", ()).await.unwrap() };
    assert_eq!(told(&call().await), "fwd=miss; stored");
    sleep(S(10) - JUST).await;
    assert_eq!(told(&call().await), "hit; ttl=0");
    sleep(JUST).await;
    assert_eq!(told(&call().await), "fwd=stale; stored");
    broker.calls("shop.get").assert_times(2);
}

/// Age counts from when the request was sent.
///
/// Proves: 37.
#[tokio::test(start_paused = true)]
async fn an_answer_ages_while_it_travels() {
    let broker = FakeBroker::new();
    broker.on("shop.get").reply(Answer::ok(1).after(S(4)));
    let shop = CacheFirstRpcProxy::builder("shop")
        .policy(CacheFirst::fresh_for(S(10)))
        .build(&client(&broker));
    let call = || async { shop.call::<u64, _>("get", ()).await.unwrap() };
    call().await;
    assert_eq!(call().await.outcome().age(), Some(S(4)));
    sleep(S(6)).await;
    assert_eq!(
        told(&call().await),
        "fwd=stale; fwd-status=504; ttl=-1; detail=failover-timeout"
    );
}

/// Proves: 18, 45.
#[tokio::test(start_paused = true)]
async fn a_stale_answer_is_served_while_one_refresh_runs_behind() {
    let broker = FakeBroker::new();
    broker
        .on("shop.get")
        .reply(json!(1))
        .then(Answer::ok(2).after(S(1)));
    let policy = CacheFirst::fresh_for(S(10)).stale_while_revalidate(S(5));
    let shop = CacheFirstRpcProxy::builder("shop")
        .policy(policy)
        .build(&client(&broker));
    let call = || async { shop.call::<u64, _>("get", ()).await.unwrap() };
    call().await;
    sleep(S(12)).await;
    let start = Instant::now();
    for _ in 0..20 {
        let stale = call().await;
        assert_eq!((*stale, stale.outcome().reason()), (1, Reason::Revalidating));
    }
    assert_eq!(start.elapsed(), Duration::ZERO);
    broker.settle().await;
    broker.calls("shop.get").assert_times(2);
    sleep(S(2)).await;
    let fresh = call().await;
    assert_eq!((*fresh, fresh.outcome().is_stale()), (2, false));
}

/// A key that is asked for seldom is never served older than both windows together.
///
/// Proves: 44.
#[tokio::test(start_paused = true)]
async fn beyond_revalidation_the_service_is_asked_first() {
    let broker = FakeBroker::new();
    broker
        .on("shop.get")
        .reply(json!(1))
        .then(Answer::ok(2).after(MS(100)));
    let policy = CacheFirst::fresh_for(S(10)).stale_while_revalidate(S(5));
    let shop = CacheFirstRpcProxy::builder("shop")
        .policy(policy)
        .build(&client(&broker));
    let call = || async { *shop.call::<u64, _>("get", ()).await.unwrap() };
    call().await;
    sleep(S(15)).await;
    assert_eq!(call().await, 2);
}

/// Proves: 26, 38, E2, E5.
#[tokio::test(start_paused = true)]
async fn an_old_entry_stands_in_after_the_policys_patience() {
    let broker = FakeBroker::new();
    broker
        .on("shop.get")
        .reply(json!(1))
        .then(Answer::never())
        .then(Answer::error("Boom", "x"));
    let policy = CacheFirst::fresh_for(S(10)).stale_if_error(S(60));
    let shop = CacheFirstRpcProxy::builder("shop")
        .policy(policy)
        .build(&client(&broker));
    let call = || async { shop.call::<u64, _>("get", ()).await };
    call().await.unwrap();
    sleep(S(20)).await;
    let start = Instant::now();
    assert_eq!(
        told(&call().await.unwrap()),
        "fwd=stale; fwd-status=504; ttl=-11; detail=failover-timeout"
    );
    assert_eq!(start.elapsed(), S(1));
    sleep(S(48)).await; // the hung request is no longer joined, and the entry has a second left
    assert_eq!(
        told(&call().await.unwrap()),
        "fwd=stale; fwd-status=500; ttl=-59; detail=server-fault"
    );
    sleep(S(1)).await;
    assert!(call().await.unwrap_err().remote().unwrap().is("Boom"));
}

/// Proves: 32, 50, E15, R19.
#[tokio::test(start_paused = true)]
async fn refreshes_are_bounded_and_the_surplus_is_counted() {
    let broker = FakeBroker::new();
    broker.on("shop.get").reply_with(|call| match call.number {
        ..=100 => Answer::ok(1),
        _ => Answer::never(),
    });
    let policy = CacheFirst::fresh_for(S(10)).stale_while_revalidate(S(50));
    let shop = CacheFirstRpcProxy::builder("shop")
        .policy(policy)
        .build(&client(&broker));
    for round in 0..2 {
        for n in 0..100u64 {
            let reply: Reply<u64> = shop.call("get", (n,)).await.unwrap();
            assert_eq!(reply.outcome().is_stale(), round == 1);
        }
        sleep(S(12)).await;
    }
    assert_eq!((broker.in_flight(), shop.stats().refreshes_skipped), (64, 36));
    sleep(S(60)).await;
    assert_eq!(broker.in_flight(), 0, "a refresh that hangs is given up");
}

/// Entries of one moment do not end in one moment, and jitter moves no other limit.
///
/// Proves: 43, R24.
#[tokio::test(start_paused = true)]
async fn jitter_spreads_the_end_of_freshness() {
    let broker = FakeBroker::new();
    broker.on("shop.get").reply(json!(1));
    let policy = CacheFirst::fresh_for(S(100)).jitter(0.2).stale_if_error(S(50));
    let shop = CacheFirstRpcProxy::builder("shop")
        .policy(policy)
        .build(&client(&broker));
    let fresh = || async {
        let mut fresh = 0;
        for n in 0..1000u64 {
            let reply = shop.call::<u64, _>("get", (n,)).only_if_cached().await.unwrap();
            fresh += usize::from(!reply.outcome().is_stale());
        }
        fresh
    };
    for n in 0..1000u64 {
        let _: Reply<u64> = shop.call("get", (n,)).await.unwrap();
    }
    sleep(S(80) - JUST).await;
    assert_eq!(fresh().await, 1000);
    sleep(S(10)).await;
    assert!((400..600).contains(&fresh().await));
    sleep(S(10) + JUST).await;
    assert_eq!(fresh().await, 0);
    sleep(S(50) - JUST).await;
    fresh().await; // all of them may still stand in
    sleep(JUST).await;
    assert!(shop.call::<u64, _>("get", (1,)).only_if_cached().await.is_err());
}

#[tokio::test(start_paused = true)]
async fn jitter_ends_no_refreshing_behind() {
    let broker = FakeBroker::new();
    broker.on("shop.get").reply(json!(1));
    let policy = CacheFirst::fresh_for(S(100))
        .jitter(1.0)
        .stale_while_revalidate(S(100));
    let shop = CacheFirstRpcProxy::builder("shop")
        .policy(policy)
        .build(&client(&broker));
    let get = |n: u64| shop.call::<u64, _>("get", (n,));
    for n in 0..20 {
        get(n).await.unwrap();
    }
    sleep(S(200) - JUST).await;
    for n in 0..20 {
        assert!(get(n).await.unwrap().outcome().is_stale(), "{n}");
    }
}

/// A refresh that meets silence is one at a time per key, and is repeated after pauses.
///
/// Proves: 45, 51.
#[tokio::test(start_paused = true)]
async fn silence_is_a_failed_refresh() {
    let broker = FakeBroker::new();
    broker.on("shop.get").reply(json!(1)).then(Answer::never());
    let policy = CacheFirst::fresh_for(S(10))
        .stale_while_revalidate(S(10_000))
        .breaker(None);
    let shop = CacheFirstRpcProxy::builder("shop")
        .policy(policy)
        .build(&client(&broker));
    for _ in 0..600 {
        let _: Reply<u64> = shop.call("get", ()).await.unwrap();
        sleep(S(1)).await;
    }
    let calls = broker.calls("shop.get");
    assert_eq!(calls.max_in_flight(), 1);
    assert!(
        (9..=16).contains(&calls.count()),
        "{}: each takes 30 s, and then there is a pause",
        calls.count()
    );
}

/// A reply that does not decode is a failed refresh, too.
#[tokio::test(start_paused = true)]
async fn a_refresh_of_another_type_is_paused() {
    let broker = FakeBroker::new();
    broker.on("shop.get").reply(json!(1)).then(json!("text"));
    let policy = CacheFirst::fresh_for(S(10)).stale_while_revalidate(S(1000));
    let shop = CacheFirstRpcProxy::builder("shop")
        .policy(policy)
        .build(&client(&broker));
    let _: Reply<u64> = shop.call("get", ()).await.unwrap();
    sleep(S(10)).await;
    for _ in 0..200 {
        let stale: Reply<u64> = shop.call("get", ()).await.unwrap();
        assert_eq!(*stale, 1);
        sleep(MS(100)).await;
    }
    broker.calls("shop.get").assert_times(1 + 5); // after 0, 1, 3, 7 and 15 s
}

/// Proves: 37.
#[tokio::test(start_paused = true)]
async fn what_is_stale_on_arrival_starts_no_chain_of_refreshes() {
    let broker = FakeBroker::new();
    broker.on("shop.get").reply(Answer::ok(1).after(S(4)));
    let policy = CacheFirst::fresh_for(S(1)).stale_while_revalidate(S(1000));
    let shop = CacheFirstRpcProxy::builder("shop")
        .policy(policy)
        .build(&client(&broker));
    let call = || async { shop.call::<u64, _>("get", ()).await.unwrap() };
    assert!(!call().await.outcome().is_cached(), "the caller gets it");
    sleep(S(100)).await;
    broker.calls("shop.get").assert_times(1);
    for _ in 0..10 {
        assert!(call().await.outcome().is_stale());
    }
    sleep(S(100)).await;
    broker.calls("shop.get").assert_times(2);
}

/// Proves: 46.
#[tokio::test(start_paused = true)]
async fn a_hung_refresh_does_not_lengthen_the_use_of_the_old_entry() {
    let broker = FakeBroker::new();
    broker.on("shop.get").reply(json!(1)).then(Answer::never());
    let policy = CacheFirst::fresh_for(S(10))
        .stale_while_revalidate(S(5))
        .stale_if_error(S(5));
    let shop = CacheFirstRpcProxy::builder("shop")
        .policy(policy)
        .build(&client(&broker));
    let call = || shop.call::<u64, _>("get", ()).timeout(S(1));
    call().await.unwrap();
    sleep(S(15) - JUST).await;
    assert_eq!(call().await.unwrap().outcome().reason(), Reason::Revalidating);
    sleep(JUST).await;
    assert_eq!(broker.in_flight(), 1, "the refresh hangs");
    assert!(call().await.unwrap_err().is_timeout());
}

/// A key whose refresh is under way needs no other: that is not skipped for want of room.
///
/// Proves: 32.
#[tokio::test(start_paused = true)]
async fn only_a_refresh_that_is_due_counts_as_skipped() {
    let broker = FakeBroker::new();
    broker.on("shop.get").reply(json!(1));
    let policy = CacheFirst::fresh_for(S(10)).stale_while_revalidate(S(100));
    let shop = CacheFirstRpcProxy::builder("shop")
        .policy(policy)
        .build(&client(&broker));
    for n in 0..65u64 {
        let _: Reply<u64> = shop.call("get", (n,)).await.unwrap();
    }
    sleep(S(10)).await;
    let _silence = broker.silent("shop");
    for _ in 0..3 {
        for n in 0..64u64 {
            let _: Reply<u64> = shop.call("get", (n,)).await.unwrap();
        }
        sleep(MS(1)).await;
    }
    assert_eq!((broker.in_flight(), shop.stats().refreshes_skipped), (64, 0));
    let _: Reply<u64> = shop.call("get", (64,)).await.unwrap();
    assert_eq!(shop.stats().refreshes_skipped, 1);
}

#[derive(serde::Deserialize)]
#[serde(from = "u64")]
struct Picky;

impl From<u64> for Picky {
    fn from(number: u64) -> Self {
        assert_eq!(number, 1, "it panics, as it should");
        Self
    }
}

/// A refresh whose reply makes its type panic has failed as any other. It was repeated at every call.
///
/// Proves: 51, E14.
#[tokio::test(start_paused = true)]
async fn a_refresh_that_panics_is_not_repeated_at_once() {
    let broker = FakeBroker::new();
    broker.on("shop.get").reply(json!(1)).then(json!(2));
    let policy = CacheFirst::fresh_for(S(10)).stale_while_revalidate(S(100));
    let shop = CacheFirstRpcProxy::builder("shop")
        .policy(policy)
        .build(&client(&broker));
    let call = async || drop(shop.call::<Picky, _>("get", ()).await.unwrap());
    call().await;
    sleep(S(10)).await;
    for _ in 0..200 {
        call().await;
        sleep(MS(100)).await;
    }
    broker.calls("shop.get").assert_times(1 + 5); // after 0, 1, 3, 7 and 15 s
}
