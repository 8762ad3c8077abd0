//! A fake nameko broker for tests: scripted answers, outages, and virtual time, without sockets.
#![forbid(unsafe_code)]

mod act;
mod answer;
mod broker;
mod call;
mod calls;
mod conformance;
mod held;
mod hub;
mod json;
mod latency;
mod log;
mod malformed;
mod matcher;
mod memory;
mod outage;
mod report;
mod rule;
mod script;
mod state;
pub mod store_conformance;
mod times;
pub mod transport_conformance;

use std::fmt::Display;

pub use answer::{Answer, When};
pub use broker::FakeBroker;
pub use call::Call;
pub use calls::Calls;
pub use held::HeldCall;
pub use latency::Latency;
pub use malformed::Malformed;
pub use memory::FakeTransport;
pub use outage::Outage;
pub use report::Violations;
pub use rule::Rule;
pub use times::Times;

/// The one place where the testkit fails a test.
#[track_caller]
#[allow(clippy::panic, reason = "to fail tests is what a test kit is for")]
fn fail(message: impl Display) -> ! {
    panic!("{message}")
}
