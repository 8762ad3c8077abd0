//! Nothing is left behind: counted for the whole process, so in a program of its own.
#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used, reason = "tests")]

use nameko_cachetools_amqprs::{self as tested, AmqprsTransport as Tested};

#[path = "../../transport-amqp/tests/live/leaks.rs"]
mod leaks;
#[path = "../../transport-amqp/tests/live/support.rs"]
mod support;

const IO_THREAD: &str = "amqprs-io";
