//! Call nameko services over RPC and keep answering when they are slow, failing or gone.
#![forbid(unsafe_code)]

mod args;
mod clock;
mod context;
mod error;
mod key;
mod message;
mod route;
mod transport;
mod wire;

pub use args::{Args, IntoArgs, Keyword, NoKeywords};
pub use clock::{Clock, Moment};
pub use context::Context;
pub use error::{CallError, Delivery, ErrorClass, RemoteError, Source, StoreError, Timer, TransportError};
pub use key::{Key, Unkeyable};
pub use message::{Headers, JSON, Request, Response};
pub use route::{InvalidRoute, MAX_ROUTE_BYTES, MAX_SERVICE_BYTES, Route};
pub use transport::{ConnectionState, Transport, TransportFn, transport_fn};
