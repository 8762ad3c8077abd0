//! What the cache adds to calls that the service answers: failover while it is healthy, and a miss that nobody shares.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use nameko_cachetools::{
    CacheFirst, CacheFirstRpcProxy, CachedRpcProxy, CallError, Client, Clock, Entry, Failover, Key,
    MemoryStore, Moment, Peek, Put, Request, Response, Store, StoreError, transport_fn,
};
use nameko_cachetools_benches::{
    Rounds, Row,
    product::{PRODUCT, Product},
    runtime,
};

use crate::Rows;

pub(crate) fn rows() -> Rows {
    let body = format!(r#"{{"result": {PRODUCT}, "error": null}}"#);
    // A reply that is not there at once, as none is, but takes no time.
    let transport = transport_fn(move |_: Request| {
        let response = Response::json(body.clone());
        async move {
            tokio::task::yield_now().await;
            Ok(response)
        }
    });
    let client = Client::builder(transport).clock(Clock::Coarse).build();
    let reads = Arc::new(AtomicU64::new(0));
    let plain = client.service("bench");
    let failover = CachedRpcProxy::builder("bench")
        .policy(Failover::after(Duration::from_millis(300)))
        .cache(Watched(MemoryStore::new(), Arc::clone(&reads)))
        .build(&client);
    let missed = CacheFirstRpcProxy::builder("bench")
        .policy(CacheFirst::fresh_for(Duration::from_secs(60)))
        .build(&client);
    let runtime = runtime();
    // The coarse clock's tick, and tokio's timers, run in either.
    macro_rules! calls {
        ($proxy:expr, $next:expr) => {
            |number| {
                let calls = async {
                    for _ in 0..number {
                        let product = $proxy.call::<Product, _>("get", ($next,)).await?;
                        std::hint::black_box(product.stock);
                    }
                    Ok::<_, CallError>(())
                };
                runtime.block_on(calls).expect("the service answers");
            }
        };
    }
    let mut fresh = 0u64;
    let mut next = || {
        fresh += 1;
        fresh
    };
    let rounds = Rounds::run(
        41,
        4_000,
        &mut [
            &mut calls!(plain, 7u64),
            &mut calls!(failover, 7u64),
            &mut calls!(missed, next()),
        ],
    );
    let row = |name: &str, candidate: usize| {
        let (extra, noise) = rounds.difference(candidate, 0);
        let mut row = Row::alone(name, "µs", extra / 1000.0).target(2.0, 1.0);
        row.noise = noise;
        row
    };
    Ok(vec![
        row("healthy failover call, CPU beyond the plain call", 1),
        Row::alone(
            "healthy failover call, store reads",
            "",
            reads.load(Ordering::Relaxed) as f64,
        )
        .target(0.0, 0.0),
        row("lone miss, CPU beyond the plain call", 2),
    ])
}

/// Counts reads.
struct Watched(MemoryStore, Arc<AtomicU64>);

#[async_trait]
impl Store for Watched {
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
