//! What a hit costs against the number of entries, the size of the reply, the size of the arguments, and the number of
//! tasks: `cargo run --release -p nameko-cachetools-benches --bin curves`. `--write` renews `benches/README.md`.
#![allow(clippy::expect_used, reason = "a bench may panic")]

use std::path::Path;

use nameko_cachetools_benches::{
    KEYS, Rounds, Warm,
    product::{PRODUCT, Product},
    renew, zipf,
};

fn main() {
    let text = [entries(), reply(), arguments(), tasks()].join("\n");
    println!("{text}");
    if std::env::args().nth(1).is_some_and(|word| word == "--write") {
        let readme = Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md");
        renew(&readme, "curves", &text).expect("README.md has a part for it");
    }
}

/// A table of one row.
fn table(what: &str, points: &[(String, f64)]) -> String {
    let line = |cells: Vec<String>| format!("| {} |\n", cells.join(" | "));
    let names = std::iter::once(what.to_owned()).chain(points.iter().map(|(name, _)| name.clone()));
    let values =
        std::iter::once("ns per hit".to_owned()).chain(points.iter().map(|(_, ns)| format!("{ns:.0}")));
    line(names.collect()) + &"|---".repeat(points.len() + 1) + "|\n" + &line(values.collect())
}

/// The median of some rounds.
fn median(batch: u64, mut hits: impl FnMut(u64)) -> f64 {
    Rounds::run(15, batch, &mut [&mut hits]).median(0)
}

fn entries() -> String {
    let points = [100, 1_000, 10_000, 100_000, 1_000_000, 10_000_000].map(|keys: u64| {
        let warm = Warm::new::<u64, _>("7", keys, |n| (n,));
        let trace = zipf(keys, 1 << 18, 6);
        let mut place = 0;
        let ns = median(20_000, |number| {
            let at = |n: u64, last: u64| trace[(place + n + (last & 0x8000_0000)) as usize % trace.len()];
            warm.hits(number, |n, last| (at(n, last),), |stock: &u64| *stock);
            place += number;
        });
        (keys.to_string(), ns)
    });
    table("entries, asked for by Zipf's law", &points)
}

fn reply() -> String {
    let points = [8, 100, 1_000, 10_000, 100_000, 1_000_000].map(|size: usize| {
        let text = format!("\"{}\"", "x".repeat(size));
        let warm = Warm::new::<String, _>(&text, KEYS, |n| (n,));
        let ns = median(20_000, |number| {
            warm.hits(
                number,
                |n, last| ((n + (last & 0x8000_0000)) % KEYS,),
                |text: &String| text.len() as u64,
            );
        });
        (format!("{size} B"), ns)
    });
    table("reply, 64 hot keys", &points)
}

fn arguments() -> String {
    let points = [8, 100, 1_000, 10_000, 100_000, 1_000_000].map(|size: usize| {
        let text = "x".repeat(size);
        let warm = Warm::new::<u64, _>("7", KEYS, |n| (n, &text));
        let ns = median((20_000_000 / size as u64).clamp(20, 20_000), |number| {
            warm.hits(number, |n, _| (n % KEYS, &text), |stock: &u64| *stock);
        });
        (format!("{size} B"), ns)
    });
    table("arguments, one text", &points)
}

fn tasks() -> String {
    const EACH: u64 = 2_000;
    let warm = Warm::new::<Product, _>(PRODUCT, KEYS, |n| (n,));
    let points = [1, 10, 100, 1_000, 10_000].map(|tasks: u64| {
        let ns = median(tasks.max(20) * EACH / 20, |number| {
            let each = number.div_ceil(tasks);
            warm.runtime.block_on(async {
                let tasks: Vec<_> = (0..tasks)
                    .map(|task| {
                        let proxy = warm.proxy.clone();
                        tokio::spawn(async move {
                            for n in 0..each {
                                let product = proxy.call::<Product, _>("get", ((task + n) % KEYS,)).await;
                                std::hint::black_box(product.map_or(0, |product| product.stock));
                            }
                        })
                    })
                    .collect();
                for task in tasks {
                    let _ = task.await;
                }
            });
        });
        (tasks.to_string(), ns)
    });
    table("tasks of one thread, taking turns", &points)
}
