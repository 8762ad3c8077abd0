//! From no link to a link: which addresses, how often, and why not.

use std::{future::pending, pin::pin, sync::Arc, time::Duration};

use futures_util::{StreamExt, stream::FuturesUnordered};
use nameko_cachetools::{Delivery, Timer, TransportError};
use tokio::{
    sync::mpsc,
    time::{Instant, sleep, timeout},
};
use uuid::Uuid;

use crate::{
    Address,
    events::{LinkEvents, News},
    link::{Link, OpenError, OpenErrorKind, Plan},
    supervisor::Supervisor,
    topology::Topology,
};

/// How many attempts to reconnect may hang at once.
const MAX_ATTEMPTS: usize = 5;

/// An open link. Dropping it cuts the connection.
pub(crate) struct Session {
    pub(crate) link: Arc<dyn Link>,
    pub(crate) address: Address,
    pub(crate) reply_queue: String,
    pub(crate) events: mpsc::UnboundedSender<News>,
    pub(crate) news: mpsc::UnboundedReceiver<News>,
}

impl Drop for Session {
    fn drop(&mut self) {
        self.link.abort();
    }
}

impl Supervisor {
    /// Tries each address once; the first that works is taken. Refused is only who is refused by all.
    pub(crate) async fn open(&self) -> Result<Session, Failure> {
        self.open_from(0, None).await
    }

    /// The same, beginning with the `first` address (counted round and round).
    ///
    /// Each link has a reply queue of its own. Under the name of the one before, it would share the replies with that
    /// one's consumer, which a broker that hasn't heard of the end keeps until heartbeats are missed.
    async fn open_from(&self, first: usize, superseded: Option<&str>) -> Result<Session, Failure> {
        let addresses = &self.settings.addresses;
        let mut failures = Vec::with_capacity(addresses.len());
        for n in 0..addresses.len() {
            let address = &addresses[(first + n) % addresses.len()];
            let topology = Topology::new(&self.settings.app, &self.settings.rpc_exchange);
            let reply_queue = topology.reply_queue.clone();
            let plan = Plan {
                address: address.clone(),
                connection_name: reply_queue.clone(),
                topology,
                superseded: superseded.map(str::to_owned),
                heartbeat: self.settings.heartbeat,
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
            let mut failure = match timeout(limit, self.factory.open(plan, link_events)).await {
                Ok(Ok(link)) => {
                    return Ok(Session {
                        link,
                        address: address.clone(),
                        reply_queue,
                        events,
                        news,
                    });
                }
                Ok(Err(error)) => Failure::from(error),
                Err(_) => Failure::timeout(limit),
            };
            failure.reason = format!("{address}: {}", address.unnamed(&failure.reason));
            tracing::debug!(reason = failure.reason, "no connection");
            failures.push(failure);
        }
        Err(Failure::of_all(failures))
    }

    /// Attempts until one works, after `failures` in a row, with growing pauses.
    ///
    /// In a network that swallows everything an attempt hangs until its time is up, also when others would work again.
    /// So the next one doesn't wait for it longer than the longest pause; a broker that refuses us is not pressed like
    /// that.
    pub(crate) async fn reopen(&self, failures: &mut u32, superseded: Option<&str>) -> Session {
        let mut attempts = FuturesUnordered::new();
        let (mut count, mut overtake) = (0, self.settings.backoff.cap);
        let mut next = pin!(sleep(self.pause(*failures, false)));
        loop {
            tokio::select! {
                biased;
                Some(opened) = attempts.next(), if !attempts.is_empty() => match opened {
                    Ok(session) => return session,
                    Err(failure) => {
                        *failures += 1;
                        self.report(&failure);
                        if failure.kind == OpenErrorKind::PausedClock {
                            return pending().await;
                        }
                        let refused = failure.kind == OpenErrorKind::Refused;
                        overtake = match refused {
                            true => self.settings.backoff.refused,
                            false => self.settings.backoff.cap,
                        };
                        if refused {
                            attempts.clear();
                        }
                        next.as_mut().reset(Instant::now() + self.pause(*failures, refused));
                    }
                },
                () = &mut next, if attempts.len() < MAX_ATTEMPTS => {
                    attempts.push(self.open_from(count, superseded));
                    count += 1;
                    next.as_mut().reset(Instant::now() + overtake);
                }
            }
        }
    }

    fn pause(&self, failures: u32, refused: bool) -> Duration {
        match failures {
            0 => Duration::ZERO,
            _ => {
                let random = Uuid::new_v4().as_u64_pair().0;
                self.settings.backoff.pause(failures, refused, random)
            }
        }
    }
}

/// Why there is no link.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) reason: String,
    pub(crate) kind: OpenErrorKind,
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

    /// Of all addresses, of which there is at least one. One that can't be reached now may be the one to take us.
    fn of_all(failures: Vec<Self>) -> Self {
        let all = |kind| failures.iter().all(|failure| failure.kind == kind);
        let kind = if failures
            .iter()
            .any(|failure| failure.kind == OpenErrorKind::PausedClock)
        {
            OpenErrorKind::PausedClock
        } else if all(OpenErrorKind::Refused) {
            OpenErrorKind::Refused
        } else {
            OpenErrorKind::Unreachable
        };
        let timed_out = failures.iter().all(|failure| failure.timeout.is_some());
        let reasons: Vec<_> = failures.iter().map(|failure| failure.reason.as_str()).collect();
        Self {
            reason: reasons.join("; "),
            kind,
            timeout: failures
                .first()
                .and_then(|first| first.timeout)
                .filter(|_| timed_out),
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
    pub(crate) fn gate_error(&self) -> TransportError {
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
