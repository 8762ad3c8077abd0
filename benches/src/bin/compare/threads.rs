//! Two threads at once, beside a bare `quick_cache`; on each of them, each step depends on the last value.

use std::{
    sync::{Arc, Barrier},
    time::{Duration, Instant},
};

use nameko_cachetools_benches::{
    KEYS, Rounds, Row, Warm, crowd,
    product::{PRODUCT, Product},
    ready::{self, ReadyKey},
    runtime, thread_time, zipf,
};

use crate::Rows;

const MANY: u64 = 100_000;

/// A window counts if both threads were on a core for so much of it: else one waited for a core, not for the other.
const ON_CORE: f64 = 0.96;

/// How many windows are wanted.
const WANTED: usize = 61;

/// How long each takes: so long that it doesn't matter that one thread begins a little later.
const WINDOW: Duration = Duration::from_millis(10);

pub(crate) fn rows() -> Rows {
    if std::thread::available_parallelism().map_or(1, usize::from) < 2 {
        return Err("there is one core".to_owned());
    }
    let zipf = zipf(MANY, 1 << 18, 2);
    Ok(vec![
        row("two threads, 100,000 keys, Zipf", MANY, &zipf, (1.2, 1.05))?,
        row("two threads, one hot key", KEYS, &[0], (1.4, 1.25))?,
    ])
}

fn row(name: &str, keys: u64, trace: &[u64], target: (f64, f64)) -> Result<Row, String> {
    let warm = Warm::new::<Product, _>(PRODUCT, keys, |n| (n,));
    let ready = ReadyKey::list(keys);
    let quick = ready::quick_cache(keys);
    let product = Arc::new(serde_json::from_str::<Product>(PRODUCT).expect("a product"));
    ready
        .iter()
        .for_each(|key| quick.insert(key.clone(), Arc::new(Product::clone(&product))));
    let at = |n: usize, last: u32| trace[(n + (last & 0x8000_0000) as usize) % trace.len()];
    let proxy = &warm.proxy;
    let ours = |start: usize, number: usize| {
        let runtime = runtime();
        move || {
            let last = runtime.block_on(async {
                let mut last = 0;
                for n in start..start + number {
                    let reply = proxy.call::<Product, _>("get", (at(n, last),)).await;
                    last = reply.map_or(0, |product| product.stock);
                }
                last
            });
            std::hint::black_box(last);
        }
    };
    let (quick, ready) = (&quick, &ready);
    let bare = |start: usize, number: usize| {
        move || {
            let mut last = 0;
            for n in start..start + number {
                let product = quick.get(&ready[at(n, last) as usize]);
                last = product.map_or(0, |product| product.stock);
            }
            std::hint::black_box(last);
        }
    };
    let numbers = [number(&ours), number(&bare)];
    let rounds = Rounds::least_crowded(WANTED, crowd::crowding_of_two, || {
        let (ours, peer) = (window(&ours, numbers[0])?, window(&bare, numbers[1])?);
        Some((vec![ours.0, peer.0], ours.1.max(peer.1)))
    });
    if rounds.is_empty() {
        return Err(format!("{name}: the machine is too busy for two threads at once"));
    }
    Ok(Row::ratio(
        format!("{name}, against a bare quick_cache"),
        "ns",
        (rounds.median(0), rounds.median(1)),
    )
    .measured(rounds.ratio(0, 1))
    .target(target.0, target.1))
}

/// How many operations fill a window, on one thread.
fn number<W: FnOnce()>(work: &impl Fn(usize, usize) -> W) -> usize {
    const FEW: usize = 10_000;
    work(0, FEW)();
    let began = thread_time();
    work(0, FEW)();
    let each = (thread_time() - began).as_secs_f64() / FEW as f64;
    (WINDOW.as_secs_f64() / each) as usize
}

/// Runs the same on two threads at once, each from a place of its own, and takes the mean of their processor times per
/// operation, in nanoseconds, if both were running all the time; and how crowded their cores were.
fn window<W: FnOnce() + Send>(work: &impl Fn(usize, usize) -> W, number: usize) -> Option<(f64, f64)> {
    let barrier = Barrier::new(2);
    let times: Vec<(Duration, Duration, f64)> = std::thread::scope(|threads| {
        let started: Vec<_> = [0, 77_777]
            .map(|start| (work(start, number), &barrier))
            .into_iter()
            .map(|(work, barrier)| {
                threads.spawn(move || {
                    barrier.wait();
                    #[allow(clippy::disallowed_methods, reason = "a bench measures real time")]
                    let (wall, cpu) = (Instant::now(), thread_time());
                    work();
                    let took = (thread_time() - cpu, wall.elapsed());
                    (took.0, took.1, crowd::crowding())
                })
            })
            .collect();
        started
            .into_iter()
            .map(|thread| thread.join().expect("no thread panics"))
            .collect()
    });
    let on_core = |cpu: Duration, wall: Duration| cpu.as_secs_f64() / wall.as_secs_f64() >= ON_CORE;
    let cpu: Duration = times.iter().map(|(cpu, ..)| *cpu).sum();
    let crowding = times.iter().map(|(.., crowding)| *crowding);
    times.iter().all(|(cpu, wall, _)| on_core(*cpu, *wall)).then(|| {
        let each = cpu.as_nanos() as f64 / (times.len() * number) as f64;
        (each, crowding.fold(0.0, f64::max))
    })
}
