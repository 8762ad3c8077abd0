//! The memory of failure: so many requests in a row without an answer, and those who have an old one don't wait.

use nameko_cachetools::Reason;

use super::{
    super::log::{Brought, Caller, Fault},
    Model,
    policy::class,
};

/// What is remembered of one method of one proxy.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Memory {
    failures: u32,
    is_open: bool,
}

/// What a call may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Circuit {
    Closed,
    Open,
    /// Open, and this call is to look again.
    Probe,
}

impl Model<'_> {
    pub(super) fn circuit(&self, caller: Caller) -> Circuit {
        let calling = self.calling(caller);
        let memory = self.circuits.get(&(calling.proxy, calling.method));
        match self.policy(caller).breaker {
            Some(breaker) if memory.is_some_and(|memory| memory.is_open) => {
                if breaker.probes {
                    Circuit::Probe
                } else {
                    Circuit::Open
                }
            }
            _ => Circuit::Closed,
        }
    }

    /// A request of `caller`'s method got an answer, or none.
    fn note(&mut self, caller: Caller, answered: bool) {
        let Some(breaker) = self.policy(caller).breaker else {
            return;
        };
        let calling = self.calling(caller);
        let memory = self.circuits.entry((calling.proxy, calling.method)).or_default();
        if answered {
            *memory = Memory::default();
        } else {
            memory.failures += 1;
            memory.is_open |= memory.failures >= breaker.after_failures;
        }
    }

    /// A flight ended. An exception is an answer; one that was too slow for somebody counts once.
    pub(super) fn note_brought(&mut self, flight: usize, what: &Brought) {
        let (launcher, is_slow) = (self.flights[flight].launcher, self.flights[flight].is_slow);
        let answered = match what {
            Brought::Error(Fault::Aborted) => return, // a panic remembers nothing
            Brought::Error(fault) => class(*fault) != Reason::Unavailable,
            Brought::Good | Brought::Odd => true,
        };
        if answered || !is_slow {
            self.note(launcher, answered);
        }
    }

    /// A caller's patience with a flight ended.
    pub(super) fn note_slow(&mut self, caller: Caller, flight: usize) {
        if !std::mem::replace(&mut self.flights[flight].is_slow, true) {
            self.note(caller, false);
        }
    }
}
