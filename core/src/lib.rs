//! Call nameko services over RPC and keep answering when they are slow, failing or gone.
#![forbid(unsafe_code)]

mod args;
mod call;
mod client;
mod clock;
mod context;
mod driver;
mod engine;
mod entry;
mod error;
mod flight;
mod key;
mod message;
mod options;
mod outcome;
mod policy;
mod proxy;
mod route;
mod stats;
mod store;
mod transport;
pub mod types;
mod wire;

pub use args::{Args, IntoArgs, Keyword, NoKeywords};
pub use call::{Call, CallFuture};
pub use client::{Client, ClientBuilder};
pub use clock::{Clock, Moment};
pub use context::Context;
pub use entry::Entry;
pub use error::{CallError, Cause, Delivery, ErrorClass, RemoteError, StoreError, Timer, TransportError};
pub use key::{Key, Unkeyable};
pub use message::{Headers, JSON, Request, Response};
pub use outcome::{Outcome, Reason, Reply, Source};
pub use policy::{CacheFirst, Failover, Plan, Policy};
pub use proxy::{CacheFirstRpcProxy, CachedRpcProxy, ProxyBuilder, ServiceProxy};
pub use route::{InvalidRoute, MAX_ROUTE_BYTES, MAX_SERVICE_BYTES, Route};
pub use stats::Stats;
pub use store::{MemoryStore, MemoryStoreBuilder, Peek, Put, Store};
pub use transport::{ConnectionState, Transport, TransportFn, transport_fn};
