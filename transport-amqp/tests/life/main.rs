//! From connecting to closing, in virtual time.
#![allow(clippy::panic, clippy::unwrap_used, reason = "tests")]

mod blocked;
mod closing;
mod connecting;
#[path = "../fake/mod.rs"]
mod fake;
mod losing;

use nameko_cachetools::{ConnectionState, Transport};
use nameko_cachetools_amqp::AmqpTransport;

fn state(transport: &AmqpTransport) -> ConnectionState {
    transport.state().borrow().clone()
}
