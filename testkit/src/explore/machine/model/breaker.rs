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

/// How a request ended.
enum Ending {
    Answered,
    /// After it was counted as silent: alive, but that closes nothing.
    AnsweredLate,
    Silent,
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

    /// A request of `caller`'s method ended so.
    fn note(&mut self, caller: Caller, ending: Ending) {
        let Some(breaker) = self.policy(caller).breaker else {
            return;
        };
        let calling = self.calling(caller);
        let memory = self.circuits.entry((calling.proxy, calling.method)).or_default();
        match ending {
            Ending::Answered => *memory = Memory::default(),
            Ending::AnsweredLate => memory.failures = 0,
            Ending::Silent => {
                memory.failures += 1;
                memory.is_open |= memory.failures >= breaker.after_failures;
            }
        }
    }

    /// A flight ended, or was given up. An exception is an answer; what was slow counts once.
    pub(super) fn note_end(&mut self, flight: usize, what: Option<&Brought>) {
        let answered = match what {
            Some(Brought::Error(Fault::Aborted)) => return, // a panic remembers nothing
            Some(Brought::Error(fault)) => class(*fault) != Reason::Unavailable,
            Some(Brought::Good | Brought::Odd) => true,
            None => false,
        };
        let was_slow = std::mem::replace(&mut self.flights[flight].is_slow, true);
        let launcher = self.flights[flight].launcher;
        match (answered, was_slow) {
            (true, false) => self.note(launcher, Ending::Answered),
            (true, true) => self.note(launcher, Ending::AnsweredLate),
            (false, false) => self.note(launcher, Ending::Silent),
            (false, true) => {}
        }
    }

    /// A caller's patience with a flight ended.
    pub(super) fn note_slow(&mut self, caller: Caller, flight: usize) {
        if !std::mem::replace(&mut self.flights[flight].is_slow, true) {
            self.note(caller, Ending::Silent);
        }
    }
}
