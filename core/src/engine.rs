//! What a proxy is made of, and the parts of a call that need no waiting: the hit, and writing down the rest.

use std::{
    any::type_name,
    collections::BTreeSet,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use serde::{Serialize, de::DeserializeOwned};
use tokio::sync::Semaphore;

use crate::{
    args::Args,
    client::Client,
    clock::Moment,
    context::Context,
    entry::{Entry, Slot},
    error::CallError,
    flight::Flights,
    key::{Key, Scope, Unkeyable, with_key},
    message::Request,
    options::{Mode, Options},
    outcome::{Outcome, Reason, Reply},
    policy::{Plan, Policy},
    route::Route,
    stats::{Counters, Stats},
    store::{Peek, Shelf},
    wire::{self, Publishing},
};

/// Most refreshes behind stale answers at once; the surplus is skipped.
const MAX_REFRESHES: usize = 64;

/// The calls of one service: plain ones, or cached ones.
pub(crate) struct Engine {
    pub(crate) client: Client,
    service: Arc<str>,
    scope: Result<Scope, Unkeyable>,
    publishing: Publishing,
    pub(crate) cache: Option<Cache>,
    pub(crate) counters: Counters,
    warned_unkeyable: AtomicBool,
}

/// What makes calls cached.
pub(crate) struct Cache {
    pub(crate) policy: Arc<dyn Policy>,
    pub(crate) shelf: Arc<Shelf>,
    pub(crate) flights: Arc<Flights>,
    pub(crate) refreshes: Arc<Semaphore>,
    methods: Methods,
    pub(crate) reads_first: bool,
    /// How long entries are fresh: the lesser of what the policy says and of the store's time to live.
    pub(crate) fresh_for: Duration,
    warned: Mutex<BTreeSet<String>>,
}

/// Which methods are cached.
#[derive(Debug, Clone)]
pub(crate) enum Methods {
    All,
    Only(Arc<[String]>),
    Except(Arc<[String]>),
}

impl Methods {
    #[inline]
    fn cached(&self, method: &str) -> bool {
        match self {
            Self::All => true,
            Self::Only(names) => names.iter().any(|name| name == method),
            Self::Except(names) => names.iter().all(|name| name != method),
        }
    }
}

/// A call on its way: all that the driver needs, in its own hands.
pub(crate) struct Prepared {
    pub(crate) engine: Arc<Engine>,
    pub(crate) route: Route,
    pub(crate) options: Options,
    /// `None`: the cache has no part in this call, for this reason.
    pub(crate) key: Result<Key, Reason>,
    body: Bytes,
    context: Context,
}

impl Prepared {
    /// The request of this call. `limit` becomes its expiration if none was set: nobody will want the reply later.
    pub(crate) fn request(&self, limit: Option<Duration>) -> Request {
        let defaults = self.engine.publishing;
        let publishing = Publishing {
            persistent: self.options.persistent.unwrap_or(defaults.persistent),
            expiration: self.options.expiration.unwrap_or(defaults.expiration.or(limit)),
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
        policy: Arc<dyn Policy>,
        shelf: Shelf,
        methods: Methods,
    ) -> Arc<Self> {
        let shelf = Arc::new(shelf);
        let transport = Arc::clone(client.transport());
        let flights = Flights::new(transport, client.clock(), Arc::clone(&shelf), Arc::clone(&policy));
        let cache = Cache {
            reads_first: policy.reads_first(),
            fresh_for: policy
                .fresh_for()
                .min(shelf.store().time_to_live().unwrap_or(Duration::MAX)),
            flights,
            shelf,
            policy,
            methods,
            refreshes: Arc::new(Semaphore::new(MAX_REFRESHES)),
            warned: Mutex::default(),
        };
        Arc::new(Self::new(client, service, publishing, Some(cache)))
    }

    fn new(client: Client, service: Arc<str>, publishing: Publishing, cache: Option<Cache>) -> Self {
        let scope = Scope::new(client.namespace(), &service, client.context());
        let (counters, warned_unkeyable) = (Counters::default(), AtomicBool::new(false));
        Self {
            client,
            service,
            scope,
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
                ..stats
            },
        }
    }

    /// A fresh cached answer, if there is one at once: nothing is awaited, nothing allocated.
    #[inline]
    pub(crate) fn hit<T, P, K>(&self, method: &str, args: &Args<P, K>) -> Option<Reply<T>>
    where
        T: Send + Sync + 'static,
        P: Serialize,
        K: Serialize,
    {
        let cache = self
            .cache
            .as_ref()
            .filter(|cache| cache.reads_first && cache.methods.cached(method))?;
        let scope = self.scope.as_ref().ok()?;
        let reply = with_key(scope, method, args, |key| {
            cache.hit(key, self.client.clock().now())
        })
        .ok()??;
        self.counters.hit();
        Some(reply)
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
        let scope = match &self.scope {
            Ok(scope) if options.shared => scope.with_context(&Context::new()),
            Ok(scope) if options.context.is_some() => scope.with_context(&context),
            scope => scope.clone(),
        };
        // Uncached calls are looked at the same way: what JSON can't carry must not be sent as something else.
        let key = match scope.and_then(|scope| with_key(&scope, method, args, Key::clone)) {
            Ok(key) => Ok(key),
            Err(error @ (Unkeyable::TooDeep | Unkeyable::TooLarge)) => {
                self.warn_unkeyable(&route, &error);
                Err(Reason::Unkeyable)
            }
            Err(error) => return Err(unsendable(Arc::new(error))),
        };
        let bypasses =
            options.mode == Mode::Bypass || !self.cache.as_ref().is_some_and(|c| c.methods.cached(method));
        Ok(Prepared {
            engine: Arc::clone(self),
            key: if bypasses { Err(Reason::Bypass) } else { key },
            body: wire::body(args).map_err(|error| unsendable(Arc::new(error)))?,
            route,
            options,
            context,
        })
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

impl Cache {
    /// A fresh entry of the type that is asked for, if the store has it at once.
    #[inline]
    fn hit<T: Send + Sync + 'static>(&self, key: &Key, now: Moment) -> Option<Reply<T>> {
        let Peek::Hit(entry) = self.shelf.peek(key, now) else {
            return None;
        };
        let age = entry.age(now);
        if self.policy.plan(age) != Plan::Serve {
            return None;
        }
        let slot = entry.downcast()?;
        Some(Reply::new(slot, Outcome::fresh(age, self.fresh_for)))
    }

    /// Warns once of each kind of error that cached answers stand in for.
    pub(crate) fn warn_masked(&self, route: &Route, error: &CallError) {
        const MOST: usize = 64;
        let kind = match error.remote() {
            Some(remote) => remote
                .exc_type
                .chars()
                .take(128)
                .flat_map(char::escape_debug)
                .collect(),
            None => format!("{:?}", error.class()),
        };
        let mut warned = self.warned.lock().unwrap_or_else(PoisonError::into_inner);
        if warned.len() < MOST && warned.insert(kind.clone()) {
            tracing::warn!(%route, error = kind, "cached answers stand in for an error of this kind; warned of once");
        }
    }
}

/// The value of an entry as a `T`: the one it holds, or one decoded from its text, which leaves the entry alone.
pub(crate) fn value_of<T>(route: &Route, entry: Entry) -> Result<Arc<Slot<T>>, CallError>
where
    T: DeserializeOwned + Send + Sync + 'static,
{
    if entry.holds::<T>()
        && let Some(slot) = entry.clone().downcast()
    {
        return Ok(slot);
    }
    tracing::trace!(%route, expected = type_name::<T>(), "the cached reply is decoded for another type");
    let value = wire::decode(route, entry.body())?;
    Ok(Arc::new(Slot {
        sent: entry.sent(),
        body: entry.body().clone(),
        value,
    }))
}
