//! The tests that all transports over AMQP share, over a live RabbitMQ.

use nameko_cachetools_lapin::{self as tested, LapinTransport as Tested};

#[path = "../../transport-amqp/tests/live/mod.rs"]
mod live;
