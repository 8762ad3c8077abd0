//! Which methods a proxy caches.

use nameko_cachetools::{CacheFirstRpcProxy, Client, ProxyBuilder, Request, Response, transport_fn};

type Builder = ProxyBuilder<nameko_cachetools::CacheFirst, CacheFirstRpcProxy>;

/// Those of `get`, `list` and `set` that are answered from the cache.
async fn cached(settings: fn(Builder) -> Builder) -> Vec<&'static str> {
    let client = Client::new(transport_fn(|_: Request| async {
        Ok(Response::json(r#"{"result": 7, "error": null}"#))
    }));
    let shop = settings(CacheFirstRpcProxy::builder("shop")).build(&client);
    let mut cached = Vec::new();
    for method in ["get", "list", "set"] {
        let mut last = None;
        for _ in 0..2 {
            last = shop.call::<u64, _>(method, ()).await.ok();
        }
        if last.is_some_and(|reply| reply.outcome().is_cached()) {
            cached.push(method);
        }
    }
    cached
}

/// Of several settings the last one counted, and what was named first was answered from the cache.
#[tokio::test(start_paused = true)]
async fn what_was_excepted_once_stays_so() {
    assert_eq!(cached(|b| b).await, ["get", "list", "set"]);
    assert_eq!(cached(|b| b.except(["set"])).await, ["get", "list"]);
    assert_eq!(cached(|b| b.except(["set"]).except(["list"])).await, ["get"]);
    assert_eq!(
        cached(|b| b.only(["get", "list"]).except(["list"])).await,
        ["get"]
    );
    assert_eq!(
        cached(|b| b.except(["list"]).only(["get", "list"])).await,
        ["get"]
    );
    assert_eq!(cached(|b| b.only(["get"]).only(["list"])).await, ["list"]);
}
