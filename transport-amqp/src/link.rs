//! The seam between the supervisor and an AMQP library: a [`Link`] is one connection's life.
//!
//! A library crate implements [`LinkFactory`] and [`Link`], and reports through [`LinkEvents`] and [`Ticket`]. It never
//! repairs anything: whatever ends a channel, the consumer or the connection ends the link, and the supervisor opens
//! another one.

use std::{fmt, sync::Arc, time::Duration};

use async_trait::async_trait;
use bytes::Bytes;
use nameko_cachetools::{Headers, Route, ServiceQueue};

use crate::{
    Address, EventQueue, Topology,
    events::{LinkEvents, Ticket},
    listeners::EventsTold,
};

/// Opens links.
#[async_trait]
pub trait LinkFactory: Send + Sync + 'static {
    /// Connects, declares `plan.topology`, consumes the reply queue without acknowledgements, deletes `plan.superseded`,
    /// and turns publisher confirms on.
    ///
    /// The supervisor bounds the time and drops the future when it is spent: then nothing may be left, neither task
    /// nor thread nor socket.
    ///
    /// # Errors
    /// [`OpenError`], without user names and passwords.
    async fn open(&self, plan: Plan, events: LinkEvents) -> Result<Arc<dyn Link>, OpenError>;
}

/// One connection, from its first byte to its last. Dropping it frees everything at once.
#[async_trait]
pub trait Link: Send + Sync + 'static {
    /// Queues `message` for writing and returns at once. Its end is reported through its [`Ticket`].
    ///
    /// Messages go out in the order of the calls. Properties are nameko's: content type `application/json`, content
    /// encoding `utf-8`, a headers table even if it is empty, delivery mode, priority 0, correlation id, reply-to, and
    /// the mandatory flag.
    fn publish(&self, message: Outgoing);

    /// Asks the broker something that it must answer, about the reply queue: how many consumers has it?
    ///
    /// A link that can't see when the socket takes a request reports those as [written](Ticket::written) that were
    /// published before the question, when the answer comes: the broker has read them.
    ///
    /// # Errors
    /// Why there is no answer.
    async fn probe(&self) -> Result<u32, String>;

    /// What is in the queue of this name, by a passive declaration on a channel of its own.
    ///
    /// # Errors
    /// Why there is no answer.
    async fn service_queue(&self, name: &str) -> Result<ServiceQueue, String>;

    /// Declares `queue` and consumes it without acknowledgements, on a channel of its own. Ends when that is over, and
    /// says why; the link lives on. Dropping the future ends it, at the latest when all is declared.
    async fn listen(&self, queue: EventQueue, told: EventsTold) -> String;

    /// Deletes the reply queue and closes the connection in good order. The supervisor bounds the time.
    async fn close(&self);

    /// Cuts the connection, now, without a word to the broker. Nothing that is still queued may be written.
    fn abort(&self);
}

/// What a link is to be.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Plan {
    /// Where to connect.
    pub address: Address,
    /// What to declare.
    pub topology: Topology,
    /// The reply queue of the link before, to be deleted once this one consumes its own. It may be gone already, and
    /// failing to delete it is no failure: it expires by itself.
    pub superseded: Option<String>,
    /// To ask for from the broker; whole seconds, at least 4.
    pub heartbeat: Duration,
    /// Shown by the broker (client property `connection_name`).
    pub connection_name: String,
    /// If the address wants TLS.
    #[cfg(feature = "tls")]
    pub tls: Option<Arc<rustls::ClientConfig>>,
}

/// A request on its way out.
#[non_exhaustive]
pub struct Outgoing {
    /// Service and method.
    pub route: Route,
    /// The body.
    pub body: Bytes,
    /// Checked headers, to be mapped by [`fields`](crate::fields).
    pub headers: Headers,
    /// Delivery mode 2 (else 1).
    pub persistent: bool,
    /// The property `expiration`.
    pub expiration_ms: Option<u32>,
    /// The property `correlation_id`: a uuid in text.
    pub correlation_id: String,
    /// Through which the link reports what became of the request.
    pub ticket: Ticket,
}

impl Outgoing {
    /// `{service}.{method}`, at most 255 bytes.
    pub fn routing_key(&self) -> String {
        [self.route.service(), ".", self.route.method()].concat()
    }
}

/// Without what it carries.
impl fmt::Debug for Outgoing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Outgoing")
            .field("route", &self.route)
            .field("body_bytes", &self.body.len())
            .field("ticket", &self.ticket)
            .finish_non_exhaustive()
    }
}

/// Why a link could not be opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenError {
    /// In words, without user names and passwords.
    pub reason: String,
    /// What to expect of the next attempt.
    pub kind: OpenErrorKind,
}

/// What to expect of the next attempt to open a link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OpenErrorKind {
    /// It may work.
    Unreachable,
    /// It will not, until somebody changes a configuration (see [`is_permanent`](crate::is_permanent)).
    Refused,
    /// It can't: tokio's clock is paused (see [`clock_is_paused`](crate::clock_is_paused)).
    PausedClock,
}

impl OpenError {
    /// The next attempt may work.
    pub fn unreachable(reason: impl Into<String>) -> Self {
        Self {
            reason: reason.into(),
            kind: OpenErrorKind::Unreachable,
        }
    }

    /// The next attempt will fail too.
    pub fn refused(reason: impl Into<String>) -> Self {
        Self {
            reason: reason.into(),
            kind: OpenErrorKind::Refused,
        }
    }

    /// No attempt can work in this test.
    pub fn paused_clock() -> Self {
        Self {
            reason: "tokio's clock is paused".to_owned(),
            kind: OpenErrorKind::PausedClock,
        }
    }
}
