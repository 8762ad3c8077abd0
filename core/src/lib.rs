//! Call nameko services over RPC and keep answering when they are slow, failing or gone.
#![forbid(unsafe_code)]

mod clock;
mod error;
mod message;
mod route;
mod transport;

pub use clock::{Clock, Moment};
pub use error::{CallError, Delivery, ErrorClass, RemoteError, Source, StoreError, Timer, TransportError};
pub use message::{Headers, JSON, Request, Response};
pub use route::{InvalidRoute, MAX_ROUTE_BYTES, MAX_SERVICE_BYTES, Route};
pub use transport::{ConnectionState, Transport, TransportFn, transport_fn};
