//! A dead service is noticed and found alive again, whoever leaves meanwhile, and however often it is looked at.

use std::{
    future::pending,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use async_trait::async_trait;
use nameko_cachetools::{
    Breaker, CachedRpcProxy, Entry, Failover, Key, MemoryStore, Moment, Put, Reason, Reply, Store, StoreError,
};
use nameko_cachetools_testkit::FakeBroker;
use serde_json::json;
use tokio::time::{Instant, sleep};

use crate::{MS, S, client};

/// All callers leave before patience ends, and nobody is there to say that the service is silent.
///
/// Proves: 48.
#[tokio::test(start_paused = true)]
async fn silence_counts_also_when_everybody_has_left() {
    let broker = FakeBroker::new();
    broker.on("shop.get").reply(json!(1));
    let shop = CachedRpcProxy::builder("shop")
        .policy(Failover::after(MS(300)))
        .build(&client(&broker));
    let _: Reply<u64> = shop.call("get", ()).await.unwrap();
    let _stopped = broker.silent("shop");
    let mut reasons = Vec::new();
    let start = Instant::now();
    while start.elapsed() < S(40) {
        let hurried: Reply<u64> = shop.call("get", ()).timeout(MS(100)).await.unwrap();
        reasons.push((hurried.outcome().reason(), start.elapsed()));
        sleep(MS(100)).await;
    }
    let first = reasons.iter().find(|(reason, _)| *reason == Reason::CircuitOpen);
    let (_, opened) = first.unwrap();
    assert!(
        (S(30)..S(32)).contains(opened),
        "five requests without an answer for the policy's call_timeout: {opened:?}"
    );
}

/// A store that answers only while it is told to.
#[derive(Clone, Default)]
struct Stalls(Arc<AtomicBool>, MemoryStore);

#[async_trait]
impl Store for Stalls {
    async fn get(&self, key: &Key, now: Moment) -> Result<Option<Entry>, StoreError> {
        match self.0.load(Ordering::Relaxed) {
            true => pending().await,
            false => self.1.get(key, now).await,
        }
    }

    async fn put(&self, key: &Key, entry: Entry) -> Result<Put, StoreError> {
        self.1.put(key, entry).await
    }

    async fn remove(&self, key: &Key, seen: Option<&Entry>) -> Result<bool, StoreError> {
        self.1.remove(key, seen).await
    }

    async fn clear(&self) -> Result<(), StoreError> {
        self.1.clear().await
    }
}

/// Who is told to look again may leave while the store is read. Each one who did took the turn along, and since pauses
/// double, a service that was back was not looked at for long.
///
/// Proves: 49, E8.
#[tokio::test(start_paused = true)]
async fn whoever_leaves_takes_no_turn_to_look_along() {
    let broker = FakeBroker::new();
    broker.on("shop.get").reply(json!(1));
    let store = Stalls::default();
    let shop = CachedRpcProxy::builder("shop")
        .policy(Failover::after(MS(300)))
        .cache(store.clone())
        .build(&client(&broker));
    let call = || shop.call::<u64, _>("get", ()).into_future();
    call().await.unwrap();
    let silence = broker.silent("shop");
    for _ in 0..5 {
        call().await.unwrap();
    }
    silence.end();
    sleep(MS(1)).await;
    store.0.store(true, Ordering::Relaxed);
    for _ in 0..13 {
        assert!(tokio::time::timeout(MS(100), call()).await.is_err());
    }
    store.0.store(false, Ordering::Relaxed);
    assert_eq!(call().await.unwrap().outcome().reason(), Reason::CircuitOpen);
    sleep(MS(1)).await;
    assert!(!call().await.unwrap().outcome().is_cached(), "it was looked at");
}

/// However short the pauses, what nobody waits for is bounded.
///
/// Proves: 32, R19.
#[tokio::test(start_paused = true)]
async fn no_more_look_again_at_once_than_may() {
    let broker = FakeBroker::new();
    broker.on("shop.get").reply(json!(1));
    let breaker = Breaker::default().after_failures(1).pauses(MS(1), MS(1));
    let shop = CachedRpcProxy::builder("shop")
        .policy(Failover::after(MS(300)).breaker(breaker))
        .build(&client(&broker));
    let call = || shop.call::<u64, _>("get", ()).into_future();
    call().await.unwrap();
    let _stopped = broker.silent("shop");
    for _ in 0..101 {
        call().await.unwrap();
        sleep(MS(2)).await;
    }
    assert_eq!((broker.in_flight(), shop.stats().refreshes_skipped), (1 + 64, 36));
}
