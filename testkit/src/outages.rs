//! What is out of order at one moment.

use std::{collections::BTreeMap, fmt, sync::Arc, time::Duration};

use nameko_cachetools::{ConnectionState, TransportError};

use crate::{
    Call,
    brown_out::{BrownOut, Throw},
};

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
    /// This service is slow and fails: brown-out number so-and-so.
    BrownOut(String, usize),
    /// Replies that are ready within this time overtake each other.
    Reordered(Duration),
}

impl Kind {
    /// Why there is no connection, for the kinds that leave none.
    pub(crate) fn cuts_connections(&self) -> Option<&'static str> {
        match self {
            Self::Down => Some("the fake broker is down"),
            Self::Gone => Some("the fake broker was dropped; keep it until the end of the test"),
            Self::Blocked | Self::Unknown(_) | Self::Silent(_) | Self::BrownOut(..) | Self::Reordered(_) => {
                None
            }
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
            Self::BrownOut(service, _) => write!(f, "service {service} browned out"),
            Self::Reordered(_) => f.write_str("replies reordered"),
        }
    }
}

/// The outages of the moment, and the calls that wait for silent services.
#[derive(Debug, Default)]
pub(crate) struct Outages {
    active: BTreeMap<Kind, usize>,
    parked: Vec<Arc<Call>>,
    /// All that ever began, by number.
    brown_outs: Vec<BrownOut>,
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
        self.is_unknown(service).then_some(TransportError::UnknownService)
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

    pub(crate) fn add_brown_out(&mut self, seed: u64, brown_out: BrownOut) -> Kind {
        let number = self.brown_outs.len();
        let service = brown_out.service.clone();
        self.brown_outs.push(brown_out.with_dice(seed, number));
        Kind::BrownOut(service, number)
    }

    /// What the brown-outs of `service` do to one answer.
    pub(crate) fn throw(&mut self, service: &str) -> Throw {
        let (mut all, active) = (Throw::default(), &self.active);
        for (number, brown_out) in self.brown_outs.iter_mut().enumerate() {
            let is_hit = brown_out.service == service
                && active.contains_key(&Kind::BrownOut(service.to_owned(), number));
            if is_hit {
                all += brown_out.throw();
            }
        }
        all
    }

    /// Within which time replies overtake each other, if they do.
    pub(crate) fn reordering(&self) -> Option<Duration> {
        self.active.keys().find_map(|kind| match kind {
            Kind::Reordered(window) => Some(*window),
            _ => None,
        })
    }

    /// Whether there is any connection to the broker.
    pub(crate) fn is_connected(&self) -> bool {
        self.no_connection().is_none()
    }

    pub(crate) fn is_unknown(&self, service: &str) -> bool {
        self.is_active(&Kind::Unknown(service.to_owned()))
    }

    /// How many calls wait for a silent service.
    pub(crate) fn waiting_for(&self, service: &str) -> usize {
        self.parked
            .iter()
            .filter(|call| call.route.service() == service)
            .count()
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
    pub(crate) fn end(&mut self, kind: &Kind) -> Vec<Arc<Call>> {
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
