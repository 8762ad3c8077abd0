//! What a store lets go of runs its owner's code, which may ask the same store.

use std::{
    cell::Cell,
    collections::HashMap,
    future::IntoFuture as _,
    sync::{Arc, Mutex, OnceLock, RwLock, mpsc},
    thread,
    time::Duration,
};

use nameko_cachetools::{
    CacheFirst, CacheFirstRpcProxy, Client, Entry, Key, Request, Response, Store, transport_fn,
};

/// Asks its own cache when it is dropped.
#[derive(serde::Deserialize)]
struct Asks(#[allow(dead_code, reason = "it has to be decoded")] u64);

static SHOP: OnceLock<Mutex<Option<CacheFirstRpcProxy>>> = OnceLock::new();

impl Drop for Asks {
    fn drop(&mut self) {
        let shop = SHOP.get().and_then(|shop| shop.lock().ok()?.clone());
        if let Some(shop) = shop {
            drop(shop.call::<u64, _>("get", ()).into_future());
        }
    }
}

fn client() -> Client {
    Client::new(transport_fn(|_: Request| async {
        Ok(Response::json(r#"{"result": 7, "error": null}"#))
    }))
}

/// Replaces a value, removes one, and clears a store that holds one.
async fn let_go<S: Store>(store: Arc<S>) -> Option<()> {
    let shop = CacheFirstRpcProxy::builder("shop")
        .cache(Arc::clone(&store))
        .build(&client());
    *SHOP.get_or_init(Mutex::default).lock().ok()? = Some(shop.clone());
    let get = || shop.call::<Asks, _>("get", ());
    get().await.ok()?;
    get().reload().await.ok()?;
    get().invalidate().await;
    get().await.ok()?;
    store.clear().await.ok()
}

/// They waited for themselves.
#[test]
fn a_value_in_a_map_may_ask_its_store_when_it_is_dropped() {
    let (ended, end) = mpsc::channel();
    thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let all = runtime.map(|runtime| {
            runtime.block_on(async {
                let_go(Arc::new(Mutex::new(HashMap::<Key, Entry>::new()))).await?;
                let_go(Arc::new(RwLock::new(HashMap::<Key, Entry>::new()))).await
            })
        });
        ended.send(all)
    });
    let all = end.recv_timeout(Duration::from_secs(60));
    assert!(matches!(all, Ok(Ok(Some(())))), "{all:?}");
}

thread_local! {
    static ARMED: Cell<bool> = const { Cell::new(false) };
}

#[derive(serde::Deserialize)]
struct Bomb(#[allow(dead_code, reason = "it has to be decoded")] u64);

impl Drop for Bomb {
    fn drop(&mut self) {
        assert!(!ARMED.take(), "it panics, as it should");
    }
}

/// The call kept the stale value until its reply was there, was its last owner, and panicked instead of answering.
#[tokio::test(start_paused = true)]
async fn a_value_that_panics_when_it_is_replaced_costs_no_call() {
    let second = Duration::from_secs(1);
    let shop = CacheFirstRpcProxy::builder("shop")
        .policy(CacheFirst::fresh_for(second))
        .build(&client());
    let call = async || shop.call::<Bomb, _>("get", ()).await.map(drop);
    assert!(call().await.is_ok());
    tokio::time::sleep(second).await;
    ARMED.set(true);
    assert!(call().await.is_ok());
    assert_eq!((ARMED.get(), shop.stats().store_troubles), (false, 1));
}
