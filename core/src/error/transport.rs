//! What can go wrong between sending a request and holding its reply, by what the caller may conclude.

use std::{error::Error, sync::Arc, time::Duration};

use super::{Delivery, Timer};

/// The cause of an error, shared so that every caller of one flight can have it.
pub type Cause = Arc<dyn Error + Send + Sync>;

/// Why a [`Transport`](crate::Transport) could not bring a reply.
///
/// Every variant has exactly one [`Delivery`]: what may be concluded about the request. Nothing here is ever retried
/// by this library.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum TransportError {
    /// The broker returned the request (AMQP reply code 312, no route): no queue is bound for the service.
    ///
    /// This is *not* how a stopped service looks: its durable queue outlives it and keeps the request.
    #[error("no queue is bound for this service (it has never run on this broker, or its queue was deleted)")]
    UnknownService,
    /// There is no connection now; the transport is (re)connecting.
    #[error("not connected to the broker: {reason}")]
    NotConnected {
        /// What keeps the transport from being connected, without user names or passwords.
        reason: String,
    },
    /// The connection or the reply queue was lost before the reply came.
    #[error("the connection was lost: {reason}")]
    Disconnected {
        /// [`Delivery::NotSent`] if nothing was written yet, else [`Delivery::Unknown`].
        delivery: Delivery,
        /// What ended the connection.
        reason: String,
    },
    /// The broker said (AMQP `basic.nack`) that it could not take responsibility for the request.
    #[error("the broker refused to take the request (basic.nack)")]
    Rejected,
    /// The broker stopped reading from publishers (AMQP `connection.blocked`: memory or disk alarm).
    #[error("the broker is blocked: {reason}")]
    Blocked {
        /// The broker's own words.
        reason: String,
    },
    /// As many requests wait for replies as the transport allows.
    #[error("{limit} requests are already waiting for replies, the limit of this transport")]
    Overloaded {
        /// The limit, in requests.
        limit: usize,
    },
    /// The request is larger than the transport allows.
    #[error("the request has {bytes} bytes, more than the limit of {limit}")]
    RequestTooLarge {
        /// Size of the request's body.
        bytes: usize,
        /// The limit, in bytes.
        limit: usize,
    },
    /// The reply is larger than the transport allows; it was dropped unread.
    #[error("the reply has {bytes} bytes, more than the limit of {limit}")]
    ReplyTooLarge {
        /// Size of the reply's body.
        bytes: usize,
        /// The limit, in bytes.
        limit: usize,
    },
    /// A limit of the transport itself ran out (writing the request, connecting).
    #[error("{timer} of {after:?} ran out")]
    Timeout {
        /// Which limit.
        timer: Timer,
        /// How long it was.
        after: Duration,
        /// What may be concluded.
        delivery: Delivery,
    },
    /// The broker refuses this client and will go on refusing it: wrong password, no such vhost, an exchange that
    /// was declared otherwise. Somebody has to change the configuration.
    #[error("the broker refuses this client: {reason}")]
    Refused {
        /// The broker's own words, without user names or passwords.
        reason: String,
    },
    /// The transport was closed by its owner.
    #[error("the transport is closed")]
    Closed,
    /// A request was made under a paused tokio clock. Sockets do not pause: every timeout would fire at once.
    #[error(
        "sockets do not work under a paused tokio clock, timeouts would fire at once: \
         use an in-memory transport, or a test without `start_paused`"
    )]
    PausedClock,
    /// Anything else, from a transport outside this project.
    #[error("{source}")]
    Other {
        /// The cause.
        source: Cause,
        /// What may be concluded.
        delivery: Delivery,
    },
}

impl TransportError {
    /// Any error, with what the caller may conclude from it.
    pub fn other(source: impl Into<Box<dyn Error + Send + Sync>>, delivery: Delivery) -> Self {
        Self::Other {
            source: source.into().into(),
            delivery,
        }
    }

    /// What may be concluded about the request.
    ///
    /// ```
    /// use nameko_cachetools::{Delivery, TransportError};
    /// assert_eq!(TransportError::UnknownService.delivery(), Delivery::NotSent);
    /// assert_eq!(TransportError::Rejected.delivery(), Delivery::Unknown);
    /// ```
    pub fn delivery(&self) -> Delivery {
        match self {
            Self::Disconnected { delivery, .. }
            | Self::Timeout { delivery, .. }
            | Self::Other { delivery, .. } => *delivery,
            Self::Rejected => Delivery::Unknown,
            Self::ReplyTooLarge { .. } => Delivery::Answered,
            Self::UnknownService
            | Self::NotConnected { .. }
            | Self::Blocked { .. }
            | Self::Overloaded { .. }
            | Self::RequestTooLarge { .. }
            | Self::Refused { .. }
            | Self::Closed
            | Self::PausedClock => Delivery::NotSent,
        }
    }
}
