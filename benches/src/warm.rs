//! A cache-first proxy whose calls are all in the cache.

use std::time::Duration;

use nameko_cachetools::{
    CacheFirst, CacheFirstRpcProxy, CallError, Client, Clock, IntoArgs, MemoryStore, Reply, Request,
    Response, transport_fn,
};
use serde::de::DeserializeOwned;
use tokio::runtime::Runtime;

use crate::runtime;

/// A proxy of the service `bench`, its client, a runtime of one thread, and calls of `get` that are hits.
#[allow(missing_docs, reason = "said above")]
pub struct Warm {
    pub runtime: Runtime,
    pub client: Client,
    pub proxy: CacheFirstRpcProxy,
}

impl Warm {
    /// Warms the calls with `args(0)` to `args(keys - 1)`, all answered with `reply`, for an hour.
    ///
    /// # Panics
    /// If one of them does not become a hit.
    pub fn new<T, A>(reply: &str, keys: u64, args: impl Fn(u64) -> A) -> Self
    where
        T: DeserializeOwned + Send + Sync + 'static,
        A: IntoArgs,
    {
        let body = format!(r#"{{"result": {reply}, "error": null}}"#);
        let transport = transport_fn(move |_: Request| {
            let response = Response::json(body.clone());
            async move { Ok(response) }
        });
        let client = Client::builder(transport).clock(Clock::Coarse).build();
        let store = MemoryStore::builder()
            .max_entries(keys as usize * 9 / 8 + 64)
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
                    let reply: Result<Reply<T>, _> = proxy.call("get", args(n)).await;
                    assert_eq!(
                        reply.is_ok_and(|reply| reply.outcome().is_cached()),
                        again,
                        "{n}: not a hit"
                    );
                }
            }
        });
        Self {
            runtime,
            client,
            proxy,
        }
    }

    /// Makes so many hits, each with arguments that depend on what the last one returned, as `next(n, last)`; `last` is
    /// what `read` takes from a reply, 0 at first.
    ///
    /// # Panics
    /// If a call fails.
    pub fn hits<T, A>(&self, number: u64, next: impl Fn(u64, u64) -> A, read: impl Fn(&T) -> u64)
    where
        T: DeserializeOwned + Send + Sync + 'static,
        A: IntoArgs,
    {
        let hits = async {
            let mut last = 0;
            for n in 0..number {
                let reply: Reply<T> = self.proxy.call("get", next(n, last)).await?;
                last = read(&reply);
            }
            Ok::<_, CallError>(last)
        };
        std::hint::black_box(self.runtime.block_on(hits).expect("hits don't fail"));
    }
}
