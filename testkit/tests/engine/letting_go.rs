//! What a cache holds is its callers' own, and so is the code that runs when it lets go of it.

use std::{cell::Cell, future::pending, thread};

use async_trait::async_trait;
use nameko_cachetools::{CacheFirstRpcProxy, Entry, Key, MemoryStore, Moment, Put, Scope, Store, StoreError};
use nameko_cachetools_testkit::FakeBroker;
use serde_json::{Value, json};

use crate::client;

thread_local! {
    /// So many values are dropped until one panics; 0: none does.
    static ARMED: Cell<usize> = const { Cell::new(0) };
}

#[derive(serde::Deserialize)]
struct Bomb(#[allow(dead_code, reason = "it has to be decoded")] Value);

impl Drop for Bomb {
    fn drop(&mut self) {
        let left = ARMED.get();
        ARMED.set(left.saturating_sub(1));
        assert!(left != 1, "it panics, as it should");
    }
}

/// A large entry makes many small ones leave. One of them panicked in the middle of it, and left the cache in pieces: the
/// new entry was lost, and some later calls panicked.
///
/// Proves: E14.
#[tokio::test(start_paused = true)]
async fn a_value_that_panics_when_it_is_evicted_leaves_the_store_whole() {
    let broker = FakeBroker::new();
    broker.on("shop.get").reply(json!(1));
    broker.on("shop.list").reply(json!("x".repeat(3500)));
    let store = MemoryStore::builder().max_bytes(64 << 10).build();
    let shop = CacheFirstRpcProxy::builder("shop")
        .cache(store.clone())
        .build(&client(&broker));
    let call = async |method, n: u64| drop(shop.call::<Bomb, _>(method, (n,)).await.unwrap());
    for n in 0..1000 {
        call("get", n).await;
        call("get", n).await;
    }
    let mut panics = 0;
    for n in 0..60 {
        ARMED.set(4);
        call("list", n).await;
        panics += u64::from(ARMED.replace(0) == 0);
        let stored = shop.call::<Bomb, _>("list", (n,)).only_if_cached().await;
        assert!(stored.is_ok(), "{n}");
    }
    assert!(panics > 0 && shop.stats().store_troubles == panics);
    for n in 0..1000 {
        call("get", n).await;
        call("get", n).await;
    }
    assert_eq!(shop.stats().errors, 0);
}

/// A call finds that it was invalidated, takes it out of the store, and is its last owner.
///
/// Proves: E14.
#[tokio::test(start_paused = true)]
async fn a_value_that_panics_when_it_was_invalidated_costs_no_call() {
    let broker = FakeBroker::new();
    broker.on("shop.get").reply(json!(1));
    let client = client(&broker);
    let shop = CacheFirstRpcProxy::new("shop", &client);
    drop(shop.call::<Bomb, _>("get", ()).await.unwrap());
    client.invalidate(&Scope::Everything);
    ARMED.set(1);
    assert!(shop.call::<Bomb, _>("get", ()).await.is_ok());
    assert_eq!((ARMED.get(), shop.stats().store_troubles), (0, 1));
}

/// A store that doesn't answer, and doesn't like it when nobody waits for that.
struct Sensitive;

impl Drop for Sensitive {
    fn drop(&mut self) {
        assert!(thread::panicking(), "it panics, as it should");
    }
}

struct Sulks;

#[async_trait]
impl Store for Sulks {
    async fn get(&self, _: &Key, _: Moment) -> Result<Option<Entry>, StoreError> {
        let _sensitive = Sensitive;
        pending().await
    }

    async fn put(&self, _: &Key, _: Entry) -> Result<Put, StoreError> {
        Ok(Put::Stored)
    }

    async fn remove(&self, _: &Key, _: Option<&Entry>) -> Result<bool, StoreError> {
        Ok(false)
    }

    async fn clear(&self) -> Result<(), StoreError> {
        Ok(())
    }
}

/// Proves: 65, S9.
#[tokio::test(start_paused = true)]
async fn a_store_that_panics_when_it_is_given_up_costs_no_call() {
    let broker = FakeBroker::new();
    broker.on("shop.get").reply(json!(1));
    let shop = CacheFirstRpcProxy::builder("shop")
        .cache(Sulks)
        .build(&client(&broker));
    assert_eq!(*shop.call::<u64, _>("get", ()).await.unwrap(), 1);
    assert_eq!(shop.stats().store_troubles, 1);
}
