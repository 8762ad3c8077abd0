//! Outages that last as long as their guard.

use std::{collections::BTreeMap, fmt, sync::Arc, time::Duration};

use nameko_cachetools::{ConnectionState, TransportError};
use tokio::runtime::Handle;

use crate::{Call, hub::Hub};

/// An outage of the broker or of one service. It ends when this guard is dropped, or by [`end`](Self::end).
///
/// Outages of the same kind may overlap: the last one to end ends it.
///
/// ```
/// # use nameko_cachetools_testkit::{Answer, FakeBroker};
/// # let broker = FakeBroker::new();
/// {
///     let _outage = broker.down();
///     // here every request fails: not connected
/// }
/// // here they are answered again
/// ```
#[must_use = "the outage ends when this guard is dropped"]
pub struct Outage {
    hub: Arc<Hub>,
    kind: Kind,
}

impl Outage {
    pub(crate) fn begin(hub: &Arc<Hub>, kind: Kind) -> Self {
        hub.lock().begin_outage(&kind);
        Self {
            hub: Arc::clone(hub),
            kind,
        }
    }

    /// Ends the outage. The same as dropping the guard, for tests that want to say it.
    pub fn end(self) {}
}

impl Drop for Outage {
    fn drop(&mut self) {
        let mut state = self.hub.lock();
        state.log.of_broker(format!("{} no more", self.kind));
        let parked = state.outages.end(&self.kind);
        state.show_connections();
        let now = state.log.now();
        let (expired, alive): (Vec<_>, Vec<_>) = parked.into_iter().partition(|call| is_expired(call, now));
        for call in expired {
            state.log.of_call(call.number, "expired in the queue");
        }
        drop(state);
        // By a task of its own: at the end of a test, where guards are dropped, nothing more is to happen.
        match Handle::try_current() {
            Ok(runtime) if !alive.is_empty() => {
                let hub = Arc::clone(&self.hub);
                drop(runtime.spawn(async move { alive.iter().for_each(|call| hub.deliver(call)) }));
            }
            _ => alive.iter().for_each(|call| self.hub.deliver(call)),
        }
    }
}

impl fmt::Debug for Outage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Outage({})", self.kind)
    }
}

/// Whether the broker would have dropped `call` by now.
fn is_expired(call: &Call, now: Duration) -> bool {
    call.request
        .expiration
        .is_some_and(|expiration| now.saturating_sub(call.at) >= expiration)
}

/// What is out of order.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    /// No connection to the broker.
    Down,
    /// The broker's test is over.
    Gone,
    /// The broker takes no requests: memory or disk alarm.
    Blocked,
    /// No queue is bound for this service.
    Unknown(String),
    /// This service takes nothing from its queue.
    Silent(String),
}

impl Kind {
    /// Why there is no connection, for the kinds that leave none.
    pub(crate) fn cuts_connections(&self) -> Option<&'static str> {
        match self {
            Self::Down => Some("the fake broker is down"),
            Self::Gone => Some("the fake broker was dropped; keep it until the end of the test"),
            Self::Blocked | Self::Unknown(_) | Self::Silent(_) => None,
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Down => f.write_str("broker down"),
            Self::Gone => f.write_str("broker dropped"),
            Self::Blocked => f.write_str("broker blocked"),
            Self::Unknown(service) => write!(f, "service {service} unknown"),
            Self::Silent(service) => write!(f, "service {service} silent"),
        }
    }
}

/// The outages of the moment, and the calls that wait for silent services.
#[derive(Debug, Default)]
pub(crate) struct Outages {
    active: BTreeMap<Kind, usize>,
    parked: Vec<Arc<Call>>,
}

impl Outages {
    /// Why a request to `service` can't be sent now.
    pub(crate) fn refusal(&self, service: &str) -> Option<TransportError> {
        if let Some(reason) = self.no_connection() {
            return Some(TransportError::NotConnected {
                reason: reason.to_owned(),
            });
        }
        if self.is_active(&Kind::Blocked) {
            return Some(TransportError::Blocked {
                reason: BLOCKED.to_owned(),
            });
        }
        self.is_active(&Kind::Unknown(service.to_owned()))
            .then_some(TransportError::UnknownService)
    }

    /// What a connection that nobody closed shows.
    pub(crate) fn connection_state(&self) -> ConnectionState {
        if let Some(reason) = self.no_connection() {
            return ConnectionState::Reconnecting {
                reason: reason.to_owned(),
                permanent: false,
            };
        }
        if self.is_active(&Kind::Blocked) {
            return ConnectionState::Blocked {
                reason: BLOCKED.to_owned(),
            };
        }
        ConnectionState::Ready
    }

    pub(crate) fn is_silent(&self, service: &str) -> bool {
        self.is_active(&Kind::Silent(service.to_owned()))
    }

    /// Keeps a call until its service speaks again.
    pub(crate) fn park(&mut self, call: Arc<Call>) {
        self.parked.push(call);
    }

    fn no_connection(&self) -> Option<&'static str> {
        let cut = [Kind::Gone, Kind::Down]
            .into_iter()
            .find(|kind| self.is_active(kind))?;
        cut.cuts_connections()
    }

    fn is_active(&self, kind: &Kind) -> bool {
        !self.active.is_empty() && self.active.contains_key(kind)
    }

    pub(crate) fn begin(&mut self, kind: &Kind) {
        *self.active.entry(kind.clone()).or_default() += 1;
    }

    /// Ends one outage, and returns the calls that waited for it to end.
    fn end(&mut self, kind: &Kind) -> Vec<Arc<Call>> {
        if let Some(count) = self.active.get_mut(kind) {
            *count -= 1;
            if *count > 0 {
                return Vec::new();
            }
        }
        self.active.remove(kind);
        let Kind::Silent(service) = kind else {
            return Vec::new();
        };
        let (back, silent) = self
            .parked
            .drain(..)
            .partition(|call| call.route.service() == service);
        self.parked = silent;
        back
    }
}

/// What RabbitMQ says.
const BLOCKED: &str = "low on memory";
