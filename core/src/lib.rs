//! Call nameko services over RPC and keep answering when they are slow, failing or gone.
#![forbid(unsafe_code)]

mod args;
mod clock;
mod context;
mod entry;
mod error;
mod key;
mod message;
mod route;
mod store;
mod transport;
mod wire;

pub use args::{Args, IntoArgs, Keyword, NoKeywords};
pub use clock::{Clock, Moment};
pub use context::Context;
pub use entry::Entry;
pub use error::{CallError, Cause, Delivery, ErrorClass, RemoteError, StoreError, Timer, TransportError};
pub use key::{Key, Unkeyable};
pub use message::{Headers, JSON, Request, Response};
pub use route::{InvalidRoute, MAX_ROUTE_BYTES, MAX_SERVICE_BYTES, Route};
pub use store::{MemoryStore, MemoryStoreBuilder, Peek, Put, Store};
pub use transport::{ConnectionState, Transport, TransportFn, transport_fn};
