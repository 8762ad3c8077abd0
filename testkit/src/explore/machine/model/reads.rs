//! What callers read in the store: when they may, and what they make of it.

use nameko_cachetools::Reason;

use super::{
    super::{
        log::{Caller, Fault, Found, Number},
        schedule::Mode,
    },
    Model, Next, Verdict, Violation,
    breaker::Circuit,
    calls::{Due, Must, Phase, Purpose},
    ensure,
    flights::Kind,
    invalidations::Verdicts,
    policy::{Plan, class},
};

impl Model<'_> {
    /// The store is asked and takes its time.
    pub(super) fn caller_reads(&mut self, caller: Caller) -> Verdict {
        let purpose = self.purpose(caller)?;
        self.runs_out(caller, purpose);
        self.calls[caller].reading = Some((self.now, purpose));
        Ok(())
    }

    /// Patience ended, or a limit that is not the call's own: the service is slow.
    pub(super) fn runs_out(&mut self, caller: Caller, purpose: Purpose) {
        let has_own = self
            .calling(caller)
            .options
            .as_ref()
            .is_some_and(|asking| asking.timeout.is_some());
        // Who does not wait at all has learned nothing.
        let has_patience = self.policy(caller).failover_timeout != Some(0);
        if let Phase::Waits(waits) = self.calls[caller].phase
            && (purpose == Purpose::Patience && has_patience
                || purpose == Purpose::InsteadOf(Fault::Timeout) && !has_own)
        {
            self.note_slow(caller, waits.flight);
        }
    }

    /// The store answered `caller`.
    pub(super) fn caller_read(&mut self, caller: Caller, found: Found) -> Verdict {
        if self.calls[caller].phase == Phase::Over {
            return ensure(found == Found::Trouble, "E8", || {
                format!("call {caller} is over and reads on")
            });
        }
        let purpose = match self.calls[caller].reading.take() {
            Some((_, purpose)) => purpose,
            None => {
                let purpose = self.purpose(caller)?;
                self.runs_out(caller, purpose);
                purpose
            }
        };
        let usable = match found {
            Found::Entry { number, .. } if self.verdict_of(number) == Verdicts::Gone => {
                if purpose == Purpose::First && self.looks_twice(caller) && self.calls[caller].looks == 0 {
                    self.calls[caller].looks = 1; // the shortest way leaves that to the long one
                    return Ok(());
                }
                self.calls[caller].gone = Some(purpose);
                self.next = Some(Next::RemoveGone(caller));
                return Ok(());
            }
            Found::Entry { number, .. } => Some(number).filter(|number| self.is_acceptable(caller, *number)),
            Found::Nothing | Found::Trouble => None,
        };
        self.goes_on(caller, purpose, usable);
        Ok(())
    }

    /// `caller` removes what it found, since it was invalidated, and goes on as if it had found nothing.
    pub(super) fn removes_gone(&mut self, caller: Caller) {
        if let Some(purpose) = self.calls[caller].gone.take() {
            self.goes_on(caller, purpose, None);
        }
    }

    fn goes_on(&mut self, caller: Caller, purpose: Purpose, usable: Option<Number>) {
        match purpose {
            Purpose::First => self.first_read(caller, usable),
            Purpose::Circuit | Purpose::Patience | Purpose::InsteadOf(_) => {
                self.fallback_read(caller, purpose, usable)
            }
        }
    }

    /// Whether an entry is of the type that `caller` asks for, and not older than it accepts.
    fn is_acceptable(&self, caller: Caller, number: Number) -> bool {
        let asking = self.calling(caller).options.as_ref();
        let accepted = asking
            .and_then(|asking| asking.max_age)
            .is_none_or(|most| self.age(number) <= most);
        let index = self.numbers.get(&number);
        accepted && index.is_some_and(|index| self.means(*index, caller).is_ok())
    }

    fn first_read(&mut self, caller: Caller, usable: Option<Number>) {
        let policy = self.policy(caller);
        let only = self.mode(caller) == Mode::OnlyIfCached;
        self.calls[caller].looks += 1;
        self.calls[caller].had_entry = usable.is_some();
        let cached = |number, reason| Must::Cached {
            number,
            reason,
            masked: None,
        };
        let plan = usable.map(|number| match policy.plan(self.age(number), self.said(number)) {
            _ if self.verdict_of(number) == Verdicts::Expired => (number, Plan::Fetch),
            plan => (number, plan),
        });
        if let Some((number, Plan::Serve)) = plan {
            return self.must(caller, cached(number, Reason::Hit));
        }
        if self.looks_twice(caller) && self.calls[caller].looks == 1 {
            return self.calls[caller].phase = Phase::Looks;
        }
        match plan {
            Some((number, _)) if only && policy.may_stand_in(self.age(number), self.said(number)) => {
                self.must(caller, cached(number, Reason::OnlyIfCached));
            }
            _ if only => {
                let fault = self.negative(caller).unwrap_or(Fault::NotCached);
                self.must(caller, Must::Error(fault));
            }
            Some((number, Plan::ServeAndRefresh)) => {
                match self.circuit(caller) {
                    Circuit::Closed => self.refresh(caller),
                    Circuit::Open => {}
                    Circuit::Probe => self.probe(caller),
                }
                self.must(caller, cached(number, Reason::Revalidating));
            }
            _ => self.asks(caller),
        }
    }

    /// A call without options, before a store that answers at once.
    pub(super) fn looks_twice(&self, caller: Caller) -> bool {
        self.calling(caller).options.is_none() && self.schedule.store.latency.is_none()
    }

    fn fallback_read(&mut self, caller: Caller, purpose: Purpose, usable: Option<Number>) {
        let policy = self.policy(caller);
        let usable = usable.filter(|number| policy.may_stand_in(self.age(*number), self.said(*number)));
        match (usable, purpose) {
            (Some(number), Purpose::InsteadOf(fault)) => {
                let (reason, masked) = (class(fault), Some(fault));
                self.must(
                    caller,
                    Must::Cached {
                        number,
                        reason,
                        masked,
                    },
                );
            }
            (Some(number), Purpose::Circuit) => {
                if self.circuit(caller) == Circuit::Probe {
                    self.probe(caller);
                }
                let (reason, masked) = (Reason::CircuitOpen, None);
                self.must(
                    caller,
                    Must::Cached {
                        number,
                        reason,
                        masked,
                    },
                );
            }
            (None, Purpose::Circuit) => self.goes_out_or_fails(caller),
            (Some(number), _) => {
                let (reason, masked) = (Reason::FailoverTimeout, None);
                self.must(
                    caller,
                    Must::Cached {
                        number,
                        reason,
                        masked,
                    },
                );
            }
            (None, Purpose::InsteadOf(fault)) => self.must(caller, Must::Error(fault)),
            (None, _) => {
                if let Phase::Waits(waits) = &mut self.calls[caller].phase {
                    (waits.since, waits.patience) = (self.now, None);
                }
            }
        }
    }

    /// What `caller` reads the store for.
    fn purpose(&self, caller: Caller) -> Result<Purpose, Violation> {
        let needless = || Violation::new("70", format!("call {caller} reads the store for no reason"));
        let waits = match self.calls[caller].phase {
            Phase::Looks => return Ok(Purpose::First),
            Phase::Checks => return Ok(Purpose::Circuit),
            Phase::Must(_) if self.looks_twice(caller) && self.calls[caller].looks == 1 => {
                return Ok(Purpose::First);
            }
            Phase::Waits(waits) if self.mode(caller) != Mode::Reload => waits,
            _ => return Err(needless()),
        };
        match self.due(caller, waits) {
            Some(Due::Landed) => match self.means(waits.flight, caller) {
                Err(fault) if self.masks(caller, fault) => Ok(Purpose::InsteadOf(fault)),
                _ => Err(needless()),
            },
            Some(Due::Patience) => Ok(Purpose::Patience),
            Some(Due::Limit) if self.flights[waits.flight].kind != Kind::Plain => {
                Ok(Purpose::InsteadOf(Fault::Timeout))
            }
            _ => Err(needless()),
        }
    }
}
