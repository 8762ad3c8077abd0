//! Makes so many hits and nothing else: for `valgrind --tool=callgrind`, whose counts are exact on any machine.
//!
//! `hits KIND NUMBER`: the difference of two runs is what a hit costs, without the start of the program. `compare
//! instructions` takes it, and holds it against `benches/baseline.txt`.

use std::env;

use nameko_cachetools::IntoArgs;
use nameko_cachetools_benches::{
    KEYS, Warm,
    product::{PRODUCT, Product, Search},
};

fn main() {
    let mut words = env::args().skip(1);
    let kind = words.next().unwrap_or_default();
    let number = words.next().and_then(|word| word.parse().ok());
    match (kind.as_str(), number) {
        ("u64", Some(number)) => hits(number, |n| (n,)),
        ("str_u64", Some(number)) => hits(number, |n| ("the_odyssey", n)),
        ("struct6", Some(number)) => hits(number, |n| (Search::page(n),)),
        _ => {
            eprintln!("usage: hits u64|str_u64|struct6 NUMBER");
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
