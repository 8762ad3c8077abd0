//! A typed cache-first hit, all in, beside bare lookups with a ready key. `cargo bench -p nameko-cachetools-benches`
#![allow(missing_docs, reason = "criterion's macros make public items")]
#![allow(clippy::expect_used, reason = "a bench may panic")]

use std::{hint::black_box, sync::Arc};

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use nameko_cachetools::CacheFirst;
use nameko_cachetools_benches::{
    Hits, KEYS,
    product::{PRODUCT, Product, Search},
    ready::{self, ReadyKey},
};

fn hits(c: &mut Criterion) {
    Hits::new("hit/(u64) -> u64").run::<u64, _>(c, |n| (n,));
    Hits::new("hit/(u64) -> Product")
        .reply(PRODUCT)
        .run::<Product, _>(c, |n| (n,));
    Hits::new("hit/(str, u64) -> Product")
        .reply(PRODUCT)
        .run::<Product, _>(c, |n| ("the_odyssey", n));
    Hits::new("hit/struct of 6 -> Product")
        .reply(PRODUCT)
        .run::<Product, _>(c, |n| (Search::page(n),));
    let rows = format!("[{}]", [PRODUCT; 100].join(", "));
    Hits::new("hit/(u64) -> 100 Products (9 KB)")
        .reply(rows)
        .run::<Vec<Product>, _>(c, |n| (n,));
    Hits::new("hit/(u64) -> u64, HashMap store")
        .store(std::sync::RwLock::new(std::collections::HashMap::new()))
        .policy(CacheFirst::original())
        .run::<u64, _>(c, |n| (n,));
}

/// The same 64 keys, ready made; the value a shared product.
fn bare(c: &mut Criterion) {
    let keys = ReadyKey::list(KEYS);
    let product = || Arc::new(serde_json::from_str::<Product>(PRODUCT).expect("a product"));
    let mut group = c.benchmark_group("bare get with a ready key");

    let quick = ready::quick_cache(KEYS);
    keys.iter().for_each(|key| quick.insert(key.clone(), product()));
    group.bench_function(BenchmarkId::from_parameter("quick_cache"), |bencher| {
        let mut keys = keys.iter().cycle();
        bencher.iter(|| black_box(quick.get(keys.next().expect("endless"))));
    });

    let moka = ready::moka(KEYS);
    keys.iter().for_each(|key| moka.insert(key.clone(), product()));
    group.bench_function(BenchmarkId::from_parameter("moka"), |bencher| {
        let mut keys = keys.iter().cycle();
        bencher.iter(|| black_box(moka.get(keys.next().expect("endless"))));
    });
    group.finish();
}

criterion_group!(benches, hits, bare);
criterion_main!(benches);
