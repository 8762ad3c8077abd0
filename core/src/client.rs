//! One connection's worth of calls: what all proxies of a process share.

use std::{fmt, sync::Arc, time::Duration};

use tokio::sync::watch;

use crate::{
    clock::Clock,
    context::Context,
    entry::Sent,
    invalidate::{Epochs, Force, Scope},
    queue::ServiceQueue,
    transport::{ConnectionState, Transport},
    wire::Publishing,
};

/// Makes calls over one [`Transport`]. Cloning it is cheap and shares the connection; it is used from any task.
///
/// ```
/// use nameko_cachetools::{Client, Reply, Request, Response, args, transport_fn};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let transport = transport_fn(|_: Request| async { Ok(Response::json(r#"{"result": 7, "error": null}"#)) });
/// let client = Client::new(transport);
/// let stock: Reply<u64> = client.service("warehouse").call("stock", args!["the_odyssey"]).await?;
/// assert_eq!(*stock, 7);
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Client {
    shared: Arc<Shared>,
    context: Context,
}

struct Shared {
    transport: Arc<dyn Transport>,
    clock: Clock,
    app: String,
    namespace: String,
    publishing: Publishing,
    call_timeout: Option<Duration>,
    epochs: Arc<Epochs>,
}

impl Client {
    /// A client with the defaults of [`ClientBuilder`].
    pub fn new(transport: impl Transport) -> Self {
        Self::builder(transport).build()
    }

    /// A client with other settings.
    pub fn builder(transport: impl Transport) -> ClientBuilder {
        ClientBuilder {
            shared: Shared {
                clock: transport.clock(),
                app: transport.app().unwrap_or("nameko-cachetools").to_owned(),
                transport: Arc::new(transport),
                namespace: String::new(),
                publishing: Publishing {
                    persistent: true,
                    expiration: None,
                },
                call_timeout: None,
                epochs: Arc::default(),
            },
            context: Context::new(),
        }
    }

    /// The same client on behalf of somebody else: `context` is merged over this client's own.
    ///
    /// Proxies keep the context of the client that they were built with; a call's own is merged over that.
    #[must_use]
    pub fn with_context(&self, context: &Context) -> Self {
        Self {
            shared: Arc::clone(&self.shared),
            context: self.context.merged(context),
        }
    }

    /// Forgets what is cached in `scope`, for failover too, in all proxies of this client: whatever was asked for
    /// before, be it stored already or still on its way, is not an answer any more.
    ///
    /// ```
    /// # use nameko_cachetools::{Client, Request, Response, Scope, transport_fn};
    /// # let client = Client::new(transport_fn(|_: Request| async { Ok(Response::json("")) }));
    /// client.invalidate(&Scope::method("products", "get"));
    /// ```
    pub fn invalidate(&self, scope: &Scope) {
        self.shared
            .epochs
            .raise(scope, Sent::now(self.clock()), Force::Hard);
    }

    /// Makes what is cached in `scope` stale, in all proxies of this client: it is not served as fresh any more, and
    /// may still stand in for an answer that fails or is slow.
    pub fn expire(&self, scope: &Scope) {
        self.shared
            .epochs
            .raise(scope, Sent::now(self.clock()), Force::Soft);
    }

    /// The context that goes with every call.
    pub fn context(&self) -> &Context {
        &self.context
    }

    /// The connection's state, to read or to watch.
    pub fn state(&self) -> watch::Receiver<ConnectionState> {
        self.shared.transport.state()
    }

    /// Whether a call made now would be sent: for a readiness probe.
    pub fn is_ready(&self) -> bool {
        self.state().borrow().is_ready()
    }

    /// What the broker knows of a service's request queue: whether anybody reads it, and how much waits there. `None` if
    /// it can't be told; see [`Transport::service_queue`].
    pub async fn service_queue(&self, service: &str) -> Option<ServiceQueue> {
        self.shared.transport.service_queue(service).await
    }

    /// Closes the transport under all clones of this client: refuses new calls, waits up to `grace` for those under
    /// way, fails the rest. Cached answers go on being served.
    pub async fn close(&self, grace: Duration) {
        self.shared.transport.close(grace).await;
    }

    pub(crate) fn transport(&self) -> &Arc<dyn Transport> {
        &self.shared.transport
    }

    pub(crate) fn epochs(&self) -> &Arc<Epochs> {
        &self.shared.epochs
    }

    pub(crate) fn clock(&self) -> Clock {
        self.shared.clock
    }

    pub(crate) fn app(&self) -> &str {
        &self.shared.app
    }

    pub(crate) fn namespace(&self) -> &str {
        &self.shared.namespace
    }

    pub(crate) fn publishing(&self) -> Publishing {
        self.shared.publishing
    }

    pub(crate) fn call_timeout(&self) -> Option<Duration> {
        self.shared.call_timeout
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client")
            .field("app", &self.shared.app)
            .field("state", &*self.state().borrow())
            .field("context", &self.context)
            .finish()
    }
}

/// The settings of a [`Client`].
#[must_use]
pub struct ClientBuilder {
    shared: Shared,
    context: Context,
}

impl ClientBuilder {
    /// The name this process goes by in call ids, `{app}.call.{uuid}`, which show up in Python's logs and tracers.
    /// Default: [the transport's](Transport::app), or `nameko-cachetools`.
    pub fn app_name(mut self, name: impl Into<String>) -> Self {
        self.shared.app = name.into();
        self
    }

    /// A name that keeps the keys of this client apart from those of clients of another broker or virtual host, where
    /// both use one shared store. Default: empty.
    pub fn namespace(mut self, name: impl Into<String>) -> Self {
        self.shared.namespace = name.into();
        self
    }

    /// The context that goes with every call. Default: empty.
    pub fn context(mut self, context: Context) -> Self {
        self.context = context;
        self
    }

    /// Whether requests are written to disk by the broker (nameko's `delivery_mode`). Default: yes, as in nameko.
    pub fn persistent(mut self, persistent: bool) -> Self {
        self.shared.publishing.persistent = persistent;
        self
    }

    /// How long a request may wait in the service's queue before the broker drops it, to the millisecond. Default:
    /// `None`, as in nameko: a service that comes back executes every request that anybody ever gave up on. (Cached
    /// proxies with a `call_timeout` use that.)
    pub fn expiration(mut self, expiration: impl Into<Option<Duration>>) -> Self {
        self.shared.publishing.expiration = expiration.into();
        self
    }

    /// The limit of a whole call through a plain [`ServiceProxy`](crate::ServiceProxy). Default: `None`, as in nameko: as long as the
    /// connection lives. Cached proxies take theirs from their policy.
    pub fn call_timeout(mut self, limit: impl Into<Option<Duration>>) -> Self {
        self.shared.call_timeout = limit.into();
        self
    }

    /// Another clock than the [transport's own](Transport::clock).
    pub fn clock(mut self, clock: Clock) -> Self {
        self.shared.clock = clock;
        self
    }

    /// Makes the client.
    pub fn build(self) -> Client {
        Client {
            shared: Arc::new(self.shared),
            context: self.context,
        }
    }
}

impl fmt::Debug for ClientBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientBuilder")
            .field("app", &self.shared.app)
            .finish_non_exhaustive()
    }
}
