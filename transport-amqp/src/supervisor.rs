//! Keeps a transport connected: watches each link while it lives, and what is opened after it.

use std::{future::pending, sync::Arc, time::Duration};

use bytes::Bytes;
use nameko_cachetools::{ConnectionState, Headers, Route};
use tokio::{
    sync::{oneshot, watch},
    time::{Instant, timeout},
};

use crate::{
    calls::Calls,
    events::{News, Ticket},
    link::{LinkFactory, OpenError, OpenErrorKind, Outgoing},
    listeners::{Hearing, Listeners},
    opening::{Failure, Session},
    settings::Settings,
    watchdog::Watchdog,
};

/// How long a link may take to close in good order before it is cut.
const CLOSE_LIMIT: Duration = Duration::from_millis(600);

pub(crate) struct Supervisor {
    pub(crate) factory: Arc<dyn LinkFactory>,
    pub(crate) settings: Arc<Settings>,
    pub(crate) calls: Arc<Calls>,
    listeners: Arc<Listeners>,
    state: watch::Sender<ConnectionState>,
    stop: watch::Receiver<bool>,
    #[cfg(feature = "tls")]
    pub(crate) tls: Option<Arc<rustls::ClientConfig>>,
}

enum End {
    Stopped,
    Lost {
        reason: String,
        /// In whose words the broker was blocked when the link was given up: it may still be.
        doubt: Option<String>,
    },
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

    pub(crate) fn state(&self) -> watch::Sender<ConnectionState> {
        self.state.clone()
    }

    /// Closed is for ever, whatever the link does until it ends.
    fn tell(&self, news: ConnectionState) {
        self.state.send_if_modified(|state| {
            let is_open = *state != ConnectionState::Closed;
            if is_open {
                *state = news;
            }
            is_open
        });
    }

    /// Lets requests in. Doing it twice does no harm.
    pub(crate) fn admit(&self, session: &Session) {
        self.calls.open(session.link.clone());
        self.tell(ConnectionState::Ready);
    }

    /// Runs until it is told to stop, or its owner is gone.
    pub(crate) async fn run(self, mut opened: Option<Session>) {
        let (mut stop, mut failures) = (self.stop.clone(), 0);
        let (mut superseded, mut doubted) = (None, None);
        loop {
            let session = match opened.take() {
                Some(session) => session,
                None => tokio::select! {
                    biased;
                    () = stopped(&mut stop) => return,
                    session = self.reopen(&mut failures, superseded.as_deref()) => session,
                },
            };
            let since = Instant::now();
            superseded = Some(session.reply_queue.clone());
            let End::Lost { reason, doubt } = self.serve(session, &mut stop, doubted).await else {
                return;
            };
            doubted = doubt;
            // A link that dies young is as bad as none: a broker may accept and drop us in a loop.
            if since.elapsed() > self.settings.backoff.cap {
                failures = 0;
            }
            failures += 1;
            self.report(&Failure::from(OpenError::unreachable(reason)));
        }
    }

    /// Refuses requests with the failure; those under way (there are some only if a link was lost) end because of it.
    pub(crate) fn report(&self, failure: &Failure) {
        tracing::warn!(
            reason = failure.reason,
            refused = failure.kind == OpenErrorKind::Refused,
            "not connected"
        );
        self.calls.shut(failure.gate_error(), &failure.reason);
        self.tell(ConnectionState::Reconnecting {
            reason: failure.reason.clone(),
            permanent: failure.kind != OpenErrorKind::Unreachable,
        });
    }

    /// Watches one link until it ends.
    ///
    /// A broker tells a new link that it is blocked only when something is published. In `doubt` of that the link is
    /// tried with a message of our own, so that no caller has to find out by waiting.
    async fn serve(
        &self,
        mut session: Session,
        stop: &mut watch::Receiver<bool>,
        doubt: Option<String>,
    ) -> End {
        let mut watchdog = Watchdog::new(&self.settings, self.calls.clone(), session.link.clone());
        let mut hearing = Hearing::new(
            self.listeners.clone(),
            self.calls.clone(),
            session.link.clone(),
            self.settings.max_reply_bytes,
        );
        let (mut trial, mut blocked) = (None, doubt);
        match &blocked {
            None => self.admit(&session),
            Some(reason) => {
                self.block(&session, reason);
                trial = Some(self.try_out(&session));
            }
        }
        tracing::info!("connected");
        loop {
            let news = tokio::select! {
                biased;
                () = stopped(stop) => {
                    let _ = timeout(CLOSE_LIMIT, session.link.close()).await;
                    return End::Stopped;
                }
                Some(news) = session.news.recv() => news,
                () = answered(&mut trial) => News::Unblocked,
                reason = watchdog.bite() => News::Lost(reason),
                () = hearing.begin() => continue,
            };
            let reason = match news {
                News::Blocked(reason) => {
                    tracing::warn!(reason, "the broker is blocked");
                    watchdog.blocked = true;
                    self.block(&session, &reason);
                    blocked = Some(reason);
                    // It may have read the trial before; now it has spoken itself, and will say when that is over.
                    trial = None;
                    continue;
                }
                News::Unblocked => {
                    watchdog.blocked = false;
                    blocked = None;
                    self.admit(&session);
                    continue;
                }
                News::Lost(reason) => session.address.unnamed(&reason),
                // It reads again: what was given up is executed anyhow, and others may have been sent since.
                News::GivenUpUnread if blocked.is_none() => continue,
                // Only cutting the connection takes a request back. Nothing else is lost: while the broker doesn't
                // read, services can't publish replies either.
                News::GivenUpUnread => "a request was given up before the blocked broker read it".to_owned(),
            };
            return End::Lost {
                reason,
                doubt: blocked,
            };
        }
    }

    fn block(&self, session: &Session, reason: &str) {
        self.calls.block(reason.to_owned(), session.events.clone());
        self.tell(ConnectionState::Blocked {
            reason: reason.to_owned(),
        });
    }

    /// Publishes to nobody: a broker that reads returns it.
    fn try_out(&self, session: &Session) -> oneshot::Receiver<()> {
        let (id, answered) = self.calls.trial();
        if let Ok(route) = Route::new("nameko-cachetools", "trial") {
            session.link.publish(Outgoing {
                route,
                body: Bytes::new(),
                headers: Headers::new(),
                persistent: false,
                expiration_ms: None,
                correlation_id: id.hyphenated().to_string(),
                ticket: Ticket {
                    calls: self.calls.clone(),
                    id,
                    room: None,
                },
            });
        }
        answered
    }
}

/// Waits until the broker has said something of the trial, once; for ever if there is none.
async fn answered(trial: &mut Option<oneshot::Receiver<()>>) {
    let Some(answered) = trial else {
        return pending().await;
    };
    let told = answered.await;
    *trial = None;
    if told.is_err() {
        pending().await // nobody knows of the trial any more
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

/// Waits for the word, or for the owner's end.
async fn stopped(stop: &mut watch::Receiver<bool>) {
    let _ = stop.wait_for(|stop| *stop).await;
}
