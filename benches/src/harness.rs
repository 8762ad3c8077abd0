//! A criterion benchmark of hits, for any store, policy and arguments.

use std::{future::IntoFuture, hint::black_box, sync::Arc};

use criterion::Criterion;
use nameko_cachetools::{
    CacheFirst, CacheFirstRpcProxy, Client, Clock, IntoArgs, MemoryStore, Policy, Reply, Request, Response,
    Store, transport_fn,
};
use serde::de::DeserializeOwned;

use crate::{KEYS, runtime};

/// One benchmark of cache-first hits, all in: key from the arguments, lookup, age, counters, typed value, `.await`.
pub struct Hits {
    name: String,
    store: Arc<dyn Store>,
    policy: Arc<dyn Policy>,
    reply: String,
}

impl Hits {
    /// A benchmark with a [`MemoryStore`], [`CacheFirst::original`] and a result of `7`.
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            store: Arc::new(MemoryStore::new()),
            policy: Arc::new(CacheFirst::original()),
            reply: "7".to_owned(),
        }
    }

    /// Another store.
    #[must_use]
    pub fn store(self, store: impl Store) -> Self {
        Self {
            store: Arc::new(store),
            ..self
        }
    }

    /// Another policy; one that does not read first has no hits.
    #[must_use]
    pub fn policy(self, policy: impl Policy) -> Self {
        Self {
            policy: Arc::new(policy),
            ..self
        }
    }

    /// Another result, as JSON text.
    #[must_use]
    pub fn reply(self, json: impl Into<String>) -> Self {
        Self {
            reply: json.into(),
            ..self
        }
    }

    /// Warms [`KEYS`] calls, and measures hits.
    ///
    /// # Panics
    /// If a warm call is not answered from the cache: the figure would be of something else.
    pub fn run<T, A>(self, c: &mut Criterion, args: impl Fn(u64) -> A)
    where
        T: DeserializeOwned + Send + Sync + 'static,
        A: IntoArgs,
    {
        let runtime = runtime();
        let body = format!(r#"{{"result": {}, "error": null}}"#, self.reply);
        let transport = transport_fn(move |_: Request| {
            let response = Response::json(body.clone());
            async move { Ok(response) }
        });
        let client = Client::builder(transport).clock(Clock::Coarse).build();
        let proxy = CacheFirstRpcProxy::builder("bench")
            .cache(self.store)
            .policy(self.policy)
            .build(&client);
        let call = |n: u64| proxy.call::<T, A>("get", args(n % KEYS)).into_future();
        runtime.block_on(async {
            for n in 0..KEYS {
                let _ = call(n).await;
                let again: Result<Reply<T>, _> = call(n).await;
                assert!(
                    again.is_ok_and(|reply| reply.outcome().is_cached()),
                    "{}: not a hit",
                    self.name
                );
            }
        });
        let mut n = 0;
        c.bench_function(&self.name, |bencher| {
            bencher.iter_custom(|rounds| {
                runtime.block_on(async {
                    let start = std::time::Instant::now();
                    for _ in 0..rounds {
                        n += 1;
                        let _ = black_box(call(n).await);
                    }
                    start.elapsed()
                })
            });
        });
    }
}
