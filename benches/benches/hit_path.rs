//! A typed cache-first hit, all in, beside bare lookups with a ready key. `cargo bench -p nameko-cachetools-benches`
#![allow(missing_docs, reason = "criterion's macros make public items")]
#![allow(clippy::expect_used, reason = "a bench may panic")]

use std::{hint::black_box, sync::Arc};

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use nameko_cachetools::{CacheFirst, Key};
use nameko_cachetools_benches::{Hits, KEYS};
use serde::{Deserialize, Serialize};

#[derive(Deserialize)]
#[allow(dead_code, reason = "the benches only share it")]
struct Product {
    id: String,
    title: String,
    price: f64,
    stock: u32,
    tags: Vec<String>,
}

const PRODUCT: &str =
    r#"{"id": "the_odyssey", "title": "The Odyssey", "price": 12.5, "stock": 7, "tags": ["a", "b"]}"#;

#[derive(Serialize)]
struct Search {
    shop: u32,
    currency: &'static str,
    in_stock: bool,
    page: u32,
    order: &'static str,
    limit: u64,
}

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
        .run::<Product, _>(c, |n| {
            (Search {
                shop: 3,
                currency: "EUR",
                in_stock: true,
                page: 1,
                order: "title",
                limit: n,
            },)
        });
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
    let keys: Vec<Key> = (0..KEYS)
        .map(|n| Key::from_bytes(format!("a key of some {n:>13} bytes")))
        .collect();
    let product = || Arc::new(serde_json::from_str::<Product>(PRODUCT).expect("a product"));
    let mut group = c.benchmark_group("bare get with a ready key");

    let quick = quick_cache::sync::Cache::new(10_000);
    keys.iter().for_each(|key| quick.insert(key.clone(), product()));
    group.bench_function(BenchmarkId::from_parameter("quick_cache"), |bencher| {
        let mut keys = keys.iter().cycle();
        bencher.iter(|| black_box(quick.get(keys.next().expect("endless"))));
    });

    let moka = moka::sync::Cache::new(10_000);
    keys.iter().for_each(|key| moka.insert(key.clone(), product()));
    group.bench_function(BenchmarkId::from_parameter("moka"), |bencher| {
        let mut keys = keys.iter().cycle();
        bencher.iter(|| black_box(moka.get(keys.next().expect("endless"))));
    });
    group.finish();
}

criterion_group!(benches, hits, bare);
criterion_main!(benches);
