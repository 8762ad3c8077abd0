//! Errors that are answers: remembered from when they were asked for to the end of their life.

use super::{
    super::{
        log::{Brought, Caller, Fault},
        schedule::{Mode, Ms},
    },
    Model,
    flights::{Flight, Kind},
    invalidations::Verdicts,
};

impl Model<'_> {
    /// The error that `caller` is answered with, although nobody asks the service.
    pub(super) fn negative(&self, caller: Caller) -> Option<Fault> {
        let (policy, calling) = (self.policy(caller), self.calling(caller));
        let life = policy
            .negative_for
            .filter(|_| self.mode(caller) != Mode::Reload)?;
        let asked = self.asked(caller);
        let is_word = |flight: &&Flight| {
            let is_answer = match &flight.brought {
                Some(Brought::Good | Brought::Odd) => true,
                Some(Brought::Error(fault)) => policy.is_definitive(*fault),
                None => false,
            };
            let is_same = flight.proxy == calling.proxy && flight.asked == asked;
            is_answer && is_same && flight.kind != Kind::Plain
        };
        // The later request has the last word, in whatever order the answers came.
        let last = self
            .flights
            .iter()
            .filter(is_word)
            .max_by_key(|flight| flight.order)?;
        let age: Ms = self.now - last.sent.map_or(self.now, |(_, at)| at);
        let most = calling.options.as_ref().and_then(|asking| asking.max_age);
        let is_alive = age < life && most.is_none_or(|most| age <= most);
        match &last.brought {
            Some(Brought::Error(fault)) if is_alive && self.verdict(last) == Verdicts::Untouched => {
                Some(*fault)
            }
            _ => None,
        }
    }
}
