//! Core's behaviour, against the fake broker, in virtual time.
//!
//! What a test proves is in `../statements.md`, by its numbers.
#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

mod adaptive;
mod breaker;
mod cache_first;
mod calls;
mod clocks;
mod crowds;
mod directives;
mod errors;
mod explain;
mod failover;
mod flight;
mod invalidation;
mod letting_go;
mod looking_again;
mod negative;
mod original_bugs;
mod outcome;
mod parity;
mod stores;
mod vary;

use std::time::Duration;

use nameko_cachetools::{Client, Reply};
use nameko_cachetools_testkit::FakeBroker;

const MS: fn(u64) -> Duration = Duration::from_millis;
const S: fn(u64) -> Duration = Duration::from_secs;

fn client(broker: &FakeBroker) -> Client {
    Client::new(broker.transport())
}

/// What a reply says of itself, without the cache's name.
fn told<T>(reply: &Reply<T>) -> String {
    let text = reply.outcome().to_string();
    text.strip_prefix("nameko-cachetools; ")
        .unwrap_or(&text)
        .to_owned()
}
