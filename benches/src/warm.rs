//! A cache-first proxy whose calls are all in the cache.

use std::time::Duration;

use nameko_cachetools::{
    CacheFirst, CacheFirstRpcProxy, Client, Clock, IntoArgs, MemoryStore, Reply, Request, Response,
    transport_fn,
};
use tokio::runtime::Runtime;

use crate::{product::Product, runtime};

/// A proxy of the service `bench`, a runtime of one thread, and calls of `get` that are hits.
#[allow(missing_docs, reason = "said above")]
pub struct Warm {
    pub runtime: Runtime,
    pub proxy: CacheFirstRpcProxy,
}

impl Warm {
    /// Warms the calls with `args(0)` to `args(keys - 1)`, all answered with `reply`, for an hour.
    ///
    /// # Panics
    /// If one of them does not become a hit.
    pub fn new<A: IntoArgs>(reply: &str, keys: u64, args: impl Fn(u64) -> A) -> Self {
        let body = format!(r#"{{"result": {reply}, "error": null}}"#);
        let transport = transport_fn(move |_: Request| {
            let response = Response::json(body.clone());
            async move { Ok(response) }
        });
        let client = Client::builder(transport).clock(Clock::Coarse).build();
        let store = MemoryStore::builder()
            .max_entries(2 * keys as usize)
            .max_bytes(1 << 40)
            .build();
        let proxy = CacheFirstRpcProxy::builder("bench")
            .cache(store)
            .policy(CacheFirst::fresh_for(Duration::from_secs(3600)))
            .build(&client);
        let runtime = runtime();
        runtime.block_on(async {
            for n in 0..keys {
                for again in [false, true] {
                    let reply: Result<Reply<Product>, _> = proxy.call("get", args(n)).await;
                    assert_eq!(reply.is_ok_and(|reply| reply.outcome().is_cached()), again, "{n}");
                }
            }
        });
        Self { runtime, proxy }
    }
}
