//! The settings of a cached proxy.

use std::{fmt, sync::Arc, time::Duration};

use crate::{
    adaptive::Adaptive,
    breaker::Breaker,
    client::Client,
    engine::Engine,
    invalidate::Scope,
    key::{Prefix, Vary},
    methods::{Cached, Methods, Rule},
    policy::{CacheFirst, Failover, Policy},
    store::{AnyStore, MemoryStore, Shelf, Store},
    wire::Publishing,
};

/// Longest wait for a store that answers over a network: a healthy one needs a millisecond, and every look-up
/// that meets a dead one pays this.
const STORE_TIMEOUT: Duration = Duration::from_millis(250);

/// The settings of a cached proxy. `P` is its policy, whose settings can be given here directly.
#[must_use]
pub struct ProxyBuilder<P, Proxy> {
    service: Arc<str>,
    policy: P,
    store: Option<AnyStore>,
    store_timeout: Duration,
    cached: Cached,
    own: Vec<(String, Arc<dyn Policy>)>,
    setters: Vec<(String, Arc<[Scope]>)>,
    vary: Vary,
    varies: Vec<(String, Vary)>,
    persistent: Option<bool>,
    expiration: Option<Option<Duration>>,
    proxy: fn(Arc<Engine>) -> Proxy,
}

impl<P: Policy, Proxy> ProxyBuilder<P, Proxy> {
    pub(crate) fn new(service: Arc<str>, policy: P, proxy: fn(Arc<Engine>) -> Proxy) -> Self {
        Self {
            service,
            policy,
            store: None,
            store_timeout: STORE_TIMEOUT,
            cached: Cached::All,
            own: Vec::new(),
            setters: Vec::new(),
            vary: Vary::default(),
            varies: Vec::new(),
            persistent: None,
            expiration: None,
            proxy,
        }
    }

    /// Where replies are kept. One store may serve several proxies, also of both strategies: give each a clone or an
    /// `Arc`. Default: a [`MemoryStore`] of its own.
    pub fn cache(mut self, store: impl Store) -> Self {
        self.store = Some(AnyStore::new(store));
        self
    }

    /// Longest wait for the store, per operation, if it does not answer at once; after that it counts as a miss.
    /// Default: 250 ms.
    pub fn store_timeout(mut self, limit: Duration) -> Self {
        self.store_timeout = limit;
        self
    }

    /// Caches these methods and no others; the rest are plain calls, and so are those of [`except`](Self::except).
    pub fn only<N: Into<String>>(mut self, methods: impl IntoIterator<Item = N>) -> Self {
        self.cached = self.cached.only(methods.into_iter().map(Into::into).collect());
        self
    }

    /// Caches none of these methods: they are plain calls. It may be called for more of them.
    pub fn except<N: Into<String>>(mut self, methods: impl IntoIterator<Item = N>) -> Self {
        self.cached = self.cached.except(methods.into_iter().map(Into::into).collect());
        self
    }

    /// Caches this method, by a policy of its own, whatever [`only`](Self::only) and [`except`](Self::except) say; not if
    /// it [changes something](Self::invalidates). It may be called for any number of methods.
    pub fn method(mut self, name: impl Into<String>, policy: impl Policy) -> Self {
        let name = name.into();
        self.own.retain(|(other, _)| *other != name);
        self.own.push((name, Arc::new(policy)));
        self
    }

    /// Says that `method` changes something: it is a plain call, whatever the other settings say, and when it has ended,
    /// everything in `scopes` is invalidated, in all proxies of the client. Also after an error, a spent limit, or a
    /// caller who left: the change may have happened. Only if the request certainly was not sent, nothing is.
    ///
    /// ```
    /// # use nameko_cachetools::{CacheFirstRpcProxy, Client, Request, Response, Scope, transport_fn};
    /// # let client = Client::new(transport_fn(|_: Request| async { Ok(Response::json("")) }));
    /// let products = CacheFirstRpcProxy::builder("products")
    ///     .invalidates("update", [Scope::method("products", "get"), Scope::method("products", "list")])
    ///     .build(&client);
    /// ```
    pub fn invalidates(mut self, method: impl Into<String>, scopes: impl IntoIterator<Item = Scope>) -> Self {
        let (method, scopes) = (method.into(), scopes.into_iter());
        match self.setters.iter_mut().find(|(other, _)| *other == method) {
            Some((_, all)) => *all = all.iter().cloned().chain(scopes).collect(),
            None => self.setters.push((method, scopes.collect())),
        }
        self
    }

    /// Says that the answers of these methods are the same for every caller: no context is part of their keys, so that
    /// all share one answer. The context is sent all the same. For one call: [`Call::shared`](crate::Call::shared).
    ///
    /// **Never for answers that depend on who asks**: one caller would get another's.
    pub fn shared<N: Into<String>>(mut self, methods: impl IntoIterator<Item = N>) -> Self {
        let unvaried = |method: N| (method.into(), Vary::on([""; 0]));
        self.varies.extend(methods.into_iter().map(unvaried));
        self
    }

    /// Names the keys of the [`Context`](crate::Context) that are part of the cache key, in place of the default rule:
    /// the user id, or else the auth token, and everything else but user agent, call ids and trace context.
    ///
    /// A service whose answers depend on a token's scopes needs the token in the key, beside the user; one that looks at
    /// nothing but the language needs no more than that. A token is in the key as its digest.
    ///
    /// ```
    /// # use nameko_cachetools::{CacheFirstRpcProxy, Client, Request, Response, transport_fn};
    /// # let client = Client::new(transport_fn(|_: Request| async { Ok(Response::json("")) }));
    /// let products = CacheFirstRpcProxy::builder("products")
    ///     .vary(["user_id", "auth_token", "language"])
    ///     .vary_method("search", ["language"])
    ///     .shared(["currencies"])
    ///     .build(&client);
    /// ```
    pub fn vary<N: Into<String>>(mut self, names: impl IntoIterator<Item = N>) -> Self {
        self.vary = Vary::on(names);
        self
    }

    /// The same for one method. Whether it is cached stays as it is.
    pub fn vary_method<N: Into<String>>(
        mut self,
        method: impl Into<String>,
        names: impl IntoIterator<Item = N>,
    ) -> Self {
        self.varies.push((method.into(), Vary::on(names)));
        self
    }

    /// Whether the broker writes requests to disk. Default: the client's setting.
    pub fn persistent(mut self, persistent: bool) -> Self {
        self.persistent = Some(persistent);
        self
    }

    /// How long a request may wait in the service's queue before the broker drops it; `None`: for ever. Default: the
    /// client's setting, else the `call_timeout`, but for methods that aren't cached: they may change something.
    pub fn expiration(mut self, expiration: impl Into<Option<Duration>>) -> Self {
        self.expiration = Some(expiration.into());
        self
    }

    /// Another policy, with none of the settings made so far.
    pub fn policy<Q: Policy>(self, policy: Q) -> ProxyBuilder<Q, Proxy> {
        ProxyBuilder {
            service: self.service,
            policy,
            store: self.store,
            store_timeout: self.store_timeout,
            cached: self.cached,
            own: self.own,
            setters: self.setters,
            vary: self.vary,
            varies: self.varies,
            persistent: self.persistent,
            expiration: self.expiration,
            proxy: self.proxy,
        }
    }

    /// Makes the proxy, with the client's connection and context. Names are checked when calls are made.
    pub fn build(self, client: &Client) -> Proxy {
        let defaults = client.publishing();
        let publishing = Publishing {
            persistent: self.persistent.unwrap_or(defaults.persistent),
            expiration: self.expiration.unwrap_or(defaults.expiration),
        };
        let store = self
            .store
            .unwrap_or_else(|| AnyStore::new(MemoryStore::default()));
        let time_to_live = store.time_to_live();
        let prefix = |vary| Prefix::new(client.namespace(), &self.service, client.context(), vary);
        let own = self
            .own
            .into_iter()
            .map(|(name, policy)| (name, Rule::new(policy, time_to_live, prefix(self.vary.clone()))));
        let mut methods = Methods::new(
            Rule::new(self.policy, time_to_live, prefix(self.vary.clone())),
            self.cached,
            own.collect(),
            self.setters,
        );
        for (method, vary) in self.varies {
            methods.set_prefix(method, prefix(vary));
        }
        let shelf = Shelf::new(store, client.clock(), self.store_timeout);
        (self.proxy)(Engine::cached(
            client.clone(),
            self.service,
            publishing,
            shelf,
            methods,
        ))
    }
}

impl<P: fmt::Debug, Proxy> fmt::Debug for ProxyBuilder<P, Proxy> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ProxyBuilder")
            .field("service", &self.service)
            .field("policy", &self.policy)
            .field("cached", &self.cached)
            .finish_non_exhaustive()
    }
}

/// A policy's settings, on the builder of its proxy.
macro_rules! settings {
    ($policy:ident: $($setting:ident($($argument:ident: $type:ty),*)),* $(,)?) => {
        impl<Proxy> ProxyBuilder<$policy, Proxy> {$(
            #[doc = concat!("See [`", stringify!($policy), "::", stringify!($setting), "`].")]
            pub fn $setting(mut self, $($argument: $type),*) -> Self {
                self.policy = self.policy.$setting($($argument),*);
                self
            }
        )*}
    };
}

settings!(Failover:
    fresh_for(life: Duration),
    stale_while_revalidate(window: Duration),
    stale_if_error(window: Duration),
    jitter(share: f64),
    failover_timeout(limit: impl Into<Option<Duration>>),
    call_timeout(limit: impl Into<Option<Duration>>),
    single_flight(on: bool),
    breaker(breaker: impl Into<Option<Breaker>>),
    adaptive(adaptive: impl Into<Option<Adaptive>>),
    definitive(exceptions: impl IntoIterator<Item = impl Into<String>>),
    negative_for(life: impl Into<Option<Duration>>),
    reply_directives(listen: bool),
);
settings!(CacheFirst:
    stale_while_revalidate(window: Duration),
    stale_if_error(window: Duration),
    jitter(share: f64),
    failover_timeout(limit: impl Into<Option<Duration>>),
    call_timeout(limit: impl Into<Option<Duration>>),
    single_flight(on: bool),
    breaker(breaker: impl Into<Option<Breaker>>),
    adaptive(adaptive: impl Into<Option<Adaptive>>),
    definitive(exceptions: impl IntoIterator<Item = impl Into<String>>),
    negative_for(life: impl Into<Option<Duration>>),
    reply_directives(listen: bool),
);
