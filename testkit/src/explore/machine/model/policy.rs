//! The policies' arithmetic once more, as plainly as it can be said.

use super::super::{
    log::Fault,
    schedule::{FOREVER, Ms, PolicySetup, Preset},
};
use nameko_cachetools::Reason;

/// What to do with an entry that was found before the service was asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Plan {
    Serve,
    ServeAndRefresh,
    Fetch,
}

impl PolicySetup {
    pub(super) fn reads_first(&self) -> bool {
        self.fresh_for > 0 || self.stale_while_revalidate > 0
    }

    /// `said` is how long the entry is fresh by its service's own word.
    pub(super) fn plan(&self, age: Ms, said: Option<Ms>) -> Plan {
        match said {
            None => self.plan_usual(age),
            Some(said) if age < said => Plan::Serve,
            Some(_) if self.fresh_for == FOREVER => Plan::Fetch,
            Some(said) => self.plan_usual(self.fresh_for + age - said),
        }
    }

    fn plan_usual(&self, age: Ms) -> Plan {
        if within(age, self.fresh_for) {
            Plan::Serve
        } else if within(age, self.fresh_for.saturating_add(self.stale_while_revalidate)) {
            Plan::ServeAndRefresh
        } else {
            Plan::Fetch
        }
    }

    /// Whether an entry may answer in place of an error.
    pub(super) fn may_stand_in(&self, age: Ms, said: Option<Ms>) -> bool {
        let age = match said {
            None => age,
            Some(said) if age < said => 0,
            Some(said) => self.fresh_for.saturating_add(age - said),
        };
        within(age, self.fresh_for.saturating_add(self.stale_while_revalidate))
            || within(age, self.fresh_for.saturating_add(self.stale_if_error))
    }

    /// Whether an entry may answer in place of this error.
    pub(super) fn masks(&self, fault: Fault) -> bool {
        !self.is_definitive(fault)
            && (class(fault) != Reason::ClientFault || self.preset == Preset::FailoverOriginal)
    }

    /// Whether this error is an answer in itself.
    pub(super) fn is_definitive(&self, fault: Fault) -> bool {
        self.definitive && fault == Fault::NotFound
    }
}

/// The reason that a stale answer gives for an error.
pub(super) fn class(fault: Fault) -> Reason {
    match fault {
        Fault::MethodNotFound | Fault::NotCached => Reason::ClientFault,
        Fault::Boom
        | Fault::NotFound
        | Fault::ContentType
        | Fault::Decode
        | Fault::Aborted
        | Fault::Other => Reason::ServerFault,
        Fault::UnknownService
        | Fault::Rejected
        | Fault::NotConnected
        | Fault::Blocked
        | Fault::DisconnectedBefore
        | Fault::Disconnected
        | Fault::CircuitOpen
        | Fault::Timeout => Reason::Unavailable,
    }
}

fn within(age: Ms, end: Ms) -> bool {
    end == FOREVER || age < end
}
