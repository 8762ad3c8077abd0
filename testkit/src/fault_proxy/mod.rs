//! A TCP proxy that breaks what runs through it, on command: for tests of transports over real sockets.
//!
//! ```no_run
//! # async fn example() -> std::io::Result<()> {
//! use nameko_cachetools_testkit::fault_proxy::{Cut, FaultProxy, Flow};
//!
//! let proxy = FaultProxy::start("amqp://guest:guest@127.0.0.1:5672/%2f").await?;
//! let uri = proxy.uri(); // the same account and vhost, by the proxy's address: connect here
//! proxy.cut(Cut::Reset); // every connection ends, and the next one works
//! proxy.to_client(Flow::Lost); // half-open: what the broker says is lost, and nobody is told
//! proxy.heal();
//! # Ok(())
//! # }
//! ```
//!
//! | for | use |
//! |---|---|
//! | ends | [`FaultProxy::cut`] by reset or FIN, [`FaultProxy::refuse`] |
//! | bytes, in each direction | [`Flow`]: stalled, lost, slow, late |
//! | frames from the broker | [`FaultProxy::rewrite`] (an ack into a nack, or into nothing), [`FaultProxy::inject`] |
//! | what went through | [`FaultProxy::accepted`], [`FaultProxy::open`], [`FaultProxy::bytes_to_broker`] |
//!
//! It speaks no AMQP of its own and sees no TLS: frames are known by their headers, and what isn't framed like AMQP
//! passes as bytes. It listens on loopback only, and lives in real time: sockets don't obey a paused clock.

mod frame;
mod wire;

use std::{
    fmt, io,
    net::Ipv4Addr,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{mpsc, watch},
    task::JoinHandle,
    time::sleep,
};

pub use frame::Frame;
use wire::{Order, carry};

/// What happens to the bytes of one direction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Flow {
    /// They pass.
    #[default]
    Open,
    /// They wait, ends of connections included, until the flow is another one.
    Stalled,
    /// They are lost, ends included: this direction of the connection is dead. It stays so for connections that have
    /// lost something, since TCP never skips; later ones follow the flow of their time.
    Lost,
    /// So many at a time, with a pause after each.
    Slow {
        /// At most so many bytes.
        bytes: usize,
        /// The pause.
        every: Duration,
    },
    /// What was read at once (64 KiB at the most) passes this much later.
    Late(Duration),
}

/// How a connection ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cut {
    /// By RST, to both sides: what was under way is forgotten.
    Reset,
    /// By FIN, to both sides, after what was passed on.
    Fin,
}

/// The proxy. Dropped, it resets all connections.
pub struct FaultProxy {
    uri: String,
    shared: Arc<Shared>,
    listener: JoinHandle<()>,
}

type Rewrite = Box<dyn FnMut(Frame) -> Vec<Frame> + Send>;

/// What all connections share.
#[derive(Default)]
struct Shared {
    to_broker: watch::Sender<Flow>,
    to_client: watch::Sender<Flow>,
    refusing: AtomicBool,
    rewrite: Mutex<Option<Rewrite>>,
    wires: Mutex<Vec<mpsc::UnboundedSender<Order>>>,
    accepted: AtomicUsize,
    bytes_to_broker: AtomicU64,
}

impl FaultProxy {
    /// Starts a proxy to the host and port of `uri` (of any scheme; without a port, of AMQP's).
    ///
    /// # Errors
    /// [`InvalidInput`](io::ErrorKind::InvalidInput) if the URI has no host; or there is no port to listen on.
    pub async fn start(uri: &str) -> io::Result<Self> {
        let (before, place, after) = parts(uri).ok_or(io::ErrorKind::InvalidInput)?;
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let uri = format!("{before}{}{after}", listener.local_addr()?);
        let shared = Arc::new(Shared::default());
        let listener = tokio::spawn(listen(listener, place, shared.clone()));
        Ok(Self {
            uri,
            shared,
            listener,
        })
    }

    /// The URI that it was started with, by the proxy's address.
    pub fn uri(&self) -> &str {
        &self.uri
    }

    /// Sets what happens to the bytes of clients, for all connections.
    ///
    /// ```
    /// # use nameko_cachetools_testkit::{FakeBroker, fault_proxy::{Cut, FaultProxy, Flow, Frame}, wire::RawClient};
    /// # use std::time::Duration;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> std::io::Result<()> {
    /// # let broker = FakeBroker::new();
    /// # let wire = broker.serve().await;
    /// # let ms = Duration::from_millis;
    /// let proxy = FaultProxy::start(&wire.uri()).await?;
    /// let mut client = RawClient::connect(proxy.uri()).await?;
    /// proxy.to_broker(Flow::Stalled);
    /// client.say("1 channel.open").await;
    /// assert!(client.hears_nothing_for(ms(20)).await);
    /// proxy.to_broker(Flow::Slow { bytes: 4, every: ms(1) });
    /// assert_eq!(client.hear().await, "1 channel.open-ok");
    /// # Ok(())
    /// # }
    /// ```
    pub fn to_broker(&self, flow: Flow) {
        self.shared.to_broker.send_replace(flow);
    }

    /// Sets what happens to the bytes of the broker, for all connections.
    ///
    /// ```
    /// # use nameko_cachetools_testkit::{FakeBroker, fault_proxy::{Cut, FaultProxy, Flow, Frame}, wire::RawClient};
    /// # use std::time::Duration;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> std::io::Result<()> {
    /// # let broker = FakeBroker::new();
    /// # let wire = broker.serve().await;
    /// # let ms = Duration::from_millis;
    /// let proxy = FaultProxy::start(&wire.uri()).await?;
    /// let mut client = RawClient::connect(proxy.uri()).await?;
    /// proxy.to_client(Flow::Late(ms(50)));
    /// client.say("1 channel.open").await;
    /// assert!(client.hears_nothing_for(ms(20)).await);
    /// assert_eq!(client.hear().await, "1 channel.open-ok");
    /// proxy.to_client(Flow::Lost);
    /// client.say("2 channel.open").await;
    /// assert!(client.hears_nothing_for(ms(20)).await);
    /// # Ok(())
    /// # }
    /// ```
    pub fn to_client(&self, flow: Flow) {
        self.shared.to_client.send_replace(flow);
    }

    /// Whether new connections are accepted and closed at once.
    ///
    /// ```
    /// # use nameko_cachetools_testkit::{FakeBroker, fault_proxy::{Cut, FaultProxy, Flow, Frame}, wire::RawClient};
    /// # use std::time::Duration;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> std::io::Result<()> {
    /// # let broker = FakeBroker::new();
    /// # let wire = broker.serve().await;
    /// # let ms = Duration::from_millis;
    /// let proxy = FaultProxy::start(&wire.uri()).await?;
    /// proxy.refuse(true);
    /// assert!(RawClient::connect(proxy.uri()).await.is_err());
    /// proxy.refuse(false);
    /// assert!(RawClient::connect(proxy.uri()).await.is_ok());
    /// # Ok(())
    /// # }
    /// ```
    pub fn refuse(&self, refuse: bool) {
        self.shared.refusing.store(refuse, Ordering::SeqCst);
    }

    /// Ends every connection there is; the next one works.
    ///
    /// ```
    /// # use nameko_cachetools_testkit::{FakeBroker, fault_proxy::{Cut, FaultProxy, Flow, Frame}, wire::RawClient};
    /// # use std::time::Duration;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> std::io::Result<()> {
    /// # let broker = FakeBroker::new();
    /// # let wire = broker.serve().await;
    /// # let ms = Duration::from_millis;
    /// let proxy = FaultProxy::start(&wire.uri()).await?;
    /// let mut client = RawClient::connect(proxy.uri()).await?;
    /// proxy.cut(Cut::Reset);
    /// assert_eq!(client.hear().await, "reset");
    /// let mut client = RawClient::connect(proxy.uri()).await?;
    /// proxy.cut(Cut::Fin);
    /// assert_eq!(client.hear().await, "closed");
    /// # Ok(())
    /// # }
    /// ```
    pub fn cut(&self, cut: Cut) {
        self.order(|| Order::Cut(cut));
    }

    /// Puts `bytes` between two frames of the broker's, on every connection there is.
    ///
    /// ```
    /// # use nameko_cachetools_testkit::{FakeBroker, fault_proxy::{Cut, FaultProxy, Flow, Frame}, wire::RawClient};
    /// # use std::time::Duration;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> std::io::Result<()> {
    /// # let broker = FakeBroker::new();
    /// # let wire = broker.serve().await;
    /// # let ms = Duration::from_millis;
    /// let proxy = FaultProxy::start(&wire.uri()).await?;
    /// let mut client = RawClient::connect(proxy.uri()).await?;
    /// proxy.inject(&b"\x08\0\0\0\0\0\0\xCE"[..]);
    /// assert_eq!(client.hear().await, "heartbeat");
    /// # Ok(())
    /// # }
    /// ```
    pub fn inject(&self, bytes: impl Into<Bytes>) {
        let bytes = bytes.into();
        self.order(|| Order::Inject(bytes.clone()));
    }

    /// Passes what `rewrite` makes of each of the broker's frames, on all connections, until
    /// [`heal`](Self::heal).
    ///
    /// ```
    /// # use nameko_cachetools_testkit::{FakeBroker, fault_proxy::{Cut, FaultProxy, Flow, Frame}, wire::RawClient};
    /// # use std::time::Duration;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> std::io::Result<()> {
    /// # let broker = FakeBroker::new();
    /// # let wire = broker.serve().await;
    /// # let ms = Duration::from_millis;
    /// let proxy = FaultProxy::start(&wire.uri()).await?;
    /// let mut client = RawClient::connect(proxy.uri()).await?;
    /// proxy.rewrite(|frame| if frame.channel == 1 { vec![] } else { vec![frame] }); // channel 1 is deaf
    /// client.say("1 channel.open").await;
    /// client.say("2 channel.open").await;
    /// assert_eq!(client.hear().await, "2 channel.open-ok");
    /// # Ok(())
    /// # }
    /// ```
    pub fn rewrite(&self, rewrite: impl FnMut(Frame) -> Vec<Frame> + Send + 'static) {
        *lock(&self.shared.rewrite) = Some(Box::new(rewrite));
    }

    /// Everything passes from now on, new connections too. What was cut or has lost bytes stays so.
    pub fn heal(&self) {
        self.to_broker(Flow::Open);
        self.to_client(Flow::Open);
        self.refuse(false);
        *lock(&self.shared.rewrite) = None;
    }

    /// How many connections there have been, refused ones included.
    pub fn accepted(&self) -> usize {
        self.shared.accepted.load(Ordering::SeqCst)
    }

    /// How many connections there are.
    pub fn open(&self) -> usize {
        let mut wires = lock(&self.shared.wires);
        wires.retain(|wire| !wire.is_closed());
        wires.len()
    }

    /// How many bytes were passed to the broker on all connections.
    pub fn bytes_to_broker(&self) -> u64 {
        self.shared.bytes_to_broker.load(Ordering::SeqCst)
    }

    fn order(&self, order: impl Fn() -> Order) {
        // Those that can't be told have ended.
        lock(&self.shared.wires).retain(|wire| wire.send(order()).is_ok());
    }
}

impl Drop for FaultProxy {
    fn drop(&mut self) {
        self.listener.abort();
        self.cut(Cut::Reset);
    }
}

/// The account that the URI holds is test data.
impl fmt::Debug for FaultProxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FaultProxy")
            .field("uri", &self.uri)
            .finish_non_exhaustive()
    }
}

async fn listen(listener: TcpListener, upstream: String, shared: Arc<Shared>) {
    loop {
        let Ok((client, _)) = listener.accept().await else {
            sleep(Duration::from_millis(50)).await; // out of sockets: the next try would fail as well
            continue;
        };
        shared.accepted.fetch_add(1, Ordering::SeqCst);
        if shared.refusing.load(Ordering::SeqCst) {
            continue;
        }
        let (orders, ordered) = mpsc::unbounded_channel();
        let mut wires = lock(&shared.wires);
        wires.retain(|wire| !wire.is_closed());
        wires.push(orders);
        drop(wires);
        let (upstream, shared) = (upstream.clone(), shared.clone());
        tokio::spawn(async move {
            // Without a broker, the client's connection is closed: nobody listens.
            if let Ok(broker) = TcpStream::connect(upstream).await {
                carry(client, broker, ordered, &shared).await;
            }
        });
    }
}

/// What is before `host:port`, that, and what is behind.
fn parts(uri: &str) -> Option<(&str, String, &str)> {
    let start = uri.find("://")? + 3;
    let end = uri[start..].find('/').map_or(uri.len(), |slash| start + slash);
    let start = uri[start..end].rfind('@').map_or(start, |at| start + at + 1);
    let place = &uri[start..end];
    let has_port = place
        .rfind(':')
        .is_some_and(|colon| !place[colon..].contains(']'));
    let place = match place {
        "" => return None,
        _ if has_port => place.to_owned(),
        _ => format!("{place}:5672"),
    };
    Some((&uri[..start], place, &uri[end..]))
}

/// No code that may panic but the test's own runs under these locks.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_uri_keeps_all_but_its_place() {
        let parts = |uri| parts(uri).unwrap();
        assert_eq!(
            parts("amqp://u:p@rabbit:5673/%2f"),
            ("amqp://u:p@", "rabbit:5673".into(), "/%2f")
        );
        assert_eq!(parts("amqp://rabbit/v"), ("amqp://", "rabbit:5672".into(), "/v"));
        assert_eq!(parts("amqp://[::1]"), ("amqp://", "[::1]:5672".into(), ""));
        assert!(super::parts("rabbit").is_none() && super::parts("amqp://").is_none());
    }

    #[tokio::test]
    async fn connections_that_have_ended_are_not_kept() {
        let proxy = FaultProxy::start("amqp://127.0.0.1:1").await.unwrap(); // nobody listens there
        let (_, place, _) = super::parts(proxy.uri()).unwrap();
        for _ in 0..20 {
            let client = TcpStream::connect(&place).await.unwrap();
            client.readable().await.unwrap(); // its end
        }
        let kept = lock(&proxy.shared.wires).len();
        assert!(kept < 5, "{kept} of 20 connections are kept");
    }
}
