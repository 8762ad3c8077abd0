//! The faces of a service: plain, failover, cache-first.

use std::{collections::BTreeMap, fmt, sync::Arc};

use crate::{
    args::IntoArgs,
    builder::ProxyBuilder,
    call::Call,
    client::Client,
    engine::Engine,
    policy::{CacheFirst, Failover},
    stats::Stats,
};

/// A proxy for a service, without any cache: plain nameko RPC.
#[derive(Clone)]
pub struct ServiceProxy {
    engine: Arc<Engine>,
}

impl Client {
    /// A proxy for a service, without any cache. The name is checked when calls are made.
    pub fn service(&self, name: impl Into<Arc<str>>) -> ServiceProxy {
        ServiceProxy {
            engine: Engine::plain(self.clone(), name.into()),
        }
    }
}

/// The live answer, or the last good one: nameko-cachetools' failover strategy.
///
/// **Not for methods that change state in the called service.** A cached answer would report a change that was not
/// made. Name those methods with [`except`](ProxyBuilder::except), or the cacheable ones with
/// [`only`](ProxyBuilder::only).
///
/// The service is asked; every good reply is cached. If it does not reply within `failover_timeout`, or the call
/// fails, and an answer to the same call is cached, that one is returned instead of waiting or failing. With nothing
/// cached it behaves as a plain call and waits. A late reply still reaches the cache.
///
/// "The same call" means: same service, method, arguments, and same caller ([user id](crate::Context::user_id) or
/// token, language, any other context but user agent, call ids and trace context). [`shared`](crate::Call::shared) says
/// that the caller doesn't matter.
///
/// ```
/// use nameko_cachetools::{CachedRpcProxy, Reply, args};
/// use std::time::Duration;
/// # use nameko_cachetools::{Client, Request, Response, transport_fn};
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let client = Client::new(transport_fn(|_: Request| async {
/// #     Ok(Response::json(r#"{"result": {"title": "The Odyssey"}, "error": null}"#))
/// # }));
///
/// #[derive(serde::Deserialize)]
/// struct Product { title: String }
///
/// let products = CachedRpcProxy::builder("products")
///     .except(["create"])
///     .failover_timeout(Duration::from_millis(300))
///     .build(&client);
/// let product: Reply<Product> = products.call("get", args!["the_odyssey"]).await?;
/// println!("{} ({})", product.title, product.outcome());
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct CachedRpcProxy {
    engine: Arc<Engine>,
}

impl CachedRpcProxy {
    /// With the defaults of the Python original ([`Failover::original`]) and a store of its own: only errors fail
    /// over, at any age.
    pub fn new(service: impl Into<Arc<str>>, client: &Client) -> Self {
        Self::builder(service).build(client)
    }

    /// Starts from those defaults. [`policy`](ProxyBuilder::policy) with [`Failover::after`] takes safer ones.
    pub fn builder(service: impl Into<Arc<str>>) -> ProxyBuilder<Failover, Self> {
        ProxyBuilder::new(service.into(), Failover::original(), |engine| Self { engine })
    }
}

/// A cached answer if there is one: nameko-cachetools' cache-first strategy.
///
/// **Not for methods that change state in the called service.** A cached answer would report a change that was not
/// made. Name those methods with [`except`](ProxyBuilder::except), or the cacheable ones with
/// [`only`](ProxyBuilder::only).
///
/// If an answer to the same call (see [`CachedRpcProxy`]) is cached and fresh, it is returned without asking the
/// service. On a miss the service is asked: once, however many callers wait.
///
/// ```
/// use nameko_cachetools::{CacheFirstRpcProxy, MemoryStore, Reply, args};
/// use std::time::Duration;
/// # use nameko_cachetools::{Client, Request, Response, transport_fn};
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let client = Client::new(transport_fn(|_: Request| async { Ok(Response::json(r#"{"result": 7, "error": null}"#)) }));
///
/// let products = CacheFirstRpcProxy::builder("products")
///     .cache(MemoryStore::ttl(1024, Duration::from_secs(30)))
///     .build(&client);
/// for _ in 0..3 {
///     let stock: Reply<u64> = products.call("stock", args!["the_odyssey"]).await?; // asks the service once
/// }
/// assert_eq!(products.stats().hits, 2);
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct CacheFirstRpcProxy {
    engine: Arc<Engine>,
}

impl CacheFirstRpcProxy {
    /// With the defaults of the Python original ([`CacheFirst::original`]) and a store of its own: whatever the store
    /// still holds is served. Concurrent misses ask once.
    pub fn new(service: impl Into<Arc<str>>, client: &Client) -> Self {
        Self::builder(service).build(client)
    }

    /// Starts from those defaults. [`policy`](ProxyBuilder::policy) with [`CacheFirst::fresh_for`] takes safer ones, and
    /// a freshness that ends.
    pub fn builder(service: impl Into<Arc<str>>) -> ProxyBuilder<CacheFirst, Self> {
        ProxyBuilder::new(service.into(), CacheFirst::original(), |engine| Self { engine })
    }
}

macro_rules! face {
    ($proxy:ident) => {
        impl $proxy {
            /// A call of `method`, made when it is awaited.
            ///
            /// `T`, what the result is decoded to, usually follows from the binding: `let stock: Reply<u64> = ..`.
            ///
            /// # Errors
            /// [`CallError`](crate::CallError): the service could not be reached or did not answer, it raised, its
            /// reply is no `T`, or the call can't be sent.
            #[inline]
            pub fn call<'a, T, A: IntoArgs>(
                &'a self,
                method: &'a str,
                args: A,
            ) -> Call<'a, T, A::Positional, A::Keyword> {
                Call::new(&self.engine, method, args.into_args())
            }

            /// The called service's name.
            pub fn service(&self) -> &str {
                self.engine.service()
            }

            /// What became of this proxy's calls so far.
            pub fn stats(&self) -> Stats {
                self.engine.stats()
            }

            /// How often cached answers stood in for errors so far, by the exception's type, or else by the
            /// [class](crate::ErrorClass) of the error. At most 64 kinds; further ones count as `others`. A service that
            /// was silent for `failover_timeout`, or not asked as the circuit was open, made no error:
            /// [`Stats`] counts both.
            pub fn masked_errors(&self) -> BTreeMap<String, u64> {
                self.engine
                    .cache
                    .as_ref()
                    .map(|cache| cache.masked())
                    .unwrap_or_default()
            }
        }

        impl fmt::Debug for $proxy {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                let cache = self.engine.cache.as_ref();
                f.debug_struct(stringify!($proxy))
                    .field("service", &self.service())
                    .field("cached", &cache.map(|cache| &cache.methods.cached))
                    .field("policy", &cache.map(|cache| &cache.methods.rule.policy))
                    .finish_non_exhaustive()
            }
        }
    };
}

face!(ServiceProxy);
face!(CachedRpcProxy);
face!(CacheFirstRpcProxy);
