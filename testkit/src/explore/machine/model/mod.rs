//! The naive model: a map, a clock, and a loop over what happened. It says what had to happen.
//!
//! It follows the log of one run, event by event, and knows at each moment what the store holds, which requests are
//! under way, and what each caller waits for. Whatever the library does beyond that, or does not do by the moment in
//! which it had to, is a violation. It is written to be clear, and computes everything anew.

mod breaker;
mod calls;
mod entries;
mod flights;
mod invalidations;
mod negatives;
mod policy;
mod quiet;
mod reads;
mod truth;

use std::{collections::BTreeMap, fmt};

use super::{
    log::{Asked, Caller, Event, Number, Owner, Quiet},
    schedule::{Calling, Leaves, Mode, Ms, PolicySetup, ProxySetup, Schedule},
};
use breaker::Memory;
use calls::Call;
use flights::Flight;
use invalidations::Barrier;

/// A rule that was broken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// The rule: an invariant or statement by its number.
    pub(super) rule: &'static str,
    pub(super) what: String,
    /// The number of the event by which it showed.
    pub(super) event: usize,
}

impl Violation {
    pub(super) fn new(rule: &'static str, what: impl Into<String>) -> Self {
        Self {
            rule,
            what: what.into(),
            event: 0,
        }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.rule, self.what)
    }
}

type Verdict = Result<(), Violation>;

fn violation(rule: &'static str, what: impl Into<String>) -> Verdict {
    Err(Violation::new(rule, what))
}

fn ensure(holds: bool, rule: &'static str, what: impl FnOnce() -> String) -> Verdict {
    if holds { Ok(()) } else { violation(rule, what()) }
}

/// Whether everything in the log of one run of `schedule` was right.
pub(super) fn judge(schedule: &Schedule, events: &[(Ms, Event)]) -> Verdict {
    let mut model = Model::new(schedule);
    for (index, (at, event)) in events.iter().enumerate() {
        model.order = index;
        let verdict = model.time_goes_on(*at).and_then(|()| model.follow(event));
        verdict.map_err(|violation| Violation {
            event: index,
            ..violation
        })?;
    }
    let last = events.last().map(|(_, event)| event);
    ensure(matches!(last, Some(Event::Quiet(_))), "E7", || {
        "the run did not come to its end".to_owned()
    })
}

struct Model<'a> {
    schedule: &'a Schedule,
    callings: Vec<&'a Calling>,
    now: Ms,
    /// The number of the event that is followed.
    order: usize,
    /// What the store holds: the request whose answer it is.
    stored: BTreeMap<Asked, Number>,
    flights: Vec<Flight>,
    numbers: BTreeMap<Number, usize>,
    calls: Vec<Call>,
    /// The flight that calls of one kind may join.
    places: BTreeMap<(usize, Asked), usize>,
    barriers: Vec<Barrier>,
    circuits: BTreeMap<(usize, &'static str), Memory>,
    /// Until when the next refresh waits, and how long that pause is.
    pauses: BTreeMap<(usize, Asked), (Ms, Ms)>,
    /// When the clock jumped, to when.
    jumps: Vec<(Ms, Ms)>,
    /// Flights whose callers' limits ended, and when.
    gave_in: Vec<(usize, Ms)>,
    /// What has to come next, before anything else.
    next: Option<Next>,
    keys: BTreeMap<usize, Asked>,
    asked: BTreeMap<Asked, usize>,
}

/// What follows at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Next {
    /// This request's answer is put into the store.
    Put(Number),
    /// This request's answer says that there is no such record: the store is asked for an older one.
    EvictionReads(Number),
    /// The older one is removed.
    Remove(Number),
    /// What was invalidated is removed, by who found it.
    RemoveGone(Caller),
    /// This caller has its answer.
    End(Caller),
}

impl<'a> Model<'a> {
    fn new(schedule: &'a Schedule) -> Self {
        let callings: Vec<_> = schedule.callings().collect();
        Self {
            schedule,
            now: 0,
            order: 0,
            places: BTreeMap::new(),
            barriers: Vec::new(),
            circuits: BTreeMap::new(),
            pauses: BTreeMap::new(),
            stored: BTreeMap::new(),
            flights: Vec::new(),
            numbers: BTreeMap::new(),
            calls: callings.iter().map(|_| Call::default()).collect(),
            callings,
            jumps: Vec::new(),
            gave_in: Vec::new(),
            next: None,
            keys: BTreeMap::new(),
            asked: BTreeMap::new(),
        }
    }

    fn time_goes_on(&mut self, at: Ms) -> Verdict {
        if at > self.now {
            ensure(self.next.is_none(), "E7/E9", || {
                format!("time goes on before {:?}", self.next)
            })?;
            self.flights_overdue(at)?;
            self.calls_overdue(at)?;
            self.now = at;
        }
        Ok(())
    }

    fn follow(&mut self, event: &Event) -> Verdict {
        self.follows(event)?;
        match event {
            Event::Began(caller) => self.began(*caller),
            Event::Ended(caller, told) => self.ended(*caller, told),
            Event::Left(caller) => self.left(*caller),
            Event::Sent {
                number,
                asked,
                caller,
            } => self.sent(*number, *asked, *caller),
            Event::Brought { number, what, says } => self.brought(*number, what, *says),
            Event::GivenUp { number } => self.given_up(*number),
            Event::Reading {
                by: Owner::Caller(caller),
            } => self.caller_reads(*caller),
            Event::Removing {
                by: Owner::Caller(caller),
                ..
            } => {
                self.removes_gone(*caller);
                Ok(())
            }
            Event::Removing {
                by: Owner::Flight(by),
                number,
            } => ensure(number < by, "8", || {
                format!("the answer to request #{by} evicts the newer one to #{number}")
            }),
            Event::Reading { .. } | Event::Removing { .. } | Event::World(_) => Ok(()),
            Event::Read { by, key, found } => self.read(*by, *key, *found),
            Event::Putting { key, number, .. } => self.putting(*key, *number),
            Event::Put {
                by, number, became, ..
            } => self.put(*by, *number, *became),
            Event::Removed {
                by,
                number,
                was_there,
                ..
            } => self.removed(*by, *number, *was_there),
            Event::Invalidated { reach, softly } => {
                self.invalidated(*reach, *softly);
                Ok(())
            }
            Event::Jumps(by) => {
                // What was due meanwhile is due now, all of it in one moment.
                self.jumps.push((self.now, self.now + by));
                self.now += by;
                Ok(())
            }
            Event::Cleared => {
                self.stored.clear();
                Ok(())
            }
            Event::Quiet(quiet) => self.is_quiet(quiet),
        }
    }

    /// Whether `event` is what had to come next, if something had to.
    fn follows(&mut self, event: &Event) -> Verdict {
        let Some(next) = self.next.take() else {
            return Ok(());
        };
        if let (Next::End(due), Event::Removed { by, .. }) = (next, event)
            && *by == Owner::Caller(due)
        {
            self.next = Some(next); // what it found had been invalidated
            return Ok(());
        }
        let follows = match (next, event) {
            (Next::Put(due), Event::Putting { number, .. }) => due == *number,
            (Next::EvictionReads(due), Event::Reading { by } | Event::Read { by, .. }) => {
                *by == Owner::Flight(due)
            }
            (Next::Remove(due), Event::Removing { by, .. }) => *by == Owner::Flight(due),
            (Next::RemoveGone(due), Event::Removing { by, .. }) => *by == Owner::Caller(due),
            (Next::End(due), Event::Ended(caller, _)) => due == *caller,
            (Next::End(due), Event::Left(caller)) => {
                due == *caller && self.calling(due).leaves == Leaves::AfterPolls(0)
            }
            // The shortest way looks, finds nothing to answer with at once, and the long way looks again.
            (Next::End(due), Event::Read { by, .. }) => *by == Owner::Caller(due) && self.looks_twice(due),
            _ => false,
        };
        ensure(follows, "E1/E9/11", || {
            format!("{next:?} had to come next, and {event:?} came")
        })
    }

    /// Whether the clock jumped to this moment: then the order of what was due says nothing.
    fn jumped_to(&self, moment: Ms) -> bool {
        self.jumps.iter().any(|(_, to)| *to == moment)
    }

    fn calling(&self, caller: Caller) -> &'a Calling {
        self.callings[caller]
    }

    fn proxy(&self, caller: Caller) -> &'a ProxySetup {
        &self.schedule.proxies[self.calling(caller).proxy]
    }

    fn policy(&self, caller: Caller) -> &'a PolicySetup {
        let proxy = self.proxy(caller);
        let own = proxy
            .list
            .as_ref()
            .filter(|_| self.calling(caller).method == "list");
        own.unwrap_or(&proxy.policy)
    }

    fn mode(&self, caller: Caller) -> Mode {
        self.calling(caller)
            .options
            .as_ref()
            .map_or(Mode::Policy, |asking| asking.mode)
    }

    /// What the key of a call is made of.
    fn asked(&self, caller: Caller) -> Asked {
        let calling = self.calling(caller);
        Asked {
            service: self.proxy(caller).service,
            method: calling.method,
            key: calling.key,
            user: calling.options.as_ref().and_then(|asking| asking.user),
        }
    }

    fn numbered(&self, number: Number) -> Result<usize, Violation> {
        let index = self.numbers.get(&number).copied();
        index.ok_or_else(|| Violation::new("E3", format!("there is no request #{number}")))
    }

    fn is_quiet(&mut self, quiet: &Quiet) -> Verdict {
        quiet::check(self, quiet)
    }
}
