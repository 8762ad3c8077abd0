//! Counts bytes and allocations, by an allocator that counts. It measures no time: counting takes some.
//!
//! `memory` prints rows for `compare`; `memory object` the bytes per entry of a 215 B object.

use std::{hint::black_box, pin::Pin, task::Poll};

use nameko_cachetools::IntoArgs;
use nameko_cachetools_benches::{
    KEYS, Row, Warm,
    product::{BOOK, Book, PRODUCT, Product, Search},
};
use serde::de::DeserializeOwned;

/// So many entries that what they share does not count.
const ENTRIES: u64 = 100_000;

fn main() {
    if std::env::args().nth(1).is_some_and(|word| word == "object") {
        println!("{}", bytes_per_entry::<Book>(BOOK));
        return;
    }
    let count = allocations(|n| (n,))
        .max(allocations(|n| ("the_odyssey", n)))
        .max(allocations(|n| (Search::page(n),)));
    let row = Row::alone(
        "allocations per typed hit, the most of three kinds of arguments",
        "",
        count,
    );
    println!("{}", row.target(0.0, 0.0).encode());

    // The service's text, and the number decoded from it.
    let value = "7".len() + size_of::<u64>();
    let beyond = bytes_per_entry::<u64>("7") - (KEY_BYTES + value) as f64;
    let row = Row::alone(
        "memory per entry beyond key and value, 100,000 entries",
        "B",
        beyond,
    );
    println!("{}", row.target(200.0, 130.0).encode());
}

/// Of `["1", "", "bench", {}, "get", [n], {}]` in CBOR, n of 5 bytes for nearly all.
const KEY_BYTES: usize = 1 + 1 + 1 + 6 + 1 + 4 + 1 + 5 + 1;

/// What the heap has grown by, per entry, when all are stored.
fn bytes_per_entry<T: DeserializeOwned + Send + Sync + 'static>(reply: &str) -> f64 {
    let mut kept = None;
    let counted = allocation_counter::measure(|| kept = Some(Warm::new::<T, _>(reply, ENTRIES, |n| (n,))));
    drop(black_box(kept));
    counted.bytes_current as f64 / ENTRIES as f64
}

/// Allocations of a hit, from the call to the dropped reply.
fn allocations<A: IntoArgs>(args: impl Fn(u64) -> A) -> f64 {
    let warm = Warm::new::<Product, A>(PRODUCT, KEYS, &args);
    let counted = allocation_counter::measure(|| {
        for n in 0..KEYS {
            let mut call = warm.proxy.call::<Product, A>("get", args(n)).into_future();
            let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
            let polled = Pin::new(&mut call).poll(&mut cx);
            assert!(matches!(black_box(polled), Poll::Ready(Ok(_))), "a hit");
        }
    });
    counted.count_total as f64 / KEYS as f64
}
