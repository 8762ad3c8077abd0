//! The fake broker on a TCP port, speaking AMQP 0-9-1: for real clients, in any language, and real nameko services.

mod basic;
mod channel;
mod command;
mod confirms;
pub mod conformance;
mod connection;
mod dispatch;
mod exchanges;
mod fault;
mod frames;
mod handshake;
mod lasting;
mod listener;
mod message;
mod outbox;
mod queues;
mod raw;
mod refusal;
mod session;
mod shared;
mod sudden;
#[cfg(feature = "tls")]
mod tls;
mod topology;
mod transcript;
mod vhost;

use std::{
    fmt,
    net::{Ipv4Addr, SocketAddr},
    sync::Arc,
};

use tokio::{net::TcpListener, task::JoinHandle, time::Instant};

pub use fault::{Tune, WireFault};
pub use raw::RawClient;
pub use sudden::Damage;
#[cfg(feature = "tls")]
pub use tls::Certificate;

use crate::{FakeBroker, fail};
use message::Message;
use shared::Shared;
#[cfg(feature = "tls")]
use tls::Tls;
/// There is none without the feature.
#[cfg(not(feature = "tls"))]
#[derive(Debug, Clone)]
enum Tls {}

/// A [`FakeBroker`] on a TCP port of this machine, made by [`FakeBroker::serve`]. It speaks AMQP 0-9-1, so that every
/// AMQP library, real nameko services and real nameko clients talk to it. Dropped, it closes the port and all
/// connections.
///
/// # What it does
/// What is sent to exchange `nameko-rpc` with the routing key `{service}.{method}` is answered by the broker's rules:
/// they stand for a queue `rpc-{service}`. As soon as somebody declares the real queue `rpc-{service}`, its consumers
/// get the requests of that service, and the rules don't see them. What no queue and no service takes is returned (312
/// `NO_ROUTE`), and fails the test at its end.
///
/// Beside that it is a small RabbitMQ: exchanges of all four types and bindings between them, queues (exclusive,
/// auto-delete, `x-expires`, `x-message-ttl`), consumers with prefetch and acknowledgements, redelivery, `basic.get`,
/// returns, publisher confirms, consumer cancel notification, `connection.blocked`, heartbeats; with RabbitMQ's reply
/// codes and texts. It takes any user name and password, and calls its one vhost as the client does.
///
/// Outages of the [`FakeBroker`] count here too: [`down`](FakeBroker::down) resets all connections and each new one,
/// [`blocked`](FakeBroker::blocked) sends `connection.blocked` and reads nothing more from those who publish,
/// [`unknown`](FakeBroker::unknown) and [`silent`](FakeBroker::silent) make requests come back or wait.
///
/// # What it does not do
/// Persistence, clusters, transactions, priorities, dead letters, lengths of queues, streams, direct reply-to,
/// permissions. An answer that refuses a request ([`Answer::nack`](crate::Answer::nack),
/// [`Answer::unknown_service`](crate::Answer::unknown_service)) can only be given to one that isn't confirmed yet: not
/// to a call that was held by the test. A client that reads nothing while 256 MiB wait for it is reset. A lost connection ends no call that a service works on: the reply goes to the
/// reply queue, as a real one.
///
/// ```
/// # use nameko_cachetools_testkit::{Answer, FakeBroker, wire::RawClient};
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> std::io::Result<()> {
/// let broker = FakeBroker::new();
/// broker.on("stock.level").reply(Answer::ok(3));
/// let wire = broker.serve().await;
/// // connect any client to wire.uri(); here a raw one, that shows each frame
/// let mut client = RawClient::connect(&wire.uri()).await?;
/// client.say("1 channel.open").await;
/// client.say("1 queue.declare replies exclusive").await;
/// client.say("1 queue.bind replies nameko-rpc me").await;
/// client.say("1 basic.consume replies c no-ack").await;
/// for ok in ["channel.open-ok", "queue.declare-ok replies messages=0 consumers=0", "queue.bind-ok"] {
///     assert_eq!(client.hear().await, format!("1 {ok}"));
/// }
/// assert_eq!(client.hear().await, "1 basic.consume-ok c");
///
/// client.call(1, "stock.level", "me", r#"{"args": ["A1"], "kwargs": {}}"#).await;
/// assert_eq!(client.hear().await, "1 basic.deliver c tag=1 nameko-rpc me");
/// # client.hear().await;
/// # assert_eq!(client.hear().await, r#"1 body {"result": 3, "error": null}"#);
/// # Ok(())
/// # }
/// ```
#[must_use = "the port is closed when this is dropped"]
pub struct WireBroker {
    shared: Arc<Shared>,
    address: SocketAddr,
    tls: Option<Tls>,
    listener: JoinHandle<()>,
}

/// Where and how a fake broker listens. The default: any free port of 127.0.0.1, and nameko's exchange.
#[derive(Debug, Clone)]
#[must_use = "pass it to `FakeBroker::serve_with`"]
pub struct Listen {
    address: SocketAddr,
    rpc_exchange: String,
    tls: Option<Tls>,
}

/// A queue of a [`WireBroker`], as its management plugin would show it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct QueueInfo {
    /// Its name.
    pub name: String,
    /// How many messages wait in it.
    pub ready: usize,
    /// How many consume it.
    pub consumers: usize,
}

impl Default for Listen {
    fn default() -> Self {
        Self {
            address: (Ipv4Addr::LOCALHOST, 0).into(),
            rpc_exchange: "nameko-rpc".to_owned(),
            tls: None,
        }
    }
}

impl Listen {
    /// On this port instead of any free one.
    pub fn port(mut self, port: u16) -> Self {
        self.address.set_port(port);
        self
    }

    /// On this address. Others than loopback ones let everybody in your network in, without a password.
    pub fn address(mut self, address: SocketAddr) -> Self {
        self.address = address;
        self
    }

    /// nameko's `rpc_exchange`, if the clients are configured with another one.
    pub fn rpc_exchange(mut self, exchange: impl Into<String>) -> Self {
        self.rpc_exchange = exchange.into();
        self
    }
}

impl FakeBroker {
    /// Listens on a free port of 127.0.0.1, for real AMQP clients: see [`WireBroker`]. Any number of times.
    ///
    /// # Panics
    /// If tokio's clock is paused: sockets take real time, so that every timeout of a client would fire at once. Or if
    /// there is no free port.
    ///
    /// ```
    /// # use nameko_cachetools_testkit::FakeBroker;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// let broker = FakeBroker::new();
    /// let wire = broker.serve().await;
    /// assert!(wire.uri().starts_with("amqp://guest:guest@127.0.0.1:"));
    /// # }
    /// ```
    #[track_caller]
    pub fn serve(&self) -> impl Future<Output = WireBroker> + use<'_> {
        self.serve_with(Listen::default())
    }

    /// The same on a port or under an exchange of your choice.
    ///
    /// # Panics
    /// As [`serve`](Self::serve), and if the port isn't free.
    ///
    /// ```
    /// # use nameko_cachetools_testkit::{FakeBroker, wire::Listen};
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// let broker = FakeBroker::new();
    /// let wire = broker.serve_with(Listen::default().rpc_exchange("my-rpc")).await;
    /// # drop(wire);
    /// # }
    /// ```
    #[track_caller]
    pub fn serve_with(&self, listen: Listen) -> impl Future<Output = WireBroker> + use<'_> {
        if clock_is_paused() {
            fail(
                "tokio's clock is paused, and real sockets take real time: every timeout would fire at once. Use \
                 broker.transport() or broker.client() in this test, or take `start_paused` away.",
            );
        }
        let hub = Arc::clone(&self.hub);
        async move {
            let bound = TcpListener::bind(listen.address).await;
            let (listener, address) = match bound.and_then(|bound| bound.local_addr().map(|at| (bound, at))) {
                Ok(bound) => bound,
                Err(error) => fail(format!(
                    "the fake broker can't listen on {}: {error}",
                    listen.address
                )),
            };
            let shared = Arc::new(Shared::new(hub, listen.rpc_exchange));
            let heard_by = Arc::downgrade(&shared);
            shared
                .hub
                .lock()
                .listeners
                .taps
                .push(Arc::new(move |service, event| {
                    if let Some(shared) = heard_by.upgrade() {
                        shared.with(|vhost| vhost.publish_own(Message::event(service, event)));
                    }
                }));
            let tls = listen.tls;
            let listener = tokio::spawn(listener::listen(listener, Arc::clone(&shared), tls.clone()));
            WireBroker {
                shared,
                address,
                tls,
                listener,
            }
        }
    }
}

impl WireBroker {
    /// Where to connect to: `amqp://guest:guest@127.0.0.1:{port}/%2f`, nameko's `AMQP_URI`; with TLS
    /// `amqps://guest:guest@localhost:{port}/%2f`.
    pub fn uri(&self) -> String {
        match &self.tls {
            None => format!("amqp://guest:guest@{}/%2f", self.address),
            Some(_) => format!("amqps://guest:guest@localhost:{}/%2f", self.address.port()),
        }
    }

    /// The port's address.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// How many connections are open.
    ///
    /// ```
    /// # use nameko_cachetools_testkit::{FakeBroker, wire::RawClient};
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> std::io::Result<()> {
    /// # let broker = FakeBroker::new();
    /// let wire = broker.serve().await;
    /// let _client = RawClient::connect(&wire.uri()).await?;
    /// assert_eq!(wire.connections(), 1);
    /// # Ok(())
    /// # }
    /// ```
    pub fn connections(&self) -> usize {
        self.shared.lock().sessions.len()
    }

    /// All queues, by name: for checks that nothing is left behind.
    ///
    /// ```
    /// # use nameko_cachetools_testkit::{FakeBroker, wire::RawClient};
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> std::io::Result<()> {
    /// # let broker = FakeBroker::new();
    /// let wire = broker.serve().await;
    /// let mut client = RawClient::connect(&wire.uri()).await?;
    /// client.say("1 channel.open").await;
    /// client.say("1 queue.declare q durable").await;
    /// # client.hear().await; client.hear().await;
    /// assert_eq!(wire.queues()[0].name, "q");
    /// # Ok(())
    /// # }
    /// ```
    pub fn queues(&self) -> Vec<QueueInfo> {
        let vhost = self.shared.lock();
        vhost
            .queues
            .iter()
            .map(|(name, queue)| QueueInfo {
                name: name.clone(),
                ready: queue.ready(),
                consumers: queue.consumers.len(),
            })
            .collect()
    }
}

impl Drop for WireBroker {
    fn drop(&mut self) {
        self.listener.abort();
    }
}

impl fmt::Debug for WireBroker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "WireBroker({})", self.address)
    }
}

/// A paused clock shows by not moving while the real one does.
#[allow(
    clippy::disallowed_methods,
    reason = "compares tokio's clock with the real one"
)]
fn clock_is_paused() -> bool {
    let (paused, real) = (Instant::now(), std::time::Instant::now());
    while real == std::time::Instant::now() {
        std::hint::spin_loop();
    }
    paused == Instant::now()
}
