//! Peers that do the same job: arguments in, typed value out, within a TTL. All follow one trace of 100,000 keys by Zipf's
//! law, each call depending on the last value.

use std::{hint::black_box, sync::Arc, time::Duration};

use cached::macros::{cached, concurrent_cached};
use hitbox::policy::PolicyConfig;
use hitbox_backend::format::BincodeFormat;
use hitbox_derive::{CacheableResponse, cached as hitbox_cached};
use hitbox_fn::Cache;
use hitbox_moka::MokaBackend;
use nameko_cachetools_benches::{
    Rounds, Row, Warm,
    product::{PRODUCT, Product},
    zipf,
};
use serde::{Deserialize, Serialize};

const MANY: u64 = 100_000;

/// The same for hitbox, which wants a trait of its own on it.
#[derive(Serialize, Deserialize, Clone, Debug, CacheableResponse)]
struct Held {
    id: String,
    title: String,
    price: f64,
    stock: u32,
    tags: Vec<String>,
}

#[hitbox_cached(prefix = "get")]
async fn hitbox_get(id: u64) -> Held {
    black_box(id);
    serde_json::from_str(PRODUCT).expect("a product")
}

fn product() -> Arc<Product> {
    Arc::new(serde_json::from_str(PRODUCT).expect("a product"))
}

#[cached(max_size = 200_000, ttl_secs = 3600)]
async fn cached_get(method: &'static str, id: u64) -> Arc<Product> {
    black_box((method, id));
    product()
}

#[concurrent_cached(max_size = 200_000, ttl_secs = 3600)]
async fn concurrent_get(method: &'static str, id: u64) -> Arc<Product> {
    black_box((method, id));
    product()
}

pub(crate) fn rows() -> Vec<Row> {
    let trace = zipf(MANY, 1 << 18, 4);
    let warm = Warm::new::<Product, _>(PRODUCT, MANY, |n| (n,));
    let policy = || PolicyConfig::builder().ttl(Duration::from_secs(3600)).build();
    let json = Cache::builder()
        .backend(MokaBackend::builder().max_entries(2 * MANY).build())
        .policy(policy())
        .build();
    let bincode = Cache::builder()
        .backend(
            MokaBackend::builder()
                .max_entries(2 * MANY)
                .value_format(BincodeFormat)
                .build(),
        )
        .policy(policy())
        .build();
    let moka = moka::future::Cache::builder()
        .max_capacity(2 * MANY)
        .time_to_live(Duration::from_secs(3600))
        .build();
    let key = |id: u64| ("bench".to_owned(), "get".to_owned(), id);
    warm.runtime.block_on(async {
        for id in 0..MANY {
            black_box(hitbox_get(id).cache(&json).await);
            black_box(hitbox_get(id).cache(&bincode).await);
            black_box(cached_get("get", id).await);
            black_box(concurrent_get("get", id).await);
            moka.insert(key(id), product()).await;
        }
    });
    // Each follows the trace by itself, in a future of its own.
    let mut places = [0; 6];
    let [
        ours,
        json_place,
        bincode_place,
        cached_place,
        concurrent_place,
        moka_place,
    ] = &mut places;
    macro_rules! follow {
        ($place:ident, $id:ident => $call:expr) => {
            |number: u64| {
                warm.runtime.block_on(async {
                    let mut last = 0;
                    for n in *$place..*$place + number {
                        let $id = trace[(n + (last & 0x8000_0000)) as usize % trace.len()];
                        last = u64::from($call.stock);
                    }
                    black_box(last);
                });
                *$place += number;
            }
        };
    }
    // Long, since each candidate begins with the processor's caches full of what the others left there.
    let rounds = Rounds::run(
        31,
        100_000,
        &mut [
            &mut follow!(ours, id => warm.proxy.call::<Product, _>("get", (id,)).await.expect("a hit")),
            &mut follow!(json_place, id => hitbox_get(id).cache(&json).await),
            &mut follow!(bincode_place, id => hitbox_get(id).cache(&bincode).await),
            &mut follow!(cached_place, id => cached_get("get", id).await),
            &mut follow!(concurrent_place, id => concurrent_get("get", id).await),
            &mut follow!(moka_place, id => moka.get(&key(id)).await.expect("a hit")),
        ],
    );
    let row = |peer: usize, name: &str, must: f64| {
        let medians = (rounds.median(0), rounds.median(peer));
        Row::faster(format!("hit, end to end, Zipf, against {name}"), "ns", medians)
            .measured(rounds.ratio(0, peer))
            .target(must, must)
    };
    vec![
        row(1, "hitbox with JSON, its default", 15.0),
        row(2, "hitbox with bincode", 8.0),
        row(3, "cached's async macro", 2.0),
        row(4, "cached's concurrent macro", 1.5),
        row(5, "moka future, hand-made key", 3.0),
    ]
}
