//! Tests of every transport over AMQP, over a live RabbitMQ. Each transport's package runs them, as its `tests/live.rs`
//! and `tests/leaks.rs`; what they test, these call `tested` and `Tested`.
#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used, reason = "tests")]

mod aside;
mod calls;
mod conformance;
mod faults;
mod support;
#[cfg(feature = "tls")]
mod tls;
