//! Every error a caller can meet, and what may be concluded from it.

mod call;
mod remote;
mod transport;

use std::fmt;

pub use call::{CallError, ErrorClass};
pub use remote::RemoteError;
pub use transport::{Cause, TransportError};

/// What may be concluded about a request whose call failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Delivery {
    /// No service has it, and none will get it: repeating the call is safe.
    NotSent,
    /// It was, or may have been, handed to the broker: the service may have executed it, or may still.
    Unknown,
    /// The service received it and answered.
    Answered,
}

impl fmt::Display for Delivery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotSent => "the request was not sent",
            Self::Unknown => "the service may have executed the request",
            Self::Answered => "the service answered the request",
        })
    }
}

/// Which time limit ran out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Timer {
    /// The limit of the whole call.
    CallTimeout,
    /// The transport's limit for handing a request to the broker.
    SendTimeout,
    /// The transport's limit for connecting.
    ConnectTimeout,
    /// How long a store may take to answer.
    StoreTimeout,
}

impl fmt::Display for Timer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::CallTimeout => "call_timeout",
            Self::SendTimeout => "send_timeout",
            Self::ConnectTimeout => "connect_timeout",
            Self::StoreTimeout => "store_timeout",
        })
    }
}

/// Why a [`Store`](crate::Store) could not do its work. A call treats it as a miss.
#[derive(Debug, Clone, thiserror::Error)]
#[error("the store failed: {source}")]
pub struct StoreError {
    source: Cause,
}

impl StoreError {
    /// Any error of a store's own.
    pub fn new(source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self {
            source: source.into().into(),
        }
    }
}
