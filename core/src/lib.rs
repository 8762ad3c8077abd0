//! Call nameko services over RPC and keep answering when they are slow, failing or gone.
//!
//! ```
//! use nameko_cachetools::{CachedRpcProxy, Client, Reply, Response, TransportError, args, transport_fn};
//! use std::{future::ready, sync::Mutex};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! // In place of RabbitMQ and a service: one good answer, and then nobody is there.
//! let answers = Mutex::new(vec![Response::json(r#"{"result": "The Odyssey", "error": null}"#)]);
//! let transport = transport_fn(move |_| ready(answers.lock().unwrap().pop().ok_or(TransportError::UnknownService)));
//! let products = CachedRpcProxy::new("products", &Client::new(transport));
//!
//! let live: Reply<String> = products.call("title", args!["the_odyssey", lang = "en"]).await?;
//! let cached: Reply<String> = products.call("title", args!["the_odyssey", lang = "en"]).await?;
//! assert_eq!(*cached, *live);
//! assert!(cached.outcome().is_stale());
//! # Ok(())
//! # }
//! ```
//!
//! **Not for methods that change state in the called service.** A cached answer would report a change that was not
//! made. Name those methods with [`except`](ProxyBuilder::except), or the cacheable ones with
//! [`only`](ProxyBuilder::only); the others are plain calls. [`invalidates`](ProxyBuilder::invalidates) also says which
//! cached answers a method makes untrue.
//!
//! # Map
//!
//! | for | types |
//! |---|---|
//! | the live answer, or the last good one | [`CachedRpcProxy`] |
//! | a cached answer, if there is a fresh one | [`CacheFirstRpcProxy`] |
//! | the live answer, always | [`ServiceProxy`], from [`Client::service`] |
//! | what all proxies of a program share | [`Client`], [`Context`] (who asks, in which language) |
//! | a call: its arguments, its options, its answer | [`args!`], [`Args`]; [`Call`]; [`Reply`] |
//! | where an answer came from, and why | [`Outcome`], [`Source`], [`Reason`]; counted: [`Stats`] |
//! | what a call would do now | [`Call::explain`] |
//! | why there is none | [`CallError`], [`RemoteError`], [`ErrorClass`], [`Delivery`] |
//! | how long an answer is good, which errors it stands in for | [`Failover`], [`CacheFirst`]; the trait [`Policy`] |
//! | when a service is taken for dead; how long it is waited for | [`Breaker`]; [`Adaptive`] |
//! | that an answer is no longer true | [`Scope`], for [`Client::invalidate`] and [`Client::expire`]; [`Call::invalidate`] |
//! | where answers are kept | [`MemoryStore`]; the trait [`Store`], with [`Key`] and [`Entry`] |
//! | values that JSON has no form for | [`types`]: decimals, dates, UUIDs, bytes |
//! | how requests travel | the trait [`Transport`], with [`Request`] and [`Response`]; [`transport_fn`] |
//! | nameko's events | the trait [`EventSource`], with [`Events`], [`Listener`] and [`Heard`] |
//!
//! [`guide`] has the rest: [choosing a strategy](guide::strategies), [invalidation](guide::invalidation),
//! [errors](guide::errors), [in production](guide::production), [testing](guide::testing),
//! [coming from Python](guide::from_python), and more.
//!
//! # What it does not do
//!
//! - It has no connection of its own: `nameko-cachetools-lapin` has one to RabbitMQ, and `nameko-cachetools-testkit` a
//!   broker in memory, for tests.
//! - It sends nothing twice. Whether to repeat a call is for the caller to say, who is told
//!   [what may have happened](CallError::may_have_executed).
//! - It caches no errors, and no reply that is not of the type that was asked for.
//! - It does not learn of changes by itself. An answer is as old as its policy lets it get, unless the program says that
//!   it is [no longer true](guide::invalidation); that reaches all proxies of one [`Client`], and no other process.
//! - It reads no replies but JSON.
//! - It has no services of nameko, and sends no events. What it hears of them ([`EventSource`]) it leaves to the program.
//! - It runs on tokio and on nothing else: calls are made within a runtime whose time is enabled.
#![forbid(unsafe_code)]

mod adaptive;
mod args;
mod backoff;
mod breaker;
mod builder;
mod cache;
mod call;
mod client;
mod clock;
mod context;
mod decision;
mod directives;
mod driver;
mod engine;
mod entry;
mod error;
mod events;
mod explain;
mod flight;
// Its examples use crates that this one can't depend on: the workspace's `examples` package runs them.
#[cfg(not(doctest))]
pub mod guide;
mod invalidate;
mod key;
mod limits;
mod message;
mod methods;
mod negative;
mod options;
mod outcome;
mod plain;
mod policy;
mod proxy;
mod queue;
mod route;
mod stats;
mod store;
mod striped;
mod sync;
mod transport;
pub mod types;
mod wire;

pub use adaptive::Adaptive;
pub use args::{Args, IntoArgs, Keyword, NoKeywords};
pub use breaker::Breaker;
pub use builder::ProxyBuilder;
pub use call::{Call, CallFuture};
pub use client::{Client, ClientBuilder};
pub use clock::{Clock, Moment};
pub use context::Context;
pub use entry::Entry;
pub use error::{CallError, Cause, Delivery, ErrorClass, RemoteError, StoreError, Timer, TransportError};
pub use events::{Event, EventSource, Events, Heard, InvalidEvents, Listener, Teller};
pub use invalidate::Scope;
pub use key::{Key, Unkeyable};
pub use message::{Headers, JSON, Request, Response};
pub use outcome::{Outcome, Reason, Reply, Source};
pub use policy::{CacheFirst, Failover, Plan, Policy};
pub use proxy::{CacheFirstRpcProxy, CachedRpcProxy, ServiceProxy};
pub use queue::ServiceQueue;
pub use route::{InvalidRoute, MAX_ROUTE_BYTES, MAX_SERVICE_BYTES, Route};
pub use stats::Stats;
pub use store::{MemoryStore, MemoryStoreBuilder, Peek, Put, Store};
#[cfg(shuttle)]
#[doc(hidden)]
pub use sync::end_task;
pub use transport::{ConnectionState, Transport, TransportFn, transport_fn};
