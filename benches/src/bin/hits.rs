//! Makes so many hits and nothing else: for `valgrind --tool=callgrind`, whose counts are exact on any machine.
//!
//! `hits KIND NUMBER`: the difference of two runs is what a hit costs, without the start of the program. `compare
//! instructions` takes it, and holds it against `benches/baseline.txt`. The kind `bare` asks a bare `quick_cache` with a
//! ready key, which is part of each of ours; `by_hand` a cache that was written by hand for `u64`.
#![allow(clippy::expect_used, reason = "a bench may panic")]

use std::{env, sync::Arc};

use nameko_cachetools::IntoArgs;
use nameko_cachetools_benches::{
    KEYS, Warm,
    by_hand::ByHand,
    product::{PRODUCT, Product, Search},
    ready::{ReadyKey, quick_cache},
    runtime,
};

fn main() {
    let mut words = env::args().skip(1);
    let kind = words.next().unwrap_or_default();
    let number = words.next().and_then(|word| word.parse().ok());
    match (kind.as_str(), number) {
        ("u64", Some(number)) => hits(number, |n| (n,)),
        ("str_u64", Some(number)) => hits(number, |n| ("the_odyssey", n)),
        ("bare", Some(number)) => bare(number),
        ("by_hand", Some(number)) => by_hand(number),
        ("struct6", Some(number)) => hits(number, |n| (Search::page(n),)),
        _ => {
            eprintln!("usage: hits u64|str_u64|struct6|bare|by_hand NUMBER");
            std::process::exit(2);
        }
    }
}

fn hits<A: IntoArgs>(number: u64, args: impl Fn(u64) -> A) {
    let warm = Warm::new::<Product, A>(PRODUCT, KEYS, &args);
    warm.hits(
        number,
        |n, _| args(n % KEYS),
        |product: &Product| product.stock.into(),
    );
}

fn bare(number: u64) {
    let (keys, cache) = (ReadyKey::list(KEYS), quick_cache(KEYS));
    for key in &keys {
        let product: Product = serde_json::from_str(PRODUCT).expect("a product");
        cache.insert(key.clone(), Arc::new(product));
    }
    let mut last = 0;
    for n in 0..number {
        let key = &keys[((n + (last & 0x8000_0000)) % KEYS) as usize];
        last = cache.get(key).map_or(0, |product| product.stock.into());
    }
    std::hint::black_box(last);
}

fn by_hand(number: u64) {
    let cache = ByHand::new(KEYS);
    for n in 0..KEYS {
        cache.put::<Product>(n, serde_json::from_str(PRODUCT).expect("a product"));
    }
    let last =
        runtime().block_on(cache.hits(number, |n, _| n % KEYS, |product: &Product| product.stock.into()));
    std::hint::black_box(last);
}
