//! What a cached call does first: a pure decision, so that it can be explained without being carried out.

use std::time::Duration;

use crate::{entry::Entry, key::Key, methods::Rule, options::Mode, outcome::Reason, policy::Plan};

/// An entry as a call finds it.
pub(crate) struct Found {
    pub(crate) entry: Entry,
    pub(crate) age: Duration,
    /// Whether an invalidation made it stale, whatever its age.
    pub(crate) expired: bool,
}

impl Found {
    /// Whether it may stand in for an answer that fails or is slow.
    pub(crate) fn may_stand_in(&self, rule: &Rule) -> bool {
        rule.policy
            .may_stand_in(rule.lived(self.age, self.entry.fresh_for()))
    }

    /// How long it is fresh, as long as nothing invalidates it.
    pub(crate) fn fresh_for(&self, rule: &Rule, key: &Key) -> Duration {
        self.entry.fresh_for().unwrap_or_else(|| rule.fresh_for(key))
    }

    fn plan(&self, rule: &Rule, key: &Key) -> Plan {
        match self.entry.fresh_for() {
            None => rule.plan(self.age, key),
            Some(own) => rule.plan_said(self.age, own),
        }
    }
}

/// The first step of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    /// Answer with the entry: it is fresh.
    Serve,
    /// Answer with it, stale as it is, and fetch a new one behind.
    Revalidate,
    /// Answer with it, stale as it is: nothing else is allowed.
    ServeOnly,
    /// There is no answer, and nothing else is allowed.
    NotCached,
    /// Ask the service, and wait this long for it while an entry is at hand that may stand in.
    Ask {
        reason: Reason,
        patience: Option<Duration>,
    },
}

/// Whether the store is read before the service is asked.
pub(crate) fn reads_store(mode: Mode, rule: &Rule) -> bool {
    match mode {
        Mode::OnlyIfCached => true,
        Mode::Policy => rule.reads_first,
        Mode::Reload | Mode::Bypass => false,
    }
}

/// The first step, given what the store holds, if it was read.
pub(crate) fn first_step(mode: Mode, rule: &Rule, key: &Key, found: Option<&Found>) -> Step {
    let patience = rule.policy.failover_timeout();
    let only = mode == Mode::OnlyIfCached;
    let Some(found) = found else {
        let reason = if reads_store(mode, rule) {
            Reason::Miss
        } else {
            Reason::LiveFirst
        };
        return if only {
            Step::NotCached
        } else {
            Step::Ask { reason, patience }
        };
    };
    let plan = match found.plan(rule, key) {
        Plan::Serve | Plan::ServeAndRefresh if found.expired => Plan::FetchOrServe { patience },
        plan => plan,
    };
    match plan {
        Plan::Serve => Step::Serve,
        _ if only && found.may_stand_in(rule) => Step::ServeOnly,
        _ if only => Step::NotCached,
        Plan::ServeAndRefresh => Step::Revalidate,
        Plan::FetchOrServe { patience } => Step::Ask {
            reason: Reason::LiveFirst,
            patience,
        },
    }
}
