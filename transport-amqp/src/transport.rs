//! The transport itself: one handle, shared by all proxies of a process.

use std::{fmt, sync::Arc, time::Duration};

use async_trait::async_trait;
use nameko_cachetools::{
    Clock, ConnectionState, Delivery, EventSource, Events, Listener, MAX_SERVICE_BYTES, Request, Response,
    ServiceQueue, Timer, Transport, TransportError,
};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, watch},
    task::AbortHandle,
    time::{Instant, timeout},
};
use uuid::Uuid;

use crate::{
    calls::{Calls, Waiting},
    events::Ticket,
    headers,
    link::Outgoing,
    listeners::Listeners,
    looks::Looks,
    opening::Session,
    settings::Settings,
    supervisor::Supervisor,
};

/// A nameko RPC transport over some AMQP library: what [`Builder`](crate::Builder) makes.
///
/// Cloning is cheap, and all clones are one connection. It ends with [`close`](Transport::close), or when the last
/// clone is dropped (then the reply queue is deleted and the connection closed behind the scenes, within a second).
#[derive(Clone)]
pub struct AmqpTransport {
    inner: Arc<Inner>,
}

struct Inner {
    settings: Arc<Settings>,
    calls: Arc<Calls>,
    listeners: Arc<Listeners>,
    looks: Looks,
    /// Room for requests which the socket has not taken yet, in bytes.
    unsent: Arc<Semaphore>,
    state: watch::Sender<ConnectionState>,
    stop: watch::Sender<bool>,
    supervisor: AbortHandle,
}

/// Figures of a transport.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Counters {
    /// Requests waiting for replies now.
    pub in_flight: usize,
    /// Replies that nobody waited for: late, duplicate, or with a foreign correlation id.
    pub unmatched_replies: u64,
}

impl AmqpTransport {
    /// Starts the supervisor, on the current runtime. With `opened` it begins with that link.
    pub(crate) fn start(supervisor: Supervisor, opened: Option<Session>, parts: Parts) -> Self {
        // Before its task runs for the first time: whoever awaited `connect` may send.
        opened.iter().for_each(|session| supervisor.admit(session));
        let state = supervisor.state();
        let Parts {
            settings,
            calls,
            listeners,
            stop,
        } = parts;
        let unsent = settings
            .max_unsent_bytes
            .max(settings.max_request_bytes + BESIDE_BODY);
        Self {
            inner: Arc::new(Inner {
                settings,
                calls,
                listeners,
                looks: Looks::default(),
                unsent: Arc::new(Semaphore::new(unsent)),
                state,
                stop,
                supervisor: tokio::spawn(supervisor.run(opened)).abort_handle(),
            }),
        }
    }

    /// The connection's state at this moment, such as for a probe of readiness:
    ///
    /// ```
    /// # fn example(transport: &nameko_cachetools_amqp::AmqpTransport) -> u16 {
    /// if transport.health().is_ready() { 200 } else { 503 }
    /// # }
    /// ```
    ///
    /// `Closed` from the moment that [`close`](Transport::close) was called. To wait for changes, there is
    /// [`state`](Transport::state).
    pub fn health(&self) -> ConnectionState {
        self.inner.state.borrow().clone()
    }

    /// Figures of this moment.
    pub fn counters(&self) -> Counters {
        Counters {
            in_flight: self.inner.calls.in_flight(),
            unmatched_replies: self.inner.calls.unmatched(),
        }
    }
}

/// What the transport and its supervisor share.
pub(crate) struct Parts {
    pub(crate) settings: Arc<Settings>,
    pub(crate) calls: Arc<Calls>,
    pub(crate) listeners: Arc<Listeners>,
    pub(crate) stop: watch::Sender<bool>,
}

#[async_trait]
impl Transport for AmqpTransport {
    async fn request(&self, request: Request) -> Result<Response, TransportError> {
        let Inner { settings, calls, .. } = &*self.inner;
        let (bytes, limit) = (request.body.len(), settings.max_request_bytes);
        if bytes > limit {
            return Err(TransportError::RequestTooLarge { bytes, limit });
        }
        headers::check(&request.headers).map_err(|error| TransportError::other(error, Delivery::NotSent))?;
        let bytes = u32::try_from(bytes + BESIDE_BODY).unwrap_or(u32::MAX);
        let room = self.inner.unsent.clone().try_acquire_many_owned(bytes).ok();
        let mut waiting = calls.begin(room.is_some())?;
        let mut expiration = request.expiration.filter(|_| settings.expire_requests);
        let room = match room {
            Some(room) => room,
            None => {
                let since = Instant::now();
                let room = self.inner.room(bytes, &mut waiting).await?;
                // Its caller has waited, too.
                expiration = expiration.map(|limit| limit.saturating_sub(since.elapsed()));
                room
            }
        };
        waiting.link.publish(Outgoing {
            route: request.route,
            body: request.body,
            headers: request.headers,
            persistent: request.persistent,
            expiration_ms: expiration.map(whole_ms),
            correlation_id: text(waiting.id),
            ticket: Ticket {
                calls: calls.clone(),
                id: waiting.id,
                room: Some(room),
            },
        });
        waiting.answer().await
    }

    fn state(&self) -> watch::Receiver<ConnectionState> {
        self.inner.state.subscribe()
    }

    /// Sockets can't run under a paused clock, so the cheap clock is right.
    fn clock(&self) -> Clock {
        Clock::Coarse
    }

    fn app(&self) -> Option<&str> {
        Some(&self.inner.settings.app)
    }

    async fn service_queue(&self, service: &str) -> Option<ServiceQueue> {
        if service.len() > MAX_SERVICE_BYTES {
            return Some(ServiceQueue::Missing);
        }
        self.inner.looks.at(service, self.inner.calls.link()?).await
    }

    async fn close(&self, grace: Duration) {
        let Inner {
            calls,
            state,
            stop,
            supervisor,
            ..
        } = &*self.inner;
        calls.close();
        state.send_replace(ConnectionState::Closed);
        let _ = timeout(grace, calls.drained()).await;
        calls.lose_all("the transport was closed");
        stop.send_replace(true);
        // The supervisor's ear goes with it.
        if timeout(CLOSE_LIMIT, stop.closed()).await.is_err() {
            supervisor.abort();
        }
    }
}

impl EventSource for AmqpTransport {
    fn listen(&self, events: Events) -> Listener {
        self.inner.listeners.add(&self.inner.settings.app, &events)
    }
}

impl Inner {
    /// Waits until the requests in front of this one are written, and hands it over.
    async fn room(
        &self,
        bytes: u32,
        waiting: &mut Waiting<'_>,
    ) -> Result<OwnedSemaphorePermit, TransportError> {
        let after = self.settings.send_timeout;
        let timed_out = TransportError::Timeout {
            timer: Timer::SendTimeout,
            after,
            delivery: Delivery::NotSent,
        };
        let room = async {
            tokio::select! {
                biased;
                end = waiting.answer() => Err(end.err().unwrap_or(timed_out)), // there is no reply to what was not sent
                room = timeout(after, self.unsent.clone().acquire_many_owned(bytes)) => match room {
                    Ok(Ok(room)) => Ok(room),
                    _ => Err(timed_out),
                },
            }
        };
        let room = Box::pin(room).await?; // in a box, or every request would keep a place for what few need
        waiting.hand_over();
        Ok(room)
    }
}

/// The last clone is gone: the supervisor closes the connection and ends.
impl Drop for Inner {
    fn drop(&mut self) {
        self.calls.close();
        self.stop.send_replace(true);
    }
}

/// Names and figures only.
impl fmt::Debug for AmqpTransport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AmqpTransport")
            .field("addresses", &self.inner.settings.addresses)
            .field("state", &*self.inner.state.borrow())
            .field("counters", &self.counters())
            .finish()
    }
}

/// What a request takes beside its body, about: else there could be any number of small ones whose callers have left.
const BESIDE_BODY: usize = 1024;

/// What is left of the second after `grace`, once the supervisor had its own limit.
const CLOSE_LIMIT: Duration = Duration::from_millis(900);

/// Without the machinery of formatting.
fn text(id: Uuid) -> String {
    id.hyphenated()
        .encode_lower(&mut Uuid::encode_buffer())
        .to_owned()
}

/// RabbitMQ takes at most 2^32 - 1 ms (49 days). Rounded up: a request must not expire before its caller does.
fn whole_ms(expiration: Duration) -> u32 {
    u32::try_from(expiration.as_nanos().div_ceil(1_000_000)).unwrap_or(u32::MAX)
}
