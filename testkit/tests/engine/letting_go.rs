//! What a cache holds is its callers' own, and so is the code that runs when it lets go of it.

use std::cell::Cell;

use nameko_cachetools::{CacheFirstRpcProxy, MemoryStore};
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
