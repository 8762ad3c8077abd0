//! What hits cost, beside what they could cost. The program `compare` holds that against targets and peers; this library
//! has what it is made of, and [`Hits`], which puts a store, a policy and a kind of arguments through a benchmark.
//!
//! The benches of this package run through [`Hits`], and so can yours:
//!
//! ```no_run
//! use criterion::{Criterion, criterion_group, criterion_main};
//! use nameko_cachetools::{CacheFirst, MemoryStore};
//! use nameko_cachetools_benches::Hits;
//!
//! fn mine(c: &mut Criterion) {
//!     Hits::new("my store, my arguments")
//!         .store(MemoryStore::builder().max_entries(100_000).build())
//!         .policy(CacheFirst::original())
//!         .reply(r#"{"title": "The Odyssey", "price": 12.5}"#)
//!         .run::<serde_json::Value, _>(c, |n| (format!("product-{n}"), n));
//! }
//!
//! criterion_group!(benches, mine);
//! criterion_main!(benches);
//! ```
#![forbid(unsafe_code)]
#![allow(
    clippy::expect_used,
    clippy::disallowed_methods,
    reason = "a bench may panic, and measures real time"
)]
#![allow(missing_debug_implementations, reason = "nobody prints a bench")]

pub mod by_hand;
pub mod crowd;
mod harness;
pub mod product;
pub mod ready;
mod renew;
mod rounds;
mod row;
mod trace;
mod warm;

pub use harness::Hits;
pub use renew::renew;
pub use rounds::{Rounds, process_time, thread_time};
pub use row::Row;
pub use trace::zipf;
pub use warm::Warm;

use tokio::runtime::{Builder, Runtime};

/// How many different calls are warm in the cache, hit in turn.
pub const KEYS: u64 = 64;

/// The runtime that benches run on: of one thread, as the hit path is.
///
/// # Panics
/// If the operating system gives no reactor.
pub fn runtime() -> Runtime {
    Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime can be made")
}
