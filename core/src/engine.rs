//! What a proxy is made of, and the parts of a call that need no waiting: the hit, and writing down the rest.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use serde::Serialize;
use serde_json::error::Category;

use crate::{
    args::Args,
    cache::Cache,
    client::Client,
    context::Context,
    entry::{Entry, Sent, Slot, UNSAID},
    error::CallError,
    invalidate::{Force, Scope},
    key::{self, Key, Prefix, Unkeyable, Vary},
    message::Request,
    methods::{Methods, Rule},
    options::{Mode, Options},
    outcome::Reason,
    policy::Policy,
    route::Route,
    stats::{Counters, Stats},
    store::Shelf,
    wire::{self, Publishing},
};

/// The calls of one service: plain ones, or cached ones.
pub(crate) struct Engine {
    pub(crate) client: Client,
    service: Arc<str>,
    /// What keys of uncached calls begin with: they are written to see whether they can be.
    prefix: Result<Prefix, Unkeyable>,
    publishing: Publishing,
    pub(crate) cache: Option<Cache>,
    pub(crate) counters: Counters,
    warned_unkeyable: AtomicBool,
}

/// A call on its way: all that the driver needs, in its own hands.
pub(crate) struct Prepared {
    pub(crate) engine: Arc<Engine>,
    pub(crate) route: Route,
    pub(crate) options: Options,
    /// Or why the cache has no part in this call.
    pub(crate) cached: Result<(Key, Rule), Reason>,
    body: Bytes,
    context: Context,
}

/// A fresh cached answer, with its age and its freshness in nanoseconds.
pub(crate) struct Hit<T> {
    pub(crate) slot: Arc<Slot<T>>,
    pub(crate) age: u64,
    pub(crate) fresh_for: u64,
}

impl Prepared {
    /// When the broker drops the request, if nobody has taken it by then: `limit`, if nothing was set, as nobody will
    /// want the reply later.
    pub(crate) fn expiration(&self, limit: Option<Duration>) -> Option<Duration> {
        let default = self.engine.publishing.expiration.or(limit);
        self.options.expiration.unwrap_or(default)
    }

    /// The request of this call, whose reply is of use for `limit`.
    pub(crate) fn request(&self, limit: Option<Duration>) -> Request {
        let persistent = self.engine.publishing.persistent;
        let publishing = Publishing {
            persistent: self.options.persistent.unwrap_or(persistent),
            expiration: self.expiration(limit),
        };
        wire::request(
            self.route.clone(),
            self.body.clone(),
            &self.context,
            self.engine.client.app(),
            publishing,
        )
    }
}

impl Engine {
    pub(crate) fn plain(client: Client, service: Arc<str>) -> Arc<Self> {
        let publishing = client.publishing();
        Arc::new(Self::new(client, service, publishing, None))
    }

    pub(crate) fn cached(
        client: Client,
        service: Arc<str>,
        publishing: Publishing,
        shelf: Shelf,
        methods: Methods,
    ) -> Arc<Self> {
        let cache = Cache::new(&client, shelf, methods);
        Arc::new(Self::new(client, service, publishing, Some(cache)))
    }

    fn new(client: Client, service: Arc<str>, publishing: Publishing, cache: Option<Cache>) -> Self {
        let prefix = Prefix::new(client.namespace(), &service, client.context(), Vary::default());
        let (counters, warned_unkeyable) = (Counters::default(), AtomicBool::new(false));
        Self {
            client,
            service,
            prefix,
            publishing,
            cache,
            counters,
            warned_unkeyable,
        }
    }

    pub(crate) fn service(&self) -> &str {
        &self.service
    }

    pub(crate) fn stats(&self) -> Stats {
        let stats = self.counters.snapshot();
        match &self.cache {
            None => stats,
            Some(cache) => Stats {
                store_troubles: cache.shelf.troubles(),
                harvests_forgotten: cache.flights.forgotten(),
                masked: cache.masked().values().sum(),
                ..stats
            },
        }
    }

    /// A fresh cached answer, if there is one at once: nothing is awaited, nothing allocated.
    #[inline(never)]
    pub(crate) fn hit<T, P, K>(&self, method: &str, args: &Args<P, K>) -> Option<Hit<T>>
    where
        T: Send + Sync + 'static,
        P: Serialize,
        K: Serialize,
    {
        let cache = self.cache.as_ref()?;
        let rule = cache.methods.rule(method).filter(|rule| rule.reads_first)?;
        let prefix = rule.prefix.as_ref().ok()?;
        prefix.with_key(method, args, |written| {
            let now = self.client.clock().now();
            let key = written.hashed();
            // Taken apart at once: moving a whole one takes as long as looking.
            let Entry {
                sent_at,
                fresh_for: own,
                slot,
            } = cache.shelf.peek(key, now)?;
            let age = now.nanos_since(sent_at);
            let fresh_until = rule.fresh_until(age, key)?;
            // What its service lets live longer than others is left to the long way.
            if age >= own {
                return None;
            }
            let slot = if cache.epochs.none_since(sent_at) {
                slot
            } else {
                cache.untouched(&self.service, method, key, sent_at, slot)?
            };
            let slot = slot.downcast::<T>()?;
            self.counters.hit();
            let fresh_for = if own == UNSAID { fresh_until } else { own };
            Some(Hit { slot, age, fresh_for })
        })
    }

    /// Writes down all that a call needs which has to wait, so that it borrows nothing.
    pub(crate) fn prepare<P: Serialize, K: Serialize>(
        self: &Arc<Self>,
        method: &str,
        args: &Args<P, K>,
        options: Options,
    ) -> Result<Prepared, CallError> {
        let route = Route::new(Arc::clone(&self.service), method)?;
        let unsendable = |source: Arc<dyn std::error::Error + Send + Sync>| CallError::Arguments {
            route: route.clone(),
            source,
        };
        let context = match &options.context {
            None => self.client.context().clone(),
            Some(own) => self.client.context().merged(own),
        };
        // Uncached calls are looked at the same way: what JSON can't carry must not be sent as something else.
        let key = match self.key(method, args, &options, &context) {
            Ok(key) => Ok(key),
            Err(error @ (Unkeyable::TooDeep | Unkeyable::TooLarge)) => {
                self.warn_unkeyable(&route, &error);
                key::check_finite(args).map_err(|error| unsendable(Arc::new(error)))?;
                Err(Reason::Unkeyable)
            }
            Err(error) => return Err(unsendable(Arc::new(error))),
        };
        let rule = self.cache.as_ref().and_then(|cache| cache.methods.rule(method));
        let cached = match rule.filter(|_| options.mode != Mode::Bypass) {
            None => Err(Reason::Bypass),
            Some(rule) => key.map(|key| (key, rule.clone())),
        };
        Ok(Prepared {
            engine: Arc::clone(self),
            cached,
            body: wire::body(args).map_err(|error| match error.classify() {
                // In the words of an argument's own `Serialize`.
                Category::Data => unsendable(Arc::new(Unkeyable::Custom)),
                _ => unsendable(Arc::new(error)),
            })?,
            route,
            options,
            context,
        })
    }

    fn key<P: Serialize, K: Serialize>(
        &self,
        method: &str,
        args: &Args<P, K>,
        options: &Options,
        context: &Context,
    ) -> Result<Key, Unkeyable> {
        let rule = self.cache.as_ref().and_then(|cache| cache.methods.rule(method));
        let prefix = match rule.map_or(&self.prefix, |rule| &rule.prefix) {
            Ok(prefix) if options.shared => prefix.with_context(&Context::new()),
            Ok(prefix) if options.context.is_some() => prefix.with_context(context),
            prefix => prefix.clone(),
        }?;
        prefix.key(method, args)
    }

    /// What a call of this method invalidates, if it changes something.
    pub(crate) fn setter(&self, method: &str) -> Option<Arc<[Scope]>> {
        self.cache.as_ref()?.methods.setter(method).cloned()
    }

    /// The limit of uncached calls: that of the method's own policy, if it has one.
    pub(crate) fn plain_timeout(&self, method: &str) -> Option<Duration> {
        match &self.cache {
            None => self.client.call_timeout(),
            Some(Cache { methods, .. }) => {
                let rule = methods.rule(method).unwrap_or(&methods.rule);
                rule.policy.call_timeout()
            }
        }
    }

    /// Invalidates one call's answers, at once. What comes of it frees the memory of what was stored.
    pub(crate) fn invalidate<P: Serialize, K: Serialize>(
        self: &Arc<Self>,
        method: &str,
        args: &Args<P, K>,
        options: &Options,
        force: Force,
    ) -> impl Future<Output = ()> + Send + 'static + use<P, K> {
        let context = match &options.context {
            None => self.client.context().clone(),
            Some(own) => self.client.context().merged(own),
        };
        // What has no key is not cached.
        let key = self.key(method, args, options, &context).ok();
        if let Some(key) = &key {
            self.client
                .epochs()
                .raise_call(key, Sent::now(self.client.clock()), force);
        }
        let stored = key
            .filter(|_| force == Force::Hard)
            .zip(self.cache.as_ref().map(|cache| Arc::clone(&cache.shelf)));
        async move {
            if let Some((key, shelf)) = stored {
                shelf.remove(&key, None).await;
            }
        }
    }

    #[cold]
    fn warn_unkeyable(&self, route: &Route, why: &Unkeyable) {
        if self.cache.is_some() && !self.warned_unkeyable.swap(true, Ordering::Relaxed) {
            tracing::warn!(%route, "arguments without a key ({why}): such calls go through uncached; warned of once");
        }
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        if let Some(cache) = &self.cache {
            cache.flights.abandon();
        }
    }
}
