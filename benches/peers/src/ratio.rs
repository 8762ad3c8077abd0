//! Hit ratios: which cache keeps the right entries, on five kinds of traces, with room for a hundredth and a tenth of the
//! keys.

use std::pin::pin;

use foyer_memory::{CacheBuilder, CacheProperties, LfuConfig, S3FifoConfig};
use nameko_cachetools::{Entry, Key, MemoryStore, Moment, Peek, Store};
use nameko_cachetools_benches::{Row, zipf};

const KEYS: u64 = 100_000;
const REQUESTS: usize = 1_000_000;

pub(crate) fn rows() -> Vec<Row> {
    let mut rows = Vec::new();
    for (name, trace) in traces() {
        for room in [KEYS / 100, KEYS / 10] {
            // A loop's hits are a matter of which keys share a shard.
            let caches = if name.starts_with("loop") { 25 } else { 9 };
            let usually = |share: &dyn Fn(u32) -> f64| Usual::of((0..caches).map(share).collect());
            let ours = usually(&|salt| ours(room, &trace, &ready(salt)));
            let peers = [
                ("moka", usually(&|_| moka(room, &trace))),
                ("quick_cache", usually(&|_| quick(room, &trace))),
                (
                    "foyer, LFU",
                    usually(&|_| foyer(room, &trace, LfuConfig::default())),
                ),
                (
                    "foyer, S3-FIFO",
                    usually(&|_| foyer(room, &trace, S3FifoConfig::default())),
                ),
            ];
            let best = peers
                .iter()
                .max_by(|a, b| a.1.mean.total_cmp(&b.1.mean))
                .expect("there are peers");
            let share = room * 100 / KEYS;
            let name = format!("hit ratio, {name}, room {share} %, behind {}", best.0);
            let (value, noise) = (best.1.mean - ours.mean, ours.error.hypot(best.1.error));
            let row = Row::ratio(name, "%", (ours.mean, best.1.mean));
            rows.push(
                row.measured((value, noise / value.abs().max(1e-9)))
                    .target(1.5, 0.0),
            );
        }
    }
    rows
}

/// What several caches reach, each of which hashes with a seed of its own: the mean, and that one's standard error.
struct Usual {
    mean: f64,
    error: f64,
}

impl Usual {
    fn of(shares: Vec<f64>) -> Self {
        let number = shares.len() as f64;
        let mean = shares.iter().sum::<f64>() / number;
        let squares: f64 = shares.iter().map(|share| (share - mean).powi(2)).sum();
        let error = (squares / (number - 1.0) / number).sqrt();
        Self { mean, error }
    }
}

/// Our keys are hashed with one seed per process: so they differ instead.
fn ready(salt: u32) -> Vec<Key> {
    let key = |n: u64| Key::from_bytes([u64::from(salt).to_be_bytes(), n.to_be_bytes()].concat());
    (0..3 * KEYS).map(key).collect()
}

fn traces() -> Vec<(&'static str, Vec<u64>)> {
    let hot = zipf(KEYS, REQUESTS, 5);
    let mixed = |share: usize, other: &dyn Fn(usize) -> u64| -> Vec<u64> {
        let mixed = hot.iter().enumerate();
        mixed
            .map(|(n, key)| if n % 10 < share { other(n) } else { *key })
            .collect()
    };
    vec![
        // Runs of 3,000 keys that are asked for once each, again and again.
        ("scan bursts", {
            let scan = |n: usize| KEYS + (n as u64 % KEYS);
            hot.iter()
                .enumerate()
                .map(|(n, key)| if n % 10_000 < 3_000 { scan(n) } else { *key })
                .collect()
        }),
        ("one-hit wonders", mixed(5, &|n| KEYS + n as u64 % (2 * KEYS))),
        // Every hundred thousand requests, other keys are the popular ones.
        ("drift", {
            let drifting = hot.iter().enumerate();
            drifting
                .map(|(n, key)| (key + (n as u64 / 100_000) * 7919) % KEYS)
                .collect()
        }),
        (
            "loop of 15,000",
            (0..REQUESTS as u64).map(|n| n % 15_000).collect(),
        ),
        ("Zipf", hot),
    ]
}

/// The share of requests in percent for which `has` finds the key; `put` gets the others.
fn share(trace: &[u64], mut has: impl FnMut(u64) -> bool, mut put: impl FnMut(u64)) -> f64 {
    let mut hits = 0;
    for key in trace {
        if has(*key) {
            hits += 1;
        } else {
            put(*key);
        }
    }
    f64::from(hits) * 100.0 / trace.len() as f64
}

fn ours(room: u64, trace: &[u64], ready: &[Key]) -> f64 {
    let store = MemoryStore::builder()
        .max_entries(room as usize)
        .max_bytes(1 << 30)
        .build();
    let entry = Entry::new(Moment::default(), "7");
    let has = |key: u64| matches!(store.peek(&ready[key as usize], Moment::default()), Peek::Hit(_));
    share(trace, has, |key| {
        let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
        let mut put = pin!(store.put(&ready[key as usize], entry.clone()));
        assert!(
            put.as_mut().poll(&mut cx).is_ready(),
            "a store in memory waits for nothing"
        );
    })
}

fn moka(room: u64, trace: &[u64]) -> f64 {
    let cache = moka::sync::Cache::new(room);
    share(
        trace,
        |key| cache.get(&key).is_some(),
        |key| cache.insert(key, ()),
    )
}

fn quick(room: u64, trace: &[u64]) -> f64 {
    let cache = quick_cache::sync::Cache::new(room as usize);
    share(
        trace,
        |key| cache.get(&key).is_some(),
        |key| cache.insert(key, ()),
    )
}

fn foyer(room: u64, trace: &[u64], config: impl Into<foyer_memory::EvictionConfig>) -> f64 {
    let cache = CacheBuilder::new(room as usize)
        .with_eviction_config(config)
        .build::<CacheProperties>();
    share(
        trace,
        |key: u64| cache.get(&key).is_some(),
        |key| {
            cache.insert(key, ());
        },
    )
}
