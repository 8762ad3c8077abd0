//! The failover strategy beyond parity: patience, what may stand in, what is read and when.

use std::time::Duration;

use async_trait::async_trait;
use nameko_cachetools::{
    CachedRpcProxy, Entry, Failover, Key, MemoryStore, Moment, Peek, Put, Reason, Reply, Store, StoreError,
    args,
};
use nameko_cachetools_testkit::{Answer, FakeBroker};
use serde_json::json;
use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};
use tokio::time::{Instant, sleep};

use crate::{MS, S, client, told};

#[tokio::test(start_paused = true)]
async fn a_reply_at_the_very_end_of_patience_is_live() {
    let broker = FakeBroker::new();
    broker
        .on("shop.get")
        .reply(json!(1))
        .then(Answer::ok(2).after(MS(200)))
        .then(Answer::ok(3).after(MS(201)));
    let shop = CachedRpcProxy::builder("shop")
        .failover_timeout(MS(200))
        .build(&client(&broker));
    let call = || async { shop.call::<u64, _>("get", ()).await.unwrap() };
    call().await;
    let start = Instant::now();
    assert_eq!((*call().await, start.elapsed()), (2, MS(200)));
    let start = Instant::now();
    assert_eq!((*call().await, start.elapsed()), (2, MS(200)));
}

/// Proves: E1.
#[tokio::test(start_paused = true)]
async fn every_kind_of_failure_falls_back_at_once() {
    let failures = [
        (Answer::error("Boom", "x"), Reason::ServerFault),
        (Answer::unknown_service(), Reason::Unavailable),
        (Answer::nack(), Reason::Unavailable),
        (
            Answer::disconnect(nameko_cachetools_testkit::When::AfterSend),
            Reason::Unavailable,
        ),
        (
            Answer::raw("pickled", "application/x-python-serialize"),
            Reason::ServerFault,
        ),
        (Answer::raw("{", "application/json"), Reason::ServerFault),
        (Answer::ok("not a number"), Reason::ServerFault),
        (Answer::method_not_found("get"), Reason::ClientFault),
    ];
    for (failure, reason) in failures {
        let broker = FakeBroker::new();
        broker.on("shop.get").reply(json!(1)).then(failure);
        let shop = CachedRpcProxy::builder("shop")
            .failover_timeout(S(1))
            .build(&client(&broker));
        let _: Reply<u64> = shop.call("get", ()).await.unwrap();
        let start = Instant::now();
        let stale: Reply<u64> = shop.call("get", ()).await.unwrap();
        assert_eq!(
            (*stale, stale.outcome().reason(), start.elapsed()),
            (1, reason, Duration::ZERO),
            "{stale:?}"
        );
        assert!(stale.outcome().masked().is_some());
    }
}

#[tokio::test(start_paused = true)]
async fn a_broker_that_is_down_is_no_reason_to_fail() {
    let broker = FakeBroker::new();
    broker.on("shop.get").reply(json!(1));
    let shop = CachedRpcProxy::new("shop", &client(&broker));
    let call = |n: u64| shop.call::<u64, _>("get", (n,));
    call(1).await.unwrap();
    let outage = broker.down();
    assert_eq!(
        told(&call(1).await.unwrap()),
        "fwd=stale; fwd-status=503; ttl=0; detail=unavailable"
    );
    let error = call(2).await.unwrap_err();
    assert!(error.is_unavailable() && !error.may_have_executed(), "{error}");
    outage.end();
    assert!(!call(1).await.unwrap().outcome().is_cached());
}

/// Proves: 26, E7.
#[tokio::test(start_paused = true)]
async fn with_nothing_cached_the_call_limit_ends_it() {
    let broker = FakeBroker::new();
    broker.on("shop.get").reply(Answer::never());
    let shop = CachedRpcProxy::builder("shop")
        .policy(Failover::after(S(1)))
        .build(&client(&broker));
    let start = Instant::now();
    let error = shop.call::<u64, _>("get", ()).await.unwrap_err();
    assert_eq!(start.elapsed(), S(30));
    assert!(error.is_timeout() && error.may_have_executed());
    assert!(
        error
            .to_string()
            .starts_with("shop.get did not reply within call_timeout of 30s"),
        "{error}"
    );
    let start = Instant::now();
    shop.call::<u64, _>("get", ()).timeout(S(2)).await.unwrap_err();
    assert_eq!(start.elapsed(), S(2));
}

/// An entry that appears while the call is under way is used; one that expires meanwhile is not.
///
/// Proves: 27, 28, E1.
#[tokio::test(start_paused = true)]
async fn what_counts_is_what_is_cached_at_the_fallback() {
    let broker = FakeBroker::new();
    broker
        .on("shop.get")
        .reply(Answer::never())
        .then(json!(2))
        .then(Answer::never());
    let shop = CachedRpcProxy::builder("shop")
        .failover_timeout(S(10))
        .stale_if_error(S(25))
        .build(&client(&broker));
    let first = tokio::spawn({
        let shop = shop.clone();
        async move { *shop.call::<u64, _>("get", ()).await.unwrap() }
    });
    sleep(S(5)).await;
    let _: Reply<u64> = shop.call("get", ()).await.unwrap();
    assert_eq!(
        first.await.unwrap(),
        2,
        "after 10 s the answer of 5 s ago is there"
    );

    sleep(S(15)).await; // its age is 20 s now, 30 s when patience ends
    let error = shop.call::<u64, _>("get", ()).timeout(S(12)).await.unwrap_err();
    assert!(error.is_timeout());
}

/// Proves: 11, 55.
#[tokio::test(start_paused = true)]
async fn a_definitive_error_is_told_and_evicts() {
    let broker = FakeBroker::new();
    broker
        .on("shop.get")
        .reply(json!(1))
        .then(Answer::error("NotFound", "gone"))
        .then(Answer::error("Boom", "x"));
    let store = MemoryStore::new();
    let shop = CachedRpcProxy::builder("shop")
        .cache(store.clone())
        .definitive(["NotFound"])
        .build(&client(&broker));
    let call = || async { shop.call::<u64, _>("get", ()).await };
    call().await.unwrap();
    assert!(call().await.unwrap_err().remote().unwrap().is("NotFound"));
    assert!(store.is_empty());
    assert!(
        call().await.unwrap_err().remote().unwrap().is("Boom"),
        "the record does not come back"
    );
}

/// Proves: 52, 67, E11, R8.
#[tokio::test(start_paused = true)]
async fn an_error_is_never_cached_and_null_is() {
    let broker = FakeBroker::new();
    broker
        .on("shop.get")
        .with(args![1])
        .reply(Answer::error("Boom", "x"));
    broker
        .on("shop.get")
        .with(args![2])
        .reply(json!(null))
        .then(Answer::error("Boom", "x"));
    let store = MemoryStore::new();
    let shop = CachedRpcProxy::builder("shop")
        .cache(store.clone())
        .build(&client(&broker));
    assert!(shop.call::<Option<u64>, _>("get", (1,)).await.is_err());
    assert!(store.is_empty());
    for _ in 0..2 {
        let none: Reply<Option<u64>> = shop.call("get", (2,)).await.unwrap();
        assert_eq!(*none, None);
    }
}

/// A store that counts what is read.
struct Counting(MemoryStore, Arc<AtomicUsize>);

#[async_trait]
impl Store for Counting {
    fn peek(&self, key: &Key, now: Moment) -> Peek {
        self.1.fetch_add(1, Ordering::Relaxed);
        self.0.peek(key, now)
    }

    async fn get(&self, key: &Key, now: Moment) -> Result<Option<Entry>, StoreError> {
        self.1.fetch_add(1, Ordering::Relaxed);
        self.0.get(key, now).await
    }

    async fn put(&self, key: &Key, entry: Entry) -> Result<Put, StoreError> {
        self.0.put(key, entry).await
    }

    async fn remove(&self, key: &Key, seen: Option<&Entry>) -> Result<bool, StoreError> {
        self.0.remove(key, seen).await
    }

    async fn clear(&self) -> Result<(), StoreError> {
        self.0.clear().await
    }
}

/// Proves: 70.
#[tokio::test(start_paused = true)]
async fn a_healthy_service_needs_no_read_of_the_store() {
    let broker = FakeBroker::new();
    broker.on("shop.get").reply(Answer::ok(1).after(MS(5)));
    let reads = Arc::new(AtomicUsize::new(0));
    let store = Counting(MemoryStore::new(), Arc::clone(&reads));
    let shop = CachedRpcProxy::builder("shop")
        .cache(store)
        .failover_timeout(S(1))
        .build(&client(&broker));
    for _ in 0..10 {
        let _: Reply<u64> = shop.call("get", ()).await.unwrap();
    }
    assert_eq!(reads.load(Ordering::Relaxed), 0);
}

/// An older request whose reply comes later does not replace a newer one's.
///
/// Proves: 6.
#[tokio::test(start_paused = true)]
async fn replies_are_ordered_by_when_they_were_asked_for() {
    let broker = FakeBroker::new();
    broker
        .on("shop.get")
        .reply(Answer::ok("older").after(S(3)))
        .then(Answer::ok("newer").after(S(1)))
        .then(Answer::error("Boom", "x"));
    let shop = CachedRpcProxy::new("shop", &client(&broker));
    let (first, second) = tokio::join!(
        shop.call::<String, _>("get", ()),
        shop.call::<String, _>("get", ())
    );
    assert_eq!(
        (first.unwrap().as_str(), second.unwrap().as_str()),
        ("older", "newer")
    );
    let third: Reply<String> = shop.call("get", ()).await.unwrap();
    assert_eq!(*third, "newer");
}

/// A slow failing call never changes what a later one stored, not even a definitive failure.
///
/// Proves: 7.
#[tokio::test(start_paused = true)]
async fn an_older_definitive_error_does_not_evict_a_newer_answer() {
    let broker = FakeBroker::new();
    broker
        .on("shop.get")
        .reply(Answer::error("NotFound", "not yet").after(S(3)))
        .then(json!(2))
        .then(Answer::error("Boom", "x"));
    let shop = CachedRpcProxy::builder("shop")
        .definitive(["NotFound"])
        .build(&client(&broker));
    let call = || async { shop.call::<u64, _>("get", ()).await };
    let (older, newer) = tokio::join!(call(), call());
    assert!(older.unwrap_err().remote().unwrap().is("NotFound"));
    assert_eq!(*newer.unwrap(), 2);
    assert_eq!(*call().await.unwrap(), 2);
}

/// A record that is gone does not come back with an answer of before, be it late.
///
/// Proves: 11.
#[tokio::test(start_paused = true)]
async fn a_late_answer_does_not_bring_back_what_a_definitive_error_ended() {
    let broker = FakeBroker::new();
    broker
        .on("shop.get")
        .reply(Answer::ok(1).after(S(5)))
        .then(Answer::error("NotFound", "gone").after(S(1)))
        .then(Answer::error("Boom", "x"));
    let shop = CachedRpcProxy::builder("shop")
        .definitive(["NotFound"])
        .build(&client(&broker));
    let call = || async { shop.call::<u64, _>("get", ()).await };
    let (late, gone) = tokio::join!(call(), call());
    assert_eq!(*late.unwrap(), 1);
    assert!(gone.unwrap_err().remote().unwrap().is("NotFound"));
    assert!(call().await.unwrap_err().remote().unwrap().is("Boom"));
}
