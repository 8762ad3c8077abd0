//! Keeps a transport connected: opens links one after the other, and watches each while it lives.

use std::{sync::Arc, time::Duration};

use nameko_cachetools::{ConnectionState, Delivery, Timer, TransportError};
use tokio::{
    sync::{mpsc, watch},
    time::{Instant, sleep, timeout},
};
use uuid::Uuid;

use crate::{
    calls::Calls,
    events::{LinkEvents, News},
    link::{Link, LinkFactory, OpenError, OpenErrorKind, Plan},
    listeners::{Hearing, Listeners},
    settings::Settings,
    topology::Topology,
    watchdog::Watchdog,
};

/// How long a link may take to close in good order before it is cut.
const CLOSE_LIMIT: Duration = Duration::from_millis(600);

pub(crate) struct Supervisor {
    factory: Arc<dyn LinkFactory>,
    settings: Arc<Settings>,
    topology: Topology,
    calls: Arc<Calls>,
    listeners: Arc<Listeners>,
    state: watch::Sender<ConnectionState>,
    stop: watch::Receiver<bool>,
    #[cfg(feature = "tls")]
    tls: Option<Arc<rustls::ClientConfig>>,
}

/// An open link. Dropping it cuts the connection.
pub(crate) struct Session {
    link: Arc<dyn Link>,
    events: mpsc::UnboundedSender<News>,
    news: mpsc::UnboundedReceiver<News>,
}

enum End {
    Stopped,
    Lost(String),
}

impl Supervisor {
    pub(crate) fn new(
        factory: Arc<dyn LinkFactory>,
        settings: Arc<Settings>,
        calls: Arc<Calls>,
        listeners: Arc<Listeners>,
        stop: watch::Receiver<bool>,
    ) -> Self {
        Self {
            factory,
            topology: Topology::new(&settings.app, &settings.rpc_exchange),
            settings,
            calls,
            listeners,
            state: watch::Sender::new(ConnectionState::Connecting),
            stop,
            #[cfg(feature = "tls")]
            tls: None,
        }
    }

    #[cfg(feature = "tls")]
    pub(crate) fn secured_by(mut self, tls: Option<Arc<rustls::ClientConfig>>) -> Self {
        self.tls = tls;
        self
    }

    pub(crate) fn state(&self) -> watch::Receiver<ConnectionState> {
        self.state.subscribe()
    }

    /// Tries each address once; the first that works is taken.
    pub(crate) async fn open(&self) -> Result<Session, Failure> {
        let mut failure = Failure::from(OpenError::unreachable("no address"));
        for address in &self.settings.addresses {
            let plan = Plan {
                address: address.clone(),
                topology: self.topology.clone(),
                heartbeat: self.settings.heartbeat,
                connection_name: self.topology.reply_queue.clone(),
                #[cfg(feature = "tls")]
                tls: self.tls.clone().filter(|_| address.tls),
            };
            let (events, news) = mpsc::unbounded_channel();
            let link_events = LinkEvents {
                calls: self.calls.clone(),
                news: events.clone(),
                max_reply_bytes: self.settings.max_reply_bytes,
            };
            let limit = self.settings.connect_timeout;
            failure = match timeout(limit, self.factory.open(plan, link_events)).await {
                Ok(Ok(link)) => return Ok(Session { link, events, news }),
                Ok(Err(error)) => Failure::from(error),
                Err(_) => Failure::timeout(limit),
            };
            failure.reason = format!("{address}: {}", failure.reason);
            tracing::debug!(reason = failure.reason, "no connection");
        }
        Err(failure)
    }

    /// Lets requests in. Doing it twice does no harm.
    pub(crate) fn admit(&self, session: &Session) {
        self.calls.open(session.link.clone());
        self.state.send_replace(ConnectionState::Ready);
    }

    /// Runs until it is told to stop, or its owner is gone.
    pub(crate) async fn run(self, mut opened: Option<Session>) {
        let (mut stop, mut failures) = (self.stop.clone(), 0);
        loop {
            let session = match opened.take() {
                Some(session) => Ok(session),
                None => tokio::select! {
                    biased;
                    () = stopped(&mut stop) => return,
                    session = self.open() => session,
                },
            };
            let failure = match session {
                Ok(session) => {
                    let since = Instant::now();
                    match self.serve(session, &mut stop).await {
                        End::Stopped => return,
                        End::Lost(reason) => {
                            // A link that dies young is as bad as none: a broker may accept and drop us in a loop.
                            if since.elapsed() > self.settings.backoff.cap {
                                failures = 0;
                            }
                            Failure::from(OpenError::unreachable(reason))
                        }
                    }
                }
                Err(failure) => failure,
            };
            failures += 1;
            self.report(&failure);
            if failure.kind == OpenErrorKind::PausedClock {
                return stopped(&mut stop).await;
            }
            let refused = failure.kind == OpenErrorKind::Refused;
            let pause = self
                .settings
                .backoff
                .pause(failures, refused, Uuid::new_v4().as_u64_pair().0);
            tokio::select! {
                biased;
                () = stopped(&mut stop) => return,
                () = sleep(pause) => {}
            }
        }
    }

    /// Refuses requests with the failure; those under way (there are some only if a link was lost) end because of it.
    fn report(&self, failure: &Failure) {
        tracing::warn!(
            reason = failure.reason,
            refused = failure.kind == OpenErrorKind::Refused,
            "not connected"
        );
        self.calls.shut(failure.gate_error(), &failure.reason);
        self.state.send_replace(ConnectionState::Reconnecting {
            reason: failure.reason.clone(),
            permanent: failure.kind != OpenErrorKind::Unreachable,
        });
    }

    /// Watches one link until it ends.
    async fn serve(&self, mut session: Session, stop: &mut watch::Receiver<bool>) -> End {
        self.admit(&session);
        tracing::debug!("connected");
        let mut watchdog = Watchdog::new(&self.settings, self.calls.clone(), session.link.clone());
        let (listeners, calls) = (self.listeners.clone(), self.calls.clone());
        let mut hearing = Hearing::new(
            listeners,
            calls,
            session.link.clone(),
            self.settings.max_reply_bytes,
        );
        loop {
            let news = tokio::select! {
                biased;
                () = stopped(stop) => {
                    let _ = timeout(CLOSE_LIMIT, session.link.close()).await;
                    return End::Stopped;
                }
                Some(news) = session.news.recv() => news,
                reason = watchdog.bite() => News::Lost(reason),
                () = hearing.begin() => continue,
            };
            match news {
                News::Blocked(reason) => {
                    tracing::warn!(reason, "the broker is blocked");
                    watchdog.blocked = true;
                    self.calls.block(reason.clone(), session.events.clone());
                    self.state.send_replace(ConnectionState::Blocked { reason });
                }
                News::Unblocked => {
                    watchdog.blocked = false;
                    self.admit(&session);
                }
                News::Lost(reason) => return End::Lost(reason),
                // Only cutting the connection takes a request back. Nothing else is lost: while the broker doesn't
                // read, services can't publish replies either.
                News::GivenUpUnread => {
                    return End::Lost("a request was given up before the blocked broker read it".to_owned());
                }
            }
        }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.link.abort();
    }
}

/// However it ends, stopped or dropped with its runtime, even before its task ran for the first time: nothing comes
/// any more, and everybody is told.
impl Drop for Supervisor {
    fn drop(&mut self) {
        self.calls.close();
        self.calls.lose_all("the transport was closed");
        self.listeners.clear();
        self.state.send_replace(ConnectionState::Closed);
    }
}

/// Why there is no link.
#[derive(Debug)]
pub(crate) struct Failure {
    reason: String,
    kind: OpenErrorKind,
    timeout: Option<Duration>,
}

impl Failure {
    fn timeout(after: Duration) -> Self {
        Self {
            reason: format!("{} of {after:?} ran out", Timer::ConnectTimeout),
            kind: OpenErrorKind::Unreachable,
            timeout: Some(after),
        }
    }

    /// What `connect` fails with.
    pub(crate) fn connect_error(&self) -> TransportError {
        match self.timeout {
            Some(after) => TransportError::Timeout {
                timer: Timer::ConnectTimeout,
                after,
                delivery: Delivery::NotSent,
            },
            None => self.gate_error(),
        }
    }

    /// What requests fail with.
    fn gate_error(&self) -> TransportError {
        let reason = self.reason.clone();
        match self.kind {
            OpenErrorKind::Unreachable => TransportError::NotConnected { reason },
            OpenErrorKind::Refused => TransportError::Refused { reason },
            OpenErrorKind::PausedClock => TransportError::PausedClock,
        }
    }
}

impl From<OpenError> for Failure {
    fn from(OpenError { reason, kind }: OpenError) -> Self {
        Self {
            reason,
            kind,
            timeout: None,
        }
    }
}

/// Waits for the word, or for the owner's end.
async fn stopped(stop: &mut watch::Receiver<bool>) {
    let _ = stop.wait_for(|stop| *stop).await;
}
