//! All limits of a transport, with their defaults and the reasons for them.

use std::time::Duration;

use crate::{Address, Backoff};

/// What a [`Builder`](crate::Builder) collects.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    /// Tried in turn.
    pub(crate) addresses: Vec<Address>,
    /// Shown in the reply queue's and the connection's name.
    pub(crate) app: String,
    /// nameko's `rpc_exchange`.
    pub(crate) rpc_exchange: String,
    /// Asked for from the broker; also the length of a silence after which the broker is asked whether it lives.
    /// 10 s: RabbitMQ's advice is 5 to 20 s. In whole seconds on the wire.
    pub(crate) heartbeat: Duration,
    /// Requests waiting for replies. 10,000 of them take some 35 MB; more waiting than that is an outage.
    pub(crate) max_in_flight: usize,
    /// A request's body. 16 MiB: RabbitMQ's own default since 4.0.
    pub(crate) max_request_bytes: usize,
    /// A reply's body. 4 MiB.
    pub(crate) max_reply_bytes: usize,
    /// Bodies of requests which the socket has not taken yet; later requests wait. 64 MiB: the libraries' own queues
    /// have no bound.
    pub(crate) max_unsent_bytes: usize,
    /// TCP, TLS, handshake and topology together. 5 s.
    pub(crate) connect_timeout: Duration,
    /// How long the socket may take no request. 5 s.
    pub(crate) send_timeout: Duration,
    /// Between attempts to connect.
    pub(crate) backoff: Backoff,
    /// Whether the broker may drop requests that nobody waits for any more.
    pub(crate) expire_requests: bool,
    /// For addresses that want it.
    #[cfg(feature = "tls")]
    pub(crate) tls: crate::Tls,
}

impl Settings {
    pub(crate) fn new(addresses: Vec<Address>) -> Self {
        Self {
            addresses,
            app: "nameko-cachetools".to_owned(),
            rpc_exchange: "nameko-rpc".to_owned(),
            heartbeat: Duration::from_secs(10),
            max_in_flight: 10_000,
            max_request_bytes: 16 << 20,
            max_reply_bytes: 4 << 20,
            max_unsent_bytes: 64 << 20,
            connect_timeout: Duration::from_secs(5),
            send_timeout: Duration::from_secs(5),
            backoff: Backoff::default(),
            expire_requests: true,
            #[cfg(feature = "tls")]
            tls: crate::Tls::new(),
        }
    }

    /// The rule that a setting breaks.
    pub(crate) fn broken_rule(&self) -> Option<&'static str> {
        let name_like = |text: &str, most: usize| {
            (1..=most).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic())
        };
        let timeouts = [
            self.connect_timeout,
            self.send_timeout,
            self.backoff.first,
            self.backoff.cap,
            self.backoff.refused,
        ];
        let sizes = [
            self.max_in_flight,
            self.max_request_bytes,
            self.max_reply_bytes,
            self.max_unsent_bytes,
        ];
        if cfg!(not(feature = "tls")) && self.addresses.iter().any(|address| address.tls) {
            Some("amqps:// needs the feature `tls`, which this program was built without")
        } else if !name_like(&self.app, MAX_APP_BYTES) {
            Some("app has 1 to 100 visible ASCII characters")
        } else if !name_like(&self.rpc_exchange, 255) {
            Some("rpc_exchange has 1 to 255 visible ASCII characters")
        } else if !(MIN_HEARTBEAT..=MAX_HEARTBEAT).contains(&self.heartbeat) {
            Some("heartbeat is 4 s to 1 h")
        } else if !timeouts
            .iter()
            .all(|limit| (MIN_TIMEOUT..=MAX_TIMEOUT).contains(limit))
        {
            Some("timeouts and pauses are 1 ms to a day")
        } else if sizes.contains(&0) || sizes.iter().any(|&size| size > MAX_SIZE) {
            Some("limits are at least 1 and at most 512 Mi")
        } else {
            None
        }
    }
}

/// `rpc.reply-{app}-{uuid}` must fit into 255 bytes.
const MAX_APP_BYTES: usize = 100;
/// Shorter ones are no use (RabbitMQ's advice) and one of the libraries floods the connection with them.
const MIN_HEARTBEAT: Duration = Duration::from_secs(4);
const MAX_HEARTBEAT: Duration = Duration::from_secs(3600);
const MIN_TIMEOUT: Duration = Duration::from_millis(1);
const MAX_TIMEOUT: Duration = Duration::from_secs(24 * 3600);
/// RabbitMQ's own largest message.
const MAX_SIZE: usize = 512 << 20;
