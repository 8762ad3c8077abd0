//! The shared transport under this library's name.

use std::{fmt, pin::Pin, sync::Arc, time::Duration};

use async_trait::async_trait;
use nameko_cachetools::{
    Clock, ConnectionState, EventSource, Events, Listener, Request, Response, ServiceQueue, Transport,
    TransportError,
};
use nameko_cachetools_amqp::{AmqpTransport, Builder, ConnectError, Counters};
use tokio::sync::watch;

use crate::connect::Links;

/// A nameko RPC transport over RabbitMQ. Cloning is cheap, and all clones are one connection.
///
/// It ends with [`close`](Transport::close), or when the last clone is dropped.
#[derive(Clone)]
pub struct LapinTransport(AmqpTransport);

impl LapinTransport {
    /// Connects to `uri` (nameko's `AMQP_URI`, see [`Address::parse`](crate::Address::parse)) with all defaults.
    ///
    /// # Errors
    /// [`ConnectError`]: the URI is wrong, or no address could be connected to within 5 s.
    pub async fn connect(uri: &str) -> Result<Self, ConnectError> {
        Self::builder().uri(uri).connect().await
    }

    /// For limits, names and timeouts, and to start without a broker.
    ///
    /// ```no_run
    /// # async fn example() -> Result<(), nameko_cachetools_lapin::ConnectError> {
    /// use nameko_cachetools_lapin::LapinTransport;
    /// let transport = LapinTransport::builder().uri("amqp://rabbit/orders").app("shop").connect_lazy()?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn builder() -> Builder<Self> {
        Builder::new(Arc::new(Links))
    }

    /// The connection's state at this moment; [`health().is_ready()`](ConnectionState::is_ready) is what a probe of
    /// readiness wants to know. `Closed` from the moment that [`close`](Transport::close) was called.
    pub fn health(&self) -> ConnectionState {
        self.0.health()
    }

    /// Requests in flight, and replies that nobody waited for.
    pub fn counters(&self) -> Counters {
        self.0.counters()
    }
}

/// For [`Builder`], which makes them.
impl From<AmqpTransport> for LapinTransport {
    fn from(shared: AmqpTransport) -> Self {
        Self(shared)
    }
}

#[deny(clippy::missing_trait_methods)]
#[async_trait]
impl Transport for LapinTransport {
    /// Written out, for one future instead of one around another.
    fn request<'a, 'f>(
        &'a self,
        request: Request,
    ) -> Pin<Box<dyn Future<Output = Result<Response, TransportError>> + Send + 'f>>
    where
        'a: 'f,
        Self: 'f,
    {
        self.0.request(request)
    }

    fn state(&self) -> watch::Receiver<ConnectionState> {
        self.0.state()
    }

    fn clock(&self) -> Clock {
        self.0.clock()
    }

    fn app(&self) -> Option<&str> {
        self.0.app()
    }

    async fn service_queue(&self, service: &str) -> Option<ServiceQueue> {
        self.0.service_queue(service).await
    }

    async fn close(&self, grace: Duration) {
        self.0.close(grace).await;
    }
}

impl EventSource for LapinTransport {
    fn listen(&self, events: Events) -> Listener {
        self.0.listen(events)
    }
}

impl fmt::Debug for LapinTransport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("LapinTransport").field(&self.0).finish()
    }
}
