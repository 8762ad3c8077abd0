//! Calls nameko services over RabbitMQ: the transport of `nameko-cachetools` built on
//! [amqprs](https://docs.rs/amqprs).
//!
//! ```no_run
//! use nameko_cachetools::{Request, Route, Transport};
//! use nameko_cachetools_amqprs::AmqprsTransport;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let transport = AmqprsTransport::connect("amqp://guest:guest@localhost:5672/%2f").await?;
//! let request = Request::new(Route::new("products", "get")?, r#"{"args": ["the_odyssey"], "kwargs": {}}"#);
//! let reply = transport.request(request).await?;
//! println!("{}", String::from_utf8_lossy(&reply.body)); // {"result": {..}, "error": null}
//! # Ok(())
//! # }
//! ```
//! Most programs give it to a `Client` or a proxy of `nameko-cachetools` instead of calling `request` themselves.
//!
//! # Map
//! | type | for |
//! |---|---|
//! | [`AmqprsTransport`] | the connection: one serves all proxies of a process; `Clone` |
//! | [`AmqprsTransport::builder`], [`Builder`] | its limits, names and timeouts, each with its default and reason |
//! | [`ConnectError`], [`InvalidUri`] | why there is none |
//! | [`EventSource`](nameko_cachetools::EventSource) | hearing nameko's events |
//! | [`Counters`] | requests in flight, late replies |
//!
//! # Behaviour
//! - nameko's exchange, reply queue, properties and headers, publisher confirms and the mandatory flag. A call waits
//!   for its reply or its return, never for the confirm.
//! - A lost connection ends the waiting calls at once, with an error that says whether they may have been executed;
//!   then the transport reconnects by itself, with a new reply queue. It sends nothing twice.
//! - Needs a tokio runtime, and lives on the one it was made on. One operating system thread per connection: amqprs runs
//!   on it, and ends with it.
//! - What the broker refuses costs a channel, which is gone as long as the connection lives: 100 for looks at queues that
//!   are missing, then every look finds `None`; 1,000 for listening, then no listener begins to hear any more.
//! - Feature `tls` (default): `amqps://` through rustls with ring; who is trusted is set by `Builder::tls`, the system's
//!   certificates by default. Without the feature such an address is refused.
//!
//! # Where it differs from `LapinTransport`
//! - A broker that is blocked (memory or disk alarm) is not heard, since amqprs doesn't announce that it would
//!   understand: there is no state `Blocked`. Requests that the broker has not read within `send_timeout` end with
//!   `Timeout`, and the connection with them. What the socket had taken by then, the broker may still read later.
//! - A wrong password is noticed after 3 s, and told as a guess.
//! - A reply with a header, or any other name, that is not UTF-8 ends the connection.
//!
//! # What it does not do
//! It doesn't cache, retry, or read bodies. It doesn't serve nameko services, and doesn't declare their queues.
//!
//! # Logs
//! This crate logs no argument, value or password, and amqprs logs nothing.
#![forbid(unsafe_code)]

mod aside;
mod connect;
mod fields;
mod link;
mod publisher;
mod transport;

pub use nameko_cachetools_amqp::{
    Address, Backoff, Builder, ConnectError, Counters, InvalidHeader, InvalidUri,
};
#[cfg(feature = "tls")]
pub use nameko_cachetools_amqp::{InvalidTls, Tls};
pub use transport::AmqprsTransport;
