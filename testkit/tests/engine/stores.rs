//! Whatever a store does, a call ends no worse than without one.

use std::{
    cell::Cell,
    collections::HashMap,
    future::pending,
    sync::{Arc, Mutex},
    time::Duration,
};

use async_trait::async_trait;
use nameko_cachetools::{
    CacheFirst, CacheFirstRpcProxy, CachedRpcProxy, Client, Entry, Key, MemoryStore, Moment, Put, Reply,
    Store, StoreError,
};
use nameko_cachetools_testkit::{Answer, FakeBroker};
use serde_json::json;
use tokio::time::Instant;

use crate::{MS, S, client};

#[derive(Clone, Copy, Debug)]
enum Trouble {
    Error,
    Panic,
    Stall,
}

impl Trouble {
    async fn strike<T>(self) -> Result<T, StoreError> {
        match self {
            Self::Error => Err(StoreError::new("the store is in trouble")),
            Self::Panic => unreachable!("the store panics, as it should"),
            Self::Stall => pending().await,
        }
    }
}

#[async_trait]
impl Store for Trouble {
    async fn get(&self, _: &Key, _: Moment) -> Result<Option<Entry>, StoreError> {
        self.strike().await
    }

    async fn put(&self, _: &Key, _: Entry) -> Result<Put, StoreError> {
        self.strike().await
    }

    async fn remove(&self, _: &Key, _: Option<&Entry>) -> Result<bool, StoreError> {
        self.strike().await
    }

    async fn clear(&self) -> Result<(), StoreError> {
        self.strike().await
    }
}

/// Proves: 25, 65, S9.
#[tokio::test(start_paused = true)]
async fn a_store_in_trouble_costs_one_store_timeout_and_nothing_else() {
    for (trouble, wait) in [
        (Trouble::Error, MS(0)),
        (Trouble::Panic, MS(0)),
        (Trouble::Stall, MS(250)),
    ] {
        let broker = FakeBroker::new();
        broker.on("shop.get").reply(Answer::ok(7).after(MS(10)));
        let client = client(&broker);
        let cache_first = CacheFirstRpcProxy::builder("shop").cache(trouble).build(&client);
        let start = Instant::now();
        assert_eq!(
            *cache_first.call::<u64, _>("get", ()).await.unwrap(),
            7,
            "{trouble:?}"
        );
        assert_eq!(start.elapsed(), wait + MS(10), "{trouble:?}");
        tokio::time::sleep(S(1)).await;
        assert_eq!(
            cache_first.stats().store_troubles,
            2,
            "{trouble:?}: one reading, one writing"
        );

        let failover = CachedRpcProxy::builder("shop")
            .cache(trouble)
            .failover_timeout(S(1))
            .build(&client);
        let start = Instant::now();
        assert_eq!(
            *failover.call::<u64, _>("get", ()).await.unwrap(),
            7,
            "{trouble:?}"
        );
        assert_eq!(
            start.elapsed(),
            MS(10),
            "{trouble:?}: a healthy service needs no store"
        );
    }
}

/// A dead store with a limit of its own that is longer than the call's: read before the request, and again in place of
/// the answer, it used to be waited for twice.
///
/// Proves: 25, E7.
#[tokio::test(start_paused = true)]
async fn a_call_lasts_no_longer_than_its_limit_and_one_wait_for_the_store() {
    let broker = FakeBroker::new();
    broker.on("shop.get").reply(Answer::never());
    let shop = CacheFirstRpcProxy::builder("shop")
        .cache(Trouble::Stall)
        .build(&client(&broker));
    let start = Instant::now();
    let error = shop.call::<u64, _>("get", ()).timeout(MS(100)).await.unwrap_err();
    assert!(error.is_timeout(), "{error}");
    assert_eq!(start.elapsed(), MS(100) + MS(250));
}

/// A store that answers only when asked, as one across a network does.
struct Remote(MemoryStore);

#[async_trait]
impl Store for Remote {
    async fn get(&self, key: &Key, now: Moment) -> Result<Option<Entry>, StoreError> {
        tokio::time::sleep(MS(2)).await;
        // What comes over a network is bytes.
        let entry = self.0.get(key, now).await?;
        Ok(entry.map(|entry| Entry::new(entry.sent_at(), entry.body().clone())))
    }

    async fn put(&self, key: &Key, entry: Entry) -> Result<Put, StoreError> {
        tokio::time::sleep(MS(2)).await;
        self.0.put(key, entry).await
    }

    async fn remove(&self, key: &Key, seen: Option<&Entry>) -> Result<bool, StoreError> {
        self.0.remove(key, seen).await
    }

    async fn clear(&self) -> Result<(), StoreError> {
        self.0.clear().await
    }
}

/// Proves: 71.
#[tokio::test(start_paused = true)]
async fn a_remote_store_serves_typed_values_and_delays_no_reply() {
    let broker = FakeBroker::new();
    broker.on("shop.get").expect(1).reply(json!([1, 2]));
    let shop = CacheFirstRpcProxy::builder("shop")
        .cache(Remote(MemoryStore::new()))
        .build(&client(&broker));
    let start = Instant::now();
    let live: Reply<Vec<u64>> = shop.call("get", ()).await.unwrap();
    assert_eq!(
        (start.elapsed(), live.outcome().is_cached()),
        (MS(2), false),
        "the read, and not the write"
    );
    tokio::time::sleep(MS(2)).await;
    let cached: Reply<Vec<u64>> = shop.call("get", ()).await.unwrap();
    assert_eq!(
        (cached.as_slice(), cached.outcome().is_cached()),
        (&[1, 2][..], true)
    );
}

/// A store that has this, sent so far from now, under every key.
struct Has {
    text: &'static str,
    ahead: Duration,
}

#[async_trait]
impl Store for Has {
    async fn get(&self, _: &Key, now: Moment) -> Result<Option<Entry>, StoreError> {
        Ok(Some(Entry::new(now.after(self.ahead), self.text)))
    }

    async fn put(&self, _: &Key, _: Entry) -> Result<Put, StoreError> {
        Ok(Put::Older)
    }

    async fn remove(&self, _: &Key, _: Option<&Entry>) -> Result<bool, StoreError> {
        Ok(false)
    }

    async fn clear(&self) -> Result<(), StoreError> {
        Ok(())
    }
}

/// Proves: 66.
#[tokio::test(start_paused = true)]
async fn an_entry_that_cannot_be_read_is_a_miss() {
    for text in ["", "{", "garbage", "\"text\"", "[7]", "7 7", "-1"] {
        let broker = FakeBroker::new();
        broker
            .on("shop.get")
            .reply(json!(7))
            .then(Answer::error("Boom", "as planned"));
        let shop = CacheFirstRpcProxy::builder("shop")
            .cache(Has { text, ahead: MS(0) })
            .build(&client(&broker));
        let live: Reply<u64> = shop.call("get", ()).await.unwrap();
        assert_eq!((*live, live.outcome().is_cached()), (7, false), "{text:?}");
        let error = shop.call::<u64, _>("get", ()).await.unwrap_err();
        assert!(error.remote().unwrap().is("Boom"), "nothing to stand in: {error}");
    }
}

/// Proves: 41.
#[tokio::test(start_paused = true)]
async fn an_entry_from_the_future_is_stale_and_beyond_a_minute_none() {
    let cases = [
        (MS(0), "hit; ttl=100"),
        (S(1), "hit; ttl=100"),
        (S(2), "fwd=stale; fwd-status=500; ttl=0; detail=server-fault"),
        (S(60), "fwd=stale; fwd-status=500; ttl=0; detail=server-fault"),
        (S(61), "Boom"),
        (S(1_000_000), "Boom"),
    ];
    for (ahead, expected) in cases {
        let broker = FakeBroker::new();
        broker.on("shop.get").reply(Answer::error("Boom", "as planned"));
        let shop = CacheFirstRpcProxy::builder("shop")
            .policy(CacheFirst::fresh_for(S(100)))
            .cache(Has { text: "1", ahead })
            .build(&client(&broker));
        let said = match shop.call::<u64, _>("get", ()).await {
            Ok(reply) => crate::told(&reply),
            Err(error) => error.remote().unwrap().exc_type.clone(),
        };
        assert_eq!(said, expected, "{ahead:?} ahead");
    }
}

/// Proves: 68.
#[tokio::test(start_paused = true)]
async fn an_answer_too_large_for_the_store_is_returned() {
    let broker = FakeBroker::new();
    broker.on("shop.get").expect(2).reply(json!("x".repeat(10_000)));
    let shop = CacheFirstRpcProxy::builder("shop")
        .cache(MemoryStore::builder().max_bytes(64 << 10).build())
        .build(&client(&broker));
    for _ in 0..2 {
        let reply: Reply<String> = shop.call("get", ()).await.unwrap();
        assert_eq!((reply.len(), reply.outcome().is_stored()), (10_000, false));
    }
}

/// As a dict served several proxies in the original: what one asked for, the other has.
#[tokio::test(start_paused = true)]
async fn one_store_serves_several_proxies() {
    let broker = FakeBroker::new();
    broker.on("shop.get").expect(1).reply(json!(7));
    let client = client(&broker);
    let dict: Arc<Mutex<HashMap<Key, Entry>>> = Arc::default();
    let failover = CachedRpcProxy::builder("shop")
        .cache(Arc::clone(&dict))
        .build(&client);
    let cache_first = CacheFirstRpcProxy::builder("shop")
        .cache(Arc::clone(&dict))
        .build(&client);
    let _: Reply<u64> = failover.call("get", ()).await.unwrap();
    let hit: Reply<u64> = cache_first.call("get", ()).await.unwrap();
    assert!(hit.outcome().is_cached());
    assert_eq!(dict.lock().unwrap().len(), 1);
}

/// Two proxies of one service and store, but of clients with namespaces of their own, stay apart.
///
/// Proves: 56, K11.
#[tokio::test(start_paused = true)]
async fn namespaces_keep_clients_apart() {
    let broker = FakeBroker::new();
    broker.on("shop.get").expect(2).reply(json!(7));
    let store = MemoryStore::new();
    for namespace in ["staging", "production"] {
        let client = Client::builder(broker.transport()).namespace(namespace).build();
        let shop = CacheFirstRpcProxy::builder("shop")
            .cache(store.clone())
            .build(&client);
        let _: Reply<u64> = shop.call("get", ()).await.unwrap();
    }
}

/// Entries that a slow store is still taking are bounded; the surplus is not stored.
///
/// Proves: 71, R19.
#[tokio::test(start_paused = true)]
async fn a_slow_store_holds_no_more_entries_than_it_may() {
    let broker = FakeBroker::new();
    broker.on("shop.get").reply(json!(7));
    let shop = CachedRpcProxy::builder("shop")
        .cache(Trouble::Stall)
        .build(&client(&broker));
    for n in 0..300u64 {
        let _: Reply<u64> = shop.call("get", (n,)).await.unwrap();
    }
    assert_eq!(shop.stats().store_troubles, 300 - 256);
    tokio::time::sleep(S(1)).await;
    assert_eq!(shop.stats().store_troubles, 300, "all of them ran out of time");
}

thread_local! {
    static ARMED: Cell<bool> = const { Cell::new(false) };
}

/// Panics when it is dropped, once, if it is armed.
#[derive(serde::Deserialize)]
struct Bomb(u64);

impl Drop for Bomb {
    fn drop(&mut self) {
        assert!(!ARMED.replace(false), "it panics, as it should");
    }
}

/// What a store holds is its callers' own, and so is the code that runs when it lets go of it.
#[tokio::test(start_paused = true)]
async fn a_value_that_panics_when_it_is_dropped_costs_no_call() {
    let broker = FakeBroker::new();
    broker.on("shop.get").reply(json!(1)).then(json!(2));
    let shop = CacheFirstRpcProxy::new("shop", &client(&broker));
    let call = || shop.call::<Bomb, _>("get", ());
    drop(call().await.unwrap());
    ARMED.set(true);
    assert_eq!(call().reload().await.unwrap().0, 2);
    assert!(!ARMED.get(), "the store let go of the first value");
    assert_eq!(shop.stats().store_troubles, 1);
    assert_eq!((call().await.unwrap().0, shop.stats().errors), (2, 0));
}

/// The same where a call finds it too old, and lets go of it itself.
#[tokio::test(start_paused = true)]
async fn nor_does_one_that_a_call_finds_too_old() {
    let broker = FakeBroker::new();
    broker.on("shop.get").reply(json!(1)).then(json!(2));
    let shop = CacheFirstRpcProxy::builder("shop")
        .cache(MemoryStore::ttl(10, S(1)))
        .build(&client(&broker));
    let call = || shop.call::<Bomb, _>("get", ());
    drop(call().await.unwrap());
    tokio::time::sleep(S(1)).await;
    ARMED.set(true);
    assert_eq!(call().await.unwrap().0, 2);
    assert!(!ARMED.get(), "the call let go of the first value");
    assert_eq!((call().await.unwrap().0, shop.stats().errors), (2, 0));
}
