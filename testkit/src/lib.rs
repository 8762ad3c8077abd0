//! A RabbitMQ with nameko services behind it, faked within a test: scripted answers, outages, and virtual time.
//!
//! ```
//! use std::time::Duration;
//!
//! use nameko_cachetools::{CachedRpcProxy, Reply, args};
//! use nameko_cachetools_testkit::{Answer, FakeBroker};
//! use serde_json::{Value, json};
//! use tokio::time::Instant;
//!
//! # #[tokio::main(flavor = "current_thread", start_paused = true)]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! // in a #[tokio::test(start_paused = true)]
//! let broker = FakeBroker::new();
//! let odyssey = json!({"title": "The Odyssey"});
//! broker.on("products.get").with(args!["o1"]).expect(2).reply(odyssey).then(Answer::never());
//!
//! let patience = Duration::from_millis(300);
//! let products = CachedRpcProxy::builder("products").failover_timeout(patience).build(&broker.client());
//! let live: Reply<Value> = products.call("get", args!["o1"]).await?;
//! let start = Instant::now();
//! let last_good: Reply<Value> = products.call("get", args!["o1"]).await?; // now the service hangs
//!
//! assert_eq!(*last_good, *live);
//! assert_eq!(start.elapsed(), patience); // to the millisecond, and at once
//! # Ok(())
//! # }
//! ```
//!
//! # What is in it
//!
//! | | |
//! |---|---|
//! | [`FakeBroker`] | what a test holds: makes rules, connections and outages; knows all calls; checks them when dropped |
//! | [`Rule`] | which calls, how often ([`Times`]), answered how and how fast ([`Latency`]) |
//! | [`Answer`] | a result, an exception, silence, a [`Malformed`] reply, a refusal, a cut connection ([`When`]), a reply that comes twice or under a wrong [`Correlation`] id |
//! | [`service!`], [`Service`] | a fake service written as the implementation of a Rust trait |
//! | [`HeldCall`] | a call that the test itself answers, whenever it likes |
//! | [`dispatch`](FakeBroker::dispatch) | an event, for those who listen by [`EventSource`](nameko_cachetools::EventSource) |
//! | [`Outage`] | a guard: as long as it lives, the broker is down, blocked or flapping, a service silent, unknown or struggling, or replies overtake each other |
//! | [`cassette`] | calls of a real service, recorded once and replayed for ever |
//! | [`Call`], [`Calls`] | what the broker received, to look at and to assert |
//! | [`Violations`] | the report of a test whose calls broke its rules |
//! | [`FakeTransport`] | a connection, for clients with settings of their own; [`FakeBroker::client`] needs none |
//! | [`explore`](mod@explore) | a scenario against a misbehaving broker, once per seed |
//! | `FakeBroker::serve` | the same on a TCP port, for real clients and nameko services: module `wire`, feature `wire` |
//! | [`fault_proxy`] | for transports over sockets: a TCP proxy that cuts, stalls, loses and rewrites |
//! | [`transport_conformance`], [`store_conformance`] | the contracts of `Transport` and `Store` as checks, for your own |
//!
//! [`guide`] has the rest: [which calls a rule is for](guide::rules), [all faults](guide::faults),
//! [assertions and reports](guide::verification), and a [cookbook](guide::cookbook) of ten whole tests.
//!
//! # How a test fails
//!
//! A call that no rule is for is answered as nameko would answer it (`UnknownService`, `MethodNotFound`; for other
//! arguments than any rule's, `IncorrectSignature`), and fails the test when the broker is dropped: the answer alone
//! would often go unseen, since to hide a service's errors is what failover is for. So does a rule that
//! [expected](Rule::expect) other calls than it saw. The panic says what came and how the nearest rule differs:
//!
//! ```text
//! fake broker: 2 violations   (seed 0, time 1.000 s, 2 calls seen)
//!
//! 1. rule billing.get_invoice(7) (tests/failover.rs:14) expected exactly 2 calls, saw 1
//!
//! 2. unmatched call #2 billing.get_invoice(8, lang="sv") at 1.000 s
//!    nearest rule billing.get_invoice(7) (tests/failover.rs:14)
//!       args[0]      expected 7        got 8     <-- differs
//!       kwargs.lang  expected nothing  got "sv"  <-- differs
//!    the caller was answered IncorrectSignature; a cache may have hidden this from your assertions
//!    to allow it: broker.on("billing.get_invoice").with(args![8, lang = "sv"]).reply(..)
//!
//! timeline:
//!        0 ms  #1 billing.get_invoice(7)
//!        0 ms  #1   ok {"total": 10}
//!     1000 ms  #2 billing.get_invoice(8, lang="sv")
//!     1000 ms  #2   error IncorrectSignature no rule of the fake broker matches this call
//! ```
//!
//! If the test panics by itself, the same report goes to standard error.
//!
//! # Time and chance
//!
//! All waiting is done in tokio's time, in whole milliseconds. Under a paused clock
//! (`#[tokio::test(start_paused = true)]`, tokio's feature `test-util`) a test takes no time, and durations are exact: a
//! reply that is due at the same moment as a time limit is in time. Move the clock by `tokio::time::sleep`, not by
//! `advance`, which jumps over what would have happened meanwhile. Latencies are drawn from the broker's
//! [seed](FakeBroker::with_seed): two runs of a test on one thread give the same [timeline](FakeBroker::timeline).
//!
//! # What it does not do
//!
//! - Without the feature `wire`, the fake broker opens no socket and speaks no AMQP; with it, sockets are in real time,
//!   as [`fault_proxy`] is.
//! - It runs no Python, and knows no signature but those of a [`service!`]: a rule stands for a service.
//! - It keeps no secrets: reports and timelines show arguments. It is made for test data.
#![forbid(unsafe_code)]

mod act;
mod answer;
mod broker;
mod brown_out;
mod call;
mod calls;
pub mod cassette;
mod conformance;
mod difference;
mod events;
pub mod explore;
pub mod fault_proxy;
mod flapping;
pub mod guide;
mod held;
mod hub;
mod json;
mod latency;
mod log;
mod malformed;
mod manner;
mod matcher;
mod memory;
mod outage;
mod outages;
mod push;
mod reorder;
mod report;
mod rule;
mod script;
mod service;
mod state;
pub mod store_conformance;
mod target;
mod times;
mod topic;
pub mod transport_conformance;
#[cfg(feature = "wire")]
pub mod wire;

use std::fmt::Display;

pub use answer::Answer;
pub use broker::FakeBroker;
pub use call::Call;
pub use calls::Calls;
pub use explore::explore;
pub use held::HeldCall;
pub use latency::Latency;
pub use malformed::Malformed;
pub use manner::{Correlation, When};
pub use memory::FakeTransport;
pub use outage::Outage;
pub use report::Violations;
pub use rule::Rule;
#[doc(hidden)]
pub use service::Bound;
pub use service::Service;
pub use times::Times;
#[cfg(feature = "wire")]
pub use wire::{WireBroker, WireFault};

/// The one place where the testkit fails a test.
#[track_caller]
#[allow(clippy::panic, reason = "to fail tests is what a test kit is for")]
fn fail(message: impl Display) -> ! {
    panic!("{message}")
}
