//! Real nameko services for live tests and examples: started, stopped, killed, hung and restarted from Rust.
//!
//! ```no_run
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use nameko_cachetools_interop::Interop;
//!
//! let mut nameko = Interop::start().await?; // a Python process on the broker of AMQP_URI
//! let service = nameko.service("catalog"); // its name on the wire: "nct1f0c_catalog"
//! // ... call `service` ...
//! nameko.hang()?; // SIGSTOP: it stays silent
//! nameko.resume()?;
//! nameko.kill().await?; // SIGKILL
//! nameko.restart().await?; // the same names again
//! nameko.close().await; // and its durable queues are gone
//! # Ok(())
//! # }
//! ```
//!
//! | type | what |
//! |---|---|
//! | [`Interop`] | one Python process with nameko services, under a prefix of its own |
//! | [`InteropBuilder`] | which packages, modules and configuration it runs with |
//! | [`Packages`] | nameko 2, nameko 2 on an old kombu, nameko 3 |
//! | [`PrivateBroker`] | a RabbitMQ node that a test may break |
//! | [`Responder`] | a service in Rust, for what Python is too slow or too well-behaved for |
//! | [`live`] | runs a live test, or says aloud why it can't |
//! | [`Unavailable`] | why there is no service or no broker |
//!
//! Whatever happens to this process, nothing stays behind: each child is watched by a small shell that ends it, and
//! deletes its queues or files, when this process is gone (see `leash.rs`).
//!
//! Not a part of the published library. Works where there are POSIX signals and a `sh`.
#![forbid(unsafe_code)]

mod broker;
mod launch;
mod leash;
pub mod live;
mod private_broker;
mod process;
mod rabbitmq_node;
mod responder;
mod services;
mod unavailable;
mod venv;

pub use broker::{DEFAULT_AMQP_URI, amqp_uri};
pub use launch::InteropBuilder;
pub use private_broker::PrivateBroker;
pub use responder::{Asked, Replies, Responder};
pub use services::Interop;
pub use unavailable::Unavailable;
pub use venv::Packages;
