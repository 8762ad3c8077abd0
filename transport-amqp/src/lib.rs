//! What the AMQP transports of `nameko-cachetools` share, whichever library carries the bytes.
//!
//! Programs use one of the crates built on it, and meet [`Builder`] and [`ConnectError`] there. Such a crate gives its
//! links to a builder, and a type of its own for what comes out:
//!
//! ```
//! use std::sync::Arc;
//! use nameko_cachetools_amqp::{AmqpTransport, Builder, ConnectError, LinkFactory};
//!
//! struct MyTransport(AmqpTransport); // and `Transport`, forwarded
//!
//! impl From<AmqpTransport> for MyTransport {
//!     fn from(shared: AmqpTransport) -> Self {
//!         Self(shared)
//!     }
//! }
//!
//! async fn connected(links: Arc<dyn LinkFactory>) -> Result<MyTransport, ConnectError> {
//!     Builder::new(links).uri("amqp://rabbit/orders").app("shop").connect().await
//! }
//! ```
//!
//! # Map
//! | for | types |
//! |---|---|
//! | programs | [`Builder`], `Tls` (feature `tls`), [`AmqpTransport`], [`Backoff`], [`Counters`], [`ConnectError`], [`InvalidUri`], [`InvalidHeader`] |
//! | crates over a library | [`LinkFactory`], [`Link`], [`Plan`] with [`Address`] and [`Topology`], [`LinkEvents`], [`Outgoing`] with its [`Ticket`], [`EventQueue`] with [`EventsTold`], [`Spent`], [`OpenError`] |
//! | both sides of the wire | [`fields`], [`received`], [`Field`] (headers), [`is_permanent`], [`clock_is_paused`] |
//!
//! # How it works
//! A **link** is one connection's life and is never repaired: whatever ends it (connection or channel closed, consumer
//! cancelled, reply queue deleted, silence) fails all requests under way at once, and the supervisor opens another
//! link, with growing pauses and a reply queue of its own. Requests register with a living link or are refused;
//! replies and returned messages find them by their own correlation id, 122 random bits used once. Publishing never
//! waits for the broker's confirm.
//!
//! # What it does not do
//! It holds no AMQP library, retries nothing, reads no body, and knows nothing of caches.
#![forbid(unsafe_code)]

mod backoff;
mod builder;
mod calls;
mod events;
mod headers;
mod ids;
mod link;
mod listeners;
mod looks;
mod opening;
mod paused;
mod received;
mod settings;
mod spent;
mod supervisor;
#[cfg(feature = "tls")]
mod tls;
mod topology;
mod transport;
mod uri;
mod watchdog;

pub use backoff::Backoff;
pub use builder::{Builder, ConnectError};
pub use events::{LinkEvents, Ticket};
pub use headers::{Field, InvalidHeader, MAX_DEPTH, MAX_HEADERS_BYTES, MAX_NAME_BYTES, fields};
pub use link::{Link, LinkFactory, OpenError, OpenErrorKind, Outgoing, Plan};
pub use listeners::EventsTold;
pub use paused::clock_is_paused;
pub use received::{Received, received};
pub use spent::Spent;
#[cfg(feature = "tls")]
pub use tls::{InvalidTls, Tls, is_refused};
pub use topology::{EventQueue, REPLY_QUEUE_EXPIRES_MS, Topology, is_permanent};
pub use transport::{AmqpTransport, Counters};
pub use uri::{Address, InvalidUri};
