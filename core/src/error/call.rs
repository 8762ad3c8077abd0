//! The error of a call.

use std::{fmt, time::Duration};

use super::{Cause, Delivery, RemoteError, Timer, TransportError};
use crate::{
    queue::ServiceQueue,
    route::{InvalidRoute, Route},
};

/// Why a call has no answer, live or cached.
///
/// The text says which service and method, which limit and how long, what may be concluded, and what to do; it holds
/// no argument. Sort by the predicates rather than by variants: [`is_unavailable`](Self::is_unavailable),
/// [`is_timeout`](Self::is_timeout), [`remote`](Self::remote), [`may_have_executed`](Self::may_have_executed).
/// Cloning copies no more than an exception's texts.
#[derive(Clone, thiserror::Error)]
#[non_exhaustive]
pub enum CallError {
    /// The service raised an exception.
    #[error("{route} raised {error}")]
    Remote {
        /// The call.
        route: Route,
        /// The exception.
        #[source]
        error: Box<RemoteError>,
    },
    /// No reply came within a limit.
    #[error("{route} did not reply within {timer} of {after:?}; {delivery}. {}", shown_queue(route, *queue))]
    Timeout {
        /// The call.
        route: Route,
        /// Which limit.
        timer: Timer,
        /// How long it was.
        after: Duration,
        /// What may be concluded.
        delivery: Delivery,
        /// What the broker knew of the service just before ([`Transport::service_queue`](crate::Transport::service_queue));
        /// `None` if it could not be told.
        queue: Option<ServiceQueue>,
    },
    /// No queue is bound for the service.
    #[error(
        "unknown service `{}` (calling {route}): no queue is bound for it on this broker; nothing was executed. \
         Check the name, the vhost, and that the service has run here once", route.service()
    )]
    UnknownService {
        /// The call.
        route: Route,
    },
    /// The transport could not carry the call.
    #[error("{route}: {error}; {}", error.delivery())]
    Transport {
        /// The call.
        route: Route,
        /// The transport's error.
        #[source]
        error: TransportError,
    },
    /// The reply is not one that nameko sends.
    #[error("{route} replied with something that is no nameko reply: {reason}")]
    MalformedReply {
        /// The call.
        route: Route,
        /// What is wrong with it.
        reason: String,
    },
    /// The reply is in a format that is not read here, for safety (pickle executes code) or for lack of need.
    #[error(
        "{route} replied with content type {}, only \"application/json\" is read; the body was not looked at. \
         The service answers in the format of the request: see its `serializer` and `ACCEPT` settings",
        shown_type(content_type)
    )]
    UnsupportedContentType {
        /// The call.
        route: Route,
        /// What the reply said; `None` if it said nothing.
        content_type: Option<String>,
    },
    /// The service answered, but its result is not a `T`.
    #[error("the result of {route} is not a {expected}: {source}")]
    Decode {
        /// The call.
        route: Route,
        /// The Rust type that was asked for.
        expected: &'static str,
        /// What did not fit.
        source: Cause,
    },
    /// The arguments can't be written as nameko's JSON; nothing was sent.
    #[error("the arguments of {route} can't be sent: {source}; nothing was sent")]
    Arguments {
        /// The call.
        route: Route,
        /// What can't be written.
        source: Cause,
    },
    /// The service or method has a name that nameko could not route; nothing was sent.
    #[error(transparent)]
    InvalidRoute(#[from] InvalidRoute),
    /// The call asked for a cached answer only, and there is none that may be used.
    #[error(
        "no usable cached answer for {route}, and the call allowed no other (only_if_cached); nothing was sent"
    )]
    NotCached {
        /// The call.
        route: Route,
    },
    /// The service is taken for dead, no cached answer may be used, and the policy says to fail fast
    /// ([`Breaker::fail_fast`](crate::Breaker::fail_fast)).
    #[error(
        "{route} was not called: the service did not answer lately (circuit open), nothing usable is cached, and the \
         policy fails fast; nothing was sent. It is looked at again in {retry_in:?}"
    )]
    CircuitOpen {
        /// The call.
        route: Route,
        /// After how long the service is looked at again.
        retry_in: Duration,
    },
    /// The task that made the call panicked or was shut down with its runtime.
    #[error(
        "the task that called {route} ended without a result: {reason}; the service may have executed the request"
    )]
    Aborted {
        /// The call.
        route: Route,
        /// Panic or shutdown.
        reason: &'static str,
    },
}

/// Who is at fault, which decides whether a cached answer may stand in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorClass {
    /// The service could not be reached or did not answer.
    Unavailable,
    /// The service answered with an error, or with something unreadable.
    ServerFault,
    /// The call itself was wrong: unknown method, wrong signature, arguments that can't be sent.
    ClientFault,
}

impl CallError {
    /// Whether the service could not be reached or did not answer in time.
    ///
    /// ```
    /// # use nameko_cachetools::{CallError, Route};
    /// let error = CallError::UnknownService { route: Route::new("products", "get").unwrap() };
    /// assert!(error.is_unavailable() && !error.may_have_executed());
    /// ```
    pub fn is_unavailable(&self) -> bool {
        self.class() == ErrorClass::Unavailable
    }

    /// Whether a time limit ran out.
    ///
    /// ```
    /// # use nameko_cachetools::{CallError, Delivery, Route, Timer};
    /// # use std::{fmt, time::Duration};
    /// let error = CallError::Timeout {
    ///     route: Route::new("products", "get").unwrap(),
    ///     timer: Timer::CallTimeout,
    ///     after: Duration::from_secs(30),
    ///     delivery: Delivery::Unknown,
    ///     queue: None,
    /// };
    /// assert!(error.is_timeout() && error.may_have_executed());
    /// assert!(error.to_string().contains("products.get did not reply within call_timeout of 30s"));
    /// ```
    pub fn is_timeout(&self) -> bool {
        matches!(
            self,
            Self::Timeout { .. }
                | Self::Transport {
                    error: TransportError::Timeout { .. },
                    ..
                }
        )
    }

    /// The exception, if the service raised one.
    ///
    /// ```
    /// # use nameko_cachetools::{CallError, RemoteError, Route};
    /// # let route = Route::new("products", "get").unwrap();
    /// let error = CallError::Remote { route, error: Box::new(RemoteError::new("NotFound", "the_odyssey")) };
    /// assert!(error.remote().is_some_and(|e| e.is("NotFound")));
    /// ```
    pub fn remote(&self) -> Option<&RemoteError> {
        match self {
            Self::Remote { error, .. } => Some(error),
            _ => None,
        }
    }

    /// Whether the service may have executed the call, so that repeating it may do its work twice.
    ///
    /// ```
    /// # use nameko_cachetools::{CallError, Route};
    /// let error = CallError::NotCached { route: Route::new("products", "get").unwrap() };
    /// assert!(!error.may_have_executed());
    /// ```
    pub fn may_have_executed(&self) -> bool {
        self.delivery() != Delivery::NotSent
    }

    /// What may be concluded about the request.
    pub fn delivery(&self) -> Delivery {
        match self {
            Self::Timeout { delivery, .. } => *delivery,
            Self::Transport { error, .. } => error.delivery(),
            Self::Aborted { .. } => Delivery::Unknown,
            Self::Remote { .. }
            | Self::MalformedReply { .. }
            | Self::UnsupportedContentType { .. }
            | Self::Decode { .. } => Delivery::Answered,
            Self::UnknownService { .. }
            | Self::Arguments { .. }
            | Self::InvalidRoute(_)
            | Self::NotCached { .. }
            | Self::CircuitOpen { .. } => Delivery::NotSent,
        }
    }

    /// Who is at fault.
    pub fn class(&self) -> ErrorClass {
        match self {
            Self::Timeout { .. } | Self::UnknownService { .. } | Self::CircuitOpen { .. } => {
                ErrorClass::Unavailable
            }
            Self::Transport { error, .. } => match error {
                TransportError::RequestTooLarge { .. } => ErrorClass::ClientFault,
                TransportError::ReplyTooLarge { .. } => ErrorClass::ServerFault,
                _ => ErrorClass::Unavailable,
            },
            Self::Remote { error, .. } if error.is_client_fault() => ErrorClass::ClientFault,
            Self::Remote { .. }
            | Self::MalformedReply { .. }
            | Self::UnsupportedContentType { .. }
            | Self::Decode { .. }
            | Self::Aborted { .. } => ErrorClass::ServerFault,
            Self::Arguments { .. } | Self::InvalidRoute(_) | Self::NotCached { .. } => {
                ErrorClass::ClientFault
            }
        }
    }

    /// The transport's error under its call's name.
    pub(crate) fn transport(route: Route, error: TransportError) -> Self {
        match error {
            TransportError::UnknownService => Self::UnknownService { route },
            error => Self::Transport { route, error },
        }
    }
}

/// The text, as `main` prints an error that it returns; but of an exception only its class, since its text may quote data.
impl fmt::Debug for CallError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Remote { route, error } => write!(f, "{route} raised {error:?}"),
            _ => write!(f, "{self}"),
        }
    }
}

fn shown_queue(route: &Route, queue: Option<ServiceQueue>) -> String {
    match queue {
        Some(queue) => format!("The broker says of `{}`: {queue}", route.service()),
        None => "A stopped nameko service looks like this: its queue keeps requests".to_owned(),
    }
}

fn shown_type(content_type: &Option<String>) -> String {
    content_type.as_ref().map_or_else(
        || "missing".to_owned(),
        |name| format!("{:?}", name.chars().take(80).collect::<String>()),
    )
}
