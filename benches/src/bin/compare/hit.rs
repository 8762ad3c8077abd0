//! A typed hit, all in, beside bare caches that are asked with a ready key.

use std::sync::Arc;

use nameko_cachetools::Scope;
use nameko_cachetools_benches::{
    KEYS, Rounds, Row, Warm,
    by_hand::ByHand,
    product::{PRODUCT, Product},
    ready::{self, ReadyKey},
    zipf,
};

use crate::Rows;

/// Keys of the large trace.
const MANY: u64 = 100_000;

pub(crate) fn rows() -> Rows {
    let mut rows = trace("64 hot keys", KEYS, (0..KEYS).collect(), (2.2, 1.8));
    rows.extend(trace(
        "100,000 keys, Zipf",
        MANY,
        zipf(MANY, 1 << 20, 1),
        (1.3, 1.1),
    ));
    rows.extend([by_hand(), after_invalidation(), large_reply()]);
    Ok(rows)
}

/// All three follow the same trace, each step depending on the last value.
fn trace(name: &str, keys: u64, trace: Vec<u64>, quick_target: (f64, f64)) -> Vec<Row> {
    let trace = &trace;
    let at = |n: u64, last: u64| trace[(n + (last & 0x8000_0000)) as usize % trace.len()];
    let warm = Warm::new::<Product, _>(PRODUCT, keys, |n| (n,));
    let ready = ReadyKey::list(keys);
    let product = || Arc::new(serde_json::from_str::<Product>(PRODUCT).expect("a product"));
    let (quick, moka) = (ready::quick_cache(keys), ready::moka(keys));
    for key in &ready {
        quick.insert(key.clone(), product());
        moka.insert(key.clone(), product());
    }
    let mut starts = [0; 3];
    let [ours, quicks, mokas] = &mut starts;
    let from = |start: &mut u64, number: u64| {
        *start += number;
        *start - number
    };
    let rounds = Rounds::run(
        51,
        if keys == KEYS { 40_000 } else { 100_000 },
        &mut [
            &mut |number| {
                let start = from(ours, number);
                warm.hits(
                    number,
                    |n, last| (at(start + n, last),),
                    |p: &Product| p.stock.into(),
                );
            },
            &mut |number| {
                let start = from(quicks, number);
                bare(start, number, &at, |n| quick.get(&ready[n]));
            },
            &mut |number| {
                let start = from(mokas, number);
                bare(start, number, &at, |n| moka.get(&ready[n]));
            },
        ],
    );
    let row = |peer: usize, against: &str, target: (f64, f64)| {
        let medians = (rounds.median(0), rounds.median(peer));
        Row::ratio(format!("hit, {name}, against a bare {against}"), "ns", medians)
            .measured(rounds.ratio(0, peer))
            .target(target.0, target.1)
    };
    vec![row(1, "quick_cache", quick_target), row(2, "moka", (0.65, 0.5))]
}

fn bare(start: u64, number: u64, at: &impl Fn(u64, u64) -> u64, get: impl Fn(usize) -> Option<Arc<Product>>) {
    let mut last = 0;
    for n in start..start + number {
        last = get(at(n, last) as usize).map_or(0, |product| product.stock.into());
    }
    std::hint::black_box(last);
}

/// What one would write by hand for this one method does the same, and nothing else.
fn by_hand() -> Row {
    let warm = Warm::new::<Product, _>(PRODUCT, KEYS, |n| (n,));
    let hand = ByHand::new(KEYS);
    for n in 0..KEYS {
        hand.put::<Product>(n, serde_json::from_str(PRODUCT).expect("a product"));
    }
    let next = |n: u64, last: u64| (n + (last & 0x8000_0000)) % KEYS;
    let rounds = Rounds::run(
        51,
        40_000,
        &mut [
            &mut |number| warm.hits(number, |n, last| (next(n, last),), |p: &Product| p.stock.into()),
            &mut |number| {
                let hits = hand.hits(number, next, |p: &Product| p.stock.into());
                std::hint::black_box(warm.runtime.block_on(hits));
            },
        ],
    );
    let medians = (rounds.median(0), rounds.median(1));
    Row::ratio("hit, 64 hot keys, against one written by hand", "ns", medians)
        .measured(rounds.ratio(0, 1))
        .target(1.1, 1.0)
}

/// What others were about slows no hit down for long.
fn after_invalidation() -> Row {
    let (usual, after) = (
        Warm::new::<Product, _>(PRODUCT, KEYS, |n| (n,)),
        Warm::new::<Product, _>(PRODUCT, KEYS, |n| (n,)),
    );
    after.client.invalidate(&Scope::tag("something else"));
    let hits = |warm: &Warm, number| {
        warm.hits(
            number,
            |n, last| ((n + (last & 0x8000_0000)) % KEYS,),
            |product: &Product| product.stock.into(),
        );
    };
    let rounds = Rounds::run(
        51,
        40_000,
        &mut [&mut |number| hits(&after, number), &mut |number| {
            hits(&usual, number)
        }],
    );
    Row::ratio(
        "hit, 64 hot keys, after an invalidation of something else, against one before",
        "ns",
        (rounds.median(0), rounds.median(1)),
    )
    .measured(rounds.ratio(0, 1))
    .target(2.0, 1.5)
}

/// 10 KB of rows cost a hit no more than one row does.
fn large_reply() -> Row {
    let hundred = format!("[{}]", vec![PRODUCT; 107].join(", "));
    let small = Warm::new::<Vec<Product>, _>(&format!("[{PRODUCT}]"), KEYS, |n| (n,));
    let large = Warm::new::<Vec<Product>, _>(&hundred, KEYS, |n| (n,));
    let hits = |warm: &Warm, number| {
        warm.hits(
            number,
            |n, last| ((n + (last & 0x8000_0000)) % KEYS,),
            |rows: &Vec<Product>| rows[0].stock.into(),
        );
    };
    let rounds = Rounds::run(
        51,
        40_000,
        &mut [&mut |number| hits(&large, number), &mut |number| {
            hits(&small, number)
        }],
    );
    let name = format!(
        "hit of a reply of {} B, against one of {} B",
        hundred.len(),
        PRODUCT.len() + 2
    );
    Row::ratio(name, "ns", (rounds.median(0), rounds.median(1)))
        .measured(rounds.ratio(0, 1))
        .target(1.2, 1.05)
}
