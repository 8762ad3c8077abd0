//! Callers: what each had to be told, and when.

use nameko_cachetools::Reason;

use super::{
    super::{
        log::{Caller, Fault, Number, Told},
        schedule::{BreakerSetup, FOREVER, Leaves, Mode, Ms},
    },
    Model, Next, Verdict,
    breaker::Circuit,
    ensure,
    flights::Kind,
    violation,
};

/// One call on its way.
#[derive(Debug, Default)]
pub(super) struct Call {
    pub(super) began: Ms,
    /// Its place among all events.
    pub(super) order: usize,
    /// How often the store was read before the service was asked.
    pub(super) looks: u32,
    pub(super) phase: Phase,
    /// Since when a read of the store is under way, and what it is for.
    pub(super) reading: Option<(Ms, Purpose)>,
    /// Whether there was an entry when the store was read first.
    pub(super) had_entry: bool,
    /// An entry that was found and has to be removed first: it was invalidated.
    pub(super) gone: Option<Purpose>,
    pub(super) told: Option<Told>,
}

#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(super) enum Phase {
    #[default]
    NotBegun,
    /// The store is read before the service is asked.
    Looks,
    /// The circuit is open: the store is read instead of asking the service.
    Checks,
    /// A flight is awaited.
    Waits(Waits),
    /// The call has to end in this moment, so.
    Must(Must),
    Over,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Waits {
    pub(super) flight: usize,
    /// When the caller looked up last: what happened before, it notices then.
    pub(super) since: Ms,
    /// When it would rather have an old answer, and when it gives up.
    pub(super) patience: Option<Ms>,
    pub(super) limit: Option<Ms>,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Must {
    Live(usize),
    Cached {
        number: Number,
        reason: Reason,
        masked: Option<Fault>,
    },
    Error(Fault),
}

/// What the store is read for.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Purpose {
    First,
    Circuit,
    Patience,
    InsteadOf(Fault),
}

impl Call {
    pub(super) fn is_over(&self) -> bool {
        self.phase == Phase::Over
    }
}

impl Model<'_> {
    pub(super) fn began(&mut self, caller: Caller) -> Verdict {
        (self.calls[caller].began, self.calls[caller].order) = (self.now, self.order);
        if self.calling(caller).leaves == Leaves::AfterPolls(0) {
            self.calls[caller].phase = Phase::Looks; // only the shortest way looks before the first poll
            return Ok(());
        }
        let (policy, mode) = (self.policy(caller), self.mode(caller));
        if mode == Mode::OnlyIfCached && self.calling(caller).method == "set" {
            self.must(caller, Must::Error(Fault::NotCached)); // nothing is sent
        } else if mode == Mode::Bypass || self.calling(caller).method == "set" {
            let flight = self.launch(caller, Kind::Plain);
            self.waits(caller, flight);
        } else if mode == Mode::OnlyIfCached || policy.reads_first() && mode != Mode::Reload {
            self.calls[caller].phase = Phase::Looks;
        } else {
            self.asks(caller);
        }
        Ok(())
    }

    /// `caller` wants to ask the service: unless its word is remembered, or it is taken for dead and there is an old answer.
    pub(super) fn asks(&mut self, caller: Caller) {
        if let Some(fault) = self.negative(caller) {
            return self.must(caller, Must::Error(fault));
        }
        if self.circuit(caller) != Circuit::Closed && self.mode(caller) != Mode::Reload {
            self.calls[caller].phase = Phase::Checks;
        } else {
            self.goes_out_or_fails(caller);
        }
    }

    /// No old answer is at hand: while the circuit is open, that may be an error at once.
    pub(super) fn goes_out_or_fails(&mut self, caller: Caller) {
        let circuit = self.circuit(caller);
        let fails_fast = |breaker: BreakerSetup| breaker.fails_fast;
        if circuit == Circuit::Open && self.policy(caller).breaker.is_some_and(fails_fast) {
            return self.must(caller, Must::Error(Fault::CircuitOpen));
        }
        let flight = self.fetch(caller, circuit);
        self.waits(caller, flight);
    }

    fn waits(&mut self, caller: Caller, flight: usize) {
        let policy = self.policy(caller);
        let own = self
            .calling(caller)
            .options
            .as_ref()
            .and_then(|asking| asking.timeout);
        let after = |limit: Ms| (limit != FOREVER).then(|| self.calls[caller].began + limit);
        let cached = self.flights[flight].kind != Kind::Plain && self.mode(caller) != Mode::Reload;
        // Who joins a request that has been silent for long need not find that out again.
        let launched = self.flights[flight].launched;
        let limit = own.unwrap_or(policy.call_timeout).and_then(after);
        let patience = policy
            .failover_timeout
            .filter(|_| cached)
            .map(|patience| launched + patience);
        let waits = Waits {
            flight,
            since: self.now,
            patience: patience.filter(|patience| limit.is_none_or(|limit| *patience <= limit)),
            limit,
        };
        self.calls[caller].phase = Phase::Waits(waits);
    }

    pub(super) fn must(&mut self, caller: Caller, must: Must) {
        if let Phase::Waits(waits) = self.calls[caller].phase
            && !matches!(must, Must::Live(_))
            && self.flights[waits.flight].landed.is_none()
            && [waits.patience, waits.limit].contains(&Some(self.now))
        {
            self.gave_in.push((waits.flight, self.now));
        }
        self.calls[caller].phase = Phase::Must(must);
        self.next = Some(Next::End(caller));
    }

    pub(super) fn masks(&self, caller: Caller, fault: Fault) -> bool {
        self.policy(caller).masks(fault)
    }

    /// What a waiting caller has to react to by now; a reply first.
    pub(super) fn due(&self, _: Caller, waits: Waits) -> Option<Due> {
        let is_past = |moment: Option<Ms>| moment.is_some_and(|moment| moment <= self.now);
        if is_past(self.flights[waits.flight].landed) {
            Some(Due::Landed)
        } else if is_past(waits.patience) {
            Some(Due::Patience)
        } else {
            is_past(waits.limit).then_some(Due::Limit)
        }
    }

    /// A plain request is answered: its caller ends at once.
    pub(super) fn plain_landed(&mut self, index: usize) -> Verdict {
        let caller = self.flights[index].launcher;
        let must = self
            .means(index, caller)
            .map_or_else(Must::Error, |_| Must::Live(index));
        self.must(caller, must);
        Ok(())
    }

    /// A plain request is given up: its caller leaves, or its limit ended.
    pub(super) fn plain_given_up(&mut self, index: usize) -> Verdict {
        let caller = self.flights[index].launcher;
        if let Phase::Waits(waits) = self.calls[caller].phase
            && self.due(caller, waits) == Some(Due::Limit)
        {
            self.calls[caller].phase = Phase::Must(Must::Error(Fault::Timeout)); // or it leaves
        }
        Ok(())
    }

    pub(super) fn left(&mut self, caller: Caller) -> Verdict {
        self.leave(caller);
        self.changed(caller);
        self.calls[caller].phase = Phase::Over;
        (self.calls[caller].reading, self.calls[caller].gone) = (None, None);
        Ok(())
    }

    pub(super) fn ended(&mut self, caller: Caller, told: &Told) -> Verdict {
        let must = match self.calls[caller].phase {
            Phase::Must(must) => must,
            Phase::Waits(waits) => match (self.due(caller, waits), self.calls[caller].reading) {
                (Some(Due::Landed), None) => match self.means(waits.flight, caller) {
                    Ok(_) => Must::Live(waits.flight),
                    Err(fault) if self.masks(caller, fault) && self.mode(caller) != Mode::Reload => {
                        return violation(
                            "E1",
                            format!("call {caller} ends by {fault:?} without a look into the store"),
                        );
                    }
                    Err(fault) => Must::Error(fault),
                },
                (Some(Due::Limit), None) if self.mode(caller) == Mode::Reload => {
                    self.runs_out(caller, Purpose::InsteadOf(Fault::Timeout));
                    Must::Error(Fault::Timeout)
                }
                (due, reading) => {
                    return violation(
                        "E2",
                        format!("call {caller} ends so: {told:?}; due: {due:?}, reading: {reading:?}"),
                    );
                }
            },
            Phase::NotBegun | Phase::Looks | Phase::Checks | Phase::Over => {
                return violation("E7", format!("call {caller} ends so: {told:?}"));
            }
        };
        self.is_true(caller, must, told)?;
        self.leave(caller);
        self.changed(caller);
        self.ends_in_time(caller)?;
        self.calls[caller].phase = Phase::Over;
        self.calls[caller].told = Some(told.clone());
        Ok(())
    }

    /// Time goes on to `next`: no caller may be overdue.
    pub(super) fn calls_overdue(&self, next: Ms) -> Verdict {
        for (caller, call) in self.calls.iter().enumerate() {
            let due = match (call.phase, call.reading) {
                (Phase::NotBegun | Phase::Over, _) => None,
                (_, Some((began, _))) => Some(began + self.schedule.store.timeout),
                (Phase::Looks | Phase::Checks | Phase::Must(_), None) => Some(self.now),
                (Phase::Waits(waits), None) => {
                    let landed = self.flights[waits.flight].landed;
                    let first = [landed, waits.patience, waits.limit].into_iter().flatten().min();
                    first.map(|moment| moment.max(waits.since))
                }
            };
            ensure(due.is_none_or(|due| due >= next), "E7", || {
                format!("call {caller} was due at {due:?} ms, and still waits: {call:?}")
            })?;
        }
        Ok(())
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Due {
    Landed,
    Patience,
    Limit,
}
