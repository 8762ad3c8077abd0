//! Both contracts, of `Transport` and of the wire, over the fake broker: no RabbitMQ is needed.

use nameko_cachetools_lapin::{self as tested, LapinTransport as Tested};

#[path = "../../transport-amqp/tests/over_the_fake/mod.rs"]
mod over_the_fake;

const TAKES_UNLIMITED_FRAMES: bool = true;
