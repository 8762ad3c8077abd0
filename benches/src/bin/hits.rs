//! Makes so many hits and nothing else: for `valgrind --tool=callgrind`, whose counts are exact on any machine.
//!
//! `hits KIND NUMBER`: the difference of two runs is what a hit costs, without the start of the program. `compare
//! instructions` does that and holds it against `benches/baseline.txt`.
#![allow(clippy::expect_used, reason = "a bench may panic")]

use std::{env, hint::black_box};

use nameko_cachetools::{CallError, IntoArgs};
use nameko_cachetools_benches::{
    KEYS, Warm,
    product::{PRODUCT, Product, Search},
};

fn main() {
    let mut words = env::args().skip(1);
    let kind = words.next().unwrap_or_default();
    let number = words.next().and_then(|word| word.parse().ok()).unwrap_or(0);
    match kind.as_str() {
        "u64" => hits(number, |n| (n,)),
        "str_u64" => hits(number, |n| ("the_odyssey", n)),
        "struct6" => hits(number, |n| (Search::page(n),)),
        _ => {
            eprintln!("usage: hits u64|str_u64|struct6 NUMBER");
            std::process::exit(2);
        }
    }
}

fn hits<A: IntoArgs>(number: u64, args: impl Fn(u64) -> A) {
    let warm = Warm::new(PRODUCT, KEYS, &args);
    warm.runtime
        .block_on(async {
            for n in 0..number {
                let reply = warm.proxy.call::<Product, A>("get", args(n % KEYS)).await?;
                black_box(reply.stock);
            }
            Ok::<_, CallError>(())
        })
        .expect("hits");
}
