//! How a transport is made.

use std::{fmt, marker::PhantomData, sync::Arc, time::Duration};

use nameko_cachetools::TransportError;
use tokio::sync::watch;

use crate::{
    Address, Backoff, InvalidUri,
    calls::Calls,
    link::LinkFactory,
    listeners::Listeners,
    settings::Settings,
    supervisor::Supervisor,
    transport::{AmqpTransport, Parts},
};

/// Settings of a transport. Each has a default; limits have one for a reason, see each method.
#[must_use = "call `connect` or `connect_lazy`"]
pub struct Builder<T> {
    links: Arc<dyn LinkFactory>,
    uri: String,
    settings: Settings,
    made: PhantomData<fn() -> T>,
}

impl<T: From<AmqpTransport>> Builder<T> {
    /// All defaults, and the broker `amqp://guest:guest@localhost:5672/%2f`. For crates over a library: programs
    /// start at `LapinTransport::builder()` and its likes.
    pub fn new(links: Arc<dyn LinkFactory>) -> Self {
        Self {
            links,
            uri: "amqp://".to_owned(),
            settings: Settings::new(Vec::new()),
            made: PhantomData,
        }
    }

    /// Where the broker is, as in nameko's `AMQP_URI`: see [`Address::parse`]. Several, separated by `;`, are tried
    /// in turn.
    pub fn uri(mut self, uri: impl Into<String>) -> Self {
        self.uri = uri.into();
        self
    }

    /// This program's name, shown by the broker in the reply queue's and the connection's name, and by services in call
    /// ids: 1 to 100 visible ASCII characters. `nameko-cachetools` by default.
    pub fn app(mut self, app: impl Into<String>) -> Self {
        self.settings.app = app.into();
        self
    }

    /// The exchange of requests and replies: nameko's `rpc_exchange`, and the same as the services'. `nameko-rpc` by
    /// default.
    pub fn rpc_exchange(mut self, exchange: impl Into<String>) -> Self {
        self.settings.rpc_exchange = exchange.into();
        self
    }

    /// AMQP heartbeat, and half of the longest silence that is not looked into: 4 s to 1 h, whole seconds. 10 s by
    /// default, as RabbitMQ advises (5 to 20 s).
    ///
    /// A reply on its way is silence, too: the libraries tell of it when all of it has come. One that takes longer than one
    /// and a half heartbeats ends the connection, so over a slow network large replies want longer ones: with 10 s, 4 MiB
    /// need 280 KB per second.
    pub fn heartbeat(mut self, heartbeat: Duration) -> Self {
        self.settings.heartbeat = heartbeat;
        self
    }

    /// How many requests may wait for replies; one more fails at once with `Overloaded`. 10,000 by default.
    pub fn max_in_flight(mut self, requests: usize) -> Self {
        self.settings.max_in_flight = requests;
        self
    }

    /// Longest body of a request; a longer one fails with `RequestTooLarge`. 16 MiB by default, as RabbitMQ 4.
    pub fn max_request_bytes(mut self, bytes: usize) -> Self {
        self.settings.max_request_bytes = bytes;
        self
    }

    /// Longest body of a reply; a longer one is dropped unread, `ReplyTooLarge`. 4 MiB by default. The library has
    /// received it by then: bound messages in the broker too (`max_message_size`).
    pub fn max_reply_bytes(mut self, bytes: usize) -> Self {
        self.settings.max_reply_bytes = bytes;
        self
    }

    /// Requests which the socket has not taken yet, all together, each by its body and 1 KiB; further requests wait for
    /// room, up to `send_timeout`. 64 MiB by default.
    pub fn max_unsent_bytes(mut self, bytes: usize) -> Self {
        self.settings.max_unsent_bytes = bytes;
        self
    }

    /// Longest time for TCP, TLS, handshake and declarations together, per address. 5 s by default.
    pub fn connect_timeout(mut self, limit: Duration) -> Self {
        self.settings.connect_timeout = limit;
        self
    }

    /// Longest time until the socket has taken a request; then the connection is given up. 5 s by default.
    pub fn send_timeout(mut self, limit: Duration) -> Self {
        self.settings.send_timeout = limit;
        self
    }

    /// Pauses between attempts to connect. 50 ms doubling to 1 s by default, 10 s when the broker refuses us.
    pub fn backoff(mut self, backoff: Backoff) -> Self {
        self.settings.backoff = backoff;
        self
    }

    /// Whether a request carries how long it may wait in the service's queue ([`Request::expiration`]): by default it
    /// does, so that a service that comes back doesn't execute what nobody waits for any more. With `false` it waits for
    /// ever, as nameko's own.
    ///
    /// [`Request::expiration`]: nameko_cachetools::Request::expiration
    pub fn expire_requests(mut self, expire: bool) -> Self {
        self.settings.expire_requests = expire;
        self
    }

    /// How `amqps://` addresses are secured. The system's certificates are trusted by default.
    #[cfg(feature = "tls")]
    pub fn tls(mut self, tls: crate::Tls) -> Self {
        self.settings.tls = tls;
        self
    }

    /// Connects, declares the exchange and the reply queue, and consumes it. From then on the transport reconnects by
    /// itself.
    ///
    /// # Errors
    /// [`ConnectError`]: a setting is wrong, or no address could be connected to. Nothing goes on behind.
    pub async fn connect(self) -> Result<T, ConnectError> {
        let (supervisor, parts) = self.prepared()?;
        let opened = supervisor
            .open()
            .await
            .map_err(|failure| failure.connect_error())?;
        Ok(T::from(AmqpTransport::start(supervisor, Some(opened), parts)))
    }

    /// Starts without waiting for the broker: until there is a connection, requests fail with `NotConnected` (and
    /// cached proxies answer from their stores).
    ///
    /// # Errors
    /// [`ConnectError`]: a setting is wrong.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub fn connect_lazy(self) -> Result<T, ConnectError> {
        let (supervisor, parts) = self.prepared()?;
        Ok(T::from(AmqpTransport::start(supervisor, None, parts)))
    }

    fn prepared(mut self) -> Result<(Supervisor, Parts), ConnectError> {
        self.settings.addresses = Address::parse(&self.uri)?;
        if let Some(rule) = self.settings.broken_rule() {
            return Err(ConnectError::InvalidSetting(rule));
        }
        #[cfg(feature = "tls")]
        let tls = match self.settings.addresses.iter().any(|address| address.tls) {
            true => Some(self.settings.tls.config()?),
            false => None,
        };
        if let Some(address) = self
            .settings
            .addresses
            .iter()
            .find(|address| address.is_exposed())
        {
            tracing::warn!(%address, "passwords and data go over the network in the clear; amqps:// protects them");
        }
        let settings = Arc::new(self.settings);
        let calls = Calls::new(settings.max_in_flight);
        let stop = watch::Sender::new(false);
        let listeners = Arc::<Listeners>::default();
        let supervisor = Supervisor::new(
            self.links,
            settings.clone(),
            calls.clone(),
            listeners.clone(),
            stop.subscribe(),
        );
        #[cfg(feature = "tls")]
        let supervisor = supervisor.secured_by(tls);
        Ok((
            supervisor,
            Parts {
                settings,
                calls,
                listeners,
                stop,
            },
        ))
    }
}

/// Without the URI, which may hold a password.
impl<T> fmt::Debug for Builder<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Builder")
            .field("settings", &self.settings)
            .finish_non_exhaustive()
    }
}

/// Why a transport could not be made.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// The URI can't be read.
    #[error(transparent)]
    InvalidUri(#[from] InvalidUri),
    /// Certificates or a key can't be used.
    #[cfg(feature = "tls")]
    #[error(transparent)]
    InvalidTls(#[from] crate::InvalidTls),
    /// A setting is out of its limits: the rule that it breaks.
    #[error("a transport can't be set up like this: {0}")]
    InvalidSetting(&'static str),
    /// No address could be connected to. `Timeout`, `NotConnected` (trying again may help), `Refused` (it won't), or
    /// `PausedClock`.
    #[error(transparent)]
    Failed(#[from] TransportError),
}
