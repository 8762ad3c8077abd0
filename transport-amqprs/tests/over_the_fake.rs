//! Both contracts, of `Transport` and of the wire, over the fake broker: no RabbitMQ is needed.

use nameko_cachetools_amqprs::{self as tested, AmqprsTransport as Tested};

#[path = "../../transport-amqp/tests/over_the_fake/mod.rs"]
mod over_the_fake;

/// amqprs takes a limit of 0 at its word, and subtracts from it.
const TAKES_UNLIMITED_FRAMES: bool = false;
