//! The tests that all transports over AMQP share, over a live RabbitMQ.

use nameko_cachetools_amqprs::{self as tested, AmqprsTransport as Tested};

#[path = "../../transport-amqp/tests/live/mod.rs"]
mod live;
