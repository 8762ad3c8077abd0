//! The trait that carries one request and brings its reply.

use std::{fmt, future::Future, sync::Arc, time::Duration};

use async_trait::async_trait;
use tokio::sync::watch;

use crate::{
    clock::Clock,
    error::TransportError,
    message::{Request, Response},
    queue::ServiceQueue,
};

/// Carries requests to services and brings their replies.
///
/// # Contract for implementors
/// - **One outcome.** Each `request` ends with its own reply or with one error, never with another request's reply.
/// - **Truth.** An error says what may be concluded ([`TransportError::delivery`]); when in doubt,
///   [`Delivery::Unknown`](crate::Delivery::Unknown). Nothing is sent a second time behind the caller's back.
/// - **Bounds.** Waiting for the reply lasts as long as the connection lives: its end ends the wait at once, with an
///   error. Every other await (connecting, writing, closing) has a time limit of its own. Limits of the whole call
///   are not the transport's business: the caller drops the future.
/// - **Cancellation.** Dropping the future frees all that was kept for the request, whether it was sent or not. A
///   reply that comes later is ignored and counted. The first poll may happen long after the future was made.
/// - **No waiting for a connection.** Without one, `request` fails with
///   [`TransportError::NotConnected`]; the transport reconnects by itself, and later requests work.
/// - **Sharing.** `request` is called from any task, any number of times at once. Share a transport by `Arc`: one
///   connection serves all proxies of a process.
/// - **Opaque bodies.** A transport reads neither body nor headers. A service's error is a reply like any other.
///
/// `nameko_cachetools_testkit::transport_conformance` holds the checks of this contract.
///
/// # Wrappers
/// Forward *every* method, the defaulted ones too, or `state` and `clock` lie. `Arc<T>` and `Box<T>` do.
#[async_trait]
pub trait Transport: Send + Sync + 'static {
    /// Sends `request` and waits for its reply.
    ///
    /// # Errors
    /// [`TransportError`], by what may be concluded about the request.
    async fn request(&self, request: Request) -> Result<Response, TransportError>;

    /// The connection's state, to read or to watch. The default never changes from [`ConnectionState::Ready`].
    fn state(&self) -> watch::Receiver<ConnectionState> {
        watch::channel(ConnectionState::Ready).1
    }

    /// Which clock fits this transport. The default obeys tokio's paused time. One over real sockets can't run under
    /// a paused clock anyway, and returns [`Clock::Coarse`], which makes hits cheaper.
    fn clock(&self) -> Clock {
        Clock::Tokio
    }

    /// The name that this program was given on the broker, if it was: call ids have it too, unless
    /// [`app_name`](crate::ClientBuilder::app_name) gives another. The default is `None`.
    fn app(&self) -> Option<&str> {
        None
    }

    /// What the broker knows of `service`'s request queue at this moment: it tells a service that is gone from one that
    /// is slow. Calls ask it shortly before their limit runs out, for the text of their error.
    ///
    /// `None` if it can't be told: there is no connection, or no answer within a second, or (the default) the transport
    /// has no broker to ask. A question costs the broker something, so those who ask at once share an answer.
    ///
    /// ```
    /// # use nameko_cachetools::{Transport, transport_fn};
    /// # async fn example(transport: impl Transport) {
    /// if let Some(queue) = transport.service_queue("products").await {
    ///     println!("products: {queue}"); // products: nobody reads its queue, where 7 requests wait
    /// }
    /// # }
    /// ```
    async fn service_queue(&self, service: &str) -> Option<ServiceQueue> {
        let _ = service;
        None
    }

    /// Refuses new requests, waits up to `grace` for those under way, fails the rest, and frees everything. Ends
    /// within `grace` and one second. The default does nothing.
    async fn close(&self, grace: Duration) {
        let _ = grace;
    }
}

/// Where a transport's connection is in its life.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum ConnectionState {
    /// The first connection is being made.
    Connecting,
    /// Requests can be sent.
    Ready,
    /// The connection lives, but the broker takes no requests (memory or disk alarm).
    Blocked {
        /// The broker's own words.
        reason: String,
    },
    /// The connection was lost or refused; the transport keeps trying, with growing pauses.
    Reconnecting {
        /// Why there is none, without user names or passwords.
        reason: String,
        /// Whether trying again is unlikely to help: wrong password, no such vhost, topology declared otherwise.
        permanent: bool,
    },
    /// The owner closed it. It never comes back.
    Closed,
}

impl ConnectionState {
    /// Whether a request made now would be sent.
    pub fn is_ready(&self) -> bool {
        matches!(self, Self::Ready)
    }
}

/// A [`Transport`] made of an async closure: for examples, tests, and services within the same process.
///
/// ```
/// use nameko_cachetools::{Request, Response, Transport, transport_fn};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let transport = transport_fn(|request: Request| async move {
///     Ok(Response::json(format!(r#"{{"result": "{}", "error": null}}"#, request.route)))
/// });
/// let request = Request::new(nameko_cachetools::Route::new("products", "get")?, r#"{"args": [], "kwargs": {}}"#);
/// assert_eq!(transport.request(request).await?.body, r#"{"result": "products.get", "error": null}"#);
/// # Ok(())
/// # }
/// ```
pub fn transport_fn<F, Fut>(f: F) -> TransportFn<F>
where
    F: Fn(Request) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<Response, TransportError>> + Send,
{
    TransportFn {
        f,
        clock: Clock::Tokio,
    }
}

/// See [`transport_fn`].
#[derive(Clone, Copy)]
pub struct TransportFn<F> {
    f: F,
    clock: Clock,
}

impl<F> TransportFn<F> {
    /// The same with another clock.
    #[must_use]
    pub fn with_clock(self, clock: Clock) -> Self {
        Self { clock, ..self }
    }
}

impl<F> fmt::Debug for TransportFn<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TransportFn(..)")
    }
}

#[async_trait]
impl<F, Fut> Transport for TransportFn<F>
where
    F: Fn(Request) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<Response, TransportError>> + Send,
{
    async fn request(&self, request: Request) -> Result<Response, TransportError> {
        (self.f)(request).await
    }

    fn clock(&self) -> Clock {
        self.clock
    }
}

macro_rules! forward {
    ($pointer:ty) => {
        #[deny(clippy::missing_trait_methods)]
        #[async_trait]
        impl<T: Transport + ?Sized> Transport for $pointer {
            async fn request(&self, request: Request) -> Result<Response, TransportError> {
                (**self).request(request).await
            }

            fn state(&self) -> watch::Receiver<ConnectionState> {
                (**self).state()
            }

            fn clock(&self) -> Clock {
                (**self).clock()
            }

            fn app(&self) -> Option<&str> {
                (**self).app()
            }

            async fn service_queue(&self, service: &str) -> Option<ServiceQueue> {
                (**self).service_queue(service).await
            }

            async fn close(&self, grace: Duration) {
                (**self).close(grace).await;
            }
        }
    };
}

forward!(Arc<T>);
forward!(Box<T>);
