//! Requests: who may share one, how long it goes on, what it must leave behind.

use std::collections::BTreeSet;

use super::{
    super::{
        log::{Asked, Brought, Caller, Fault, Number},
        schedule::{FOREVER, Mode, Ms, Says},
    },
    Model, Next, Verdict,
    breaker::Circuit,
    ensure,
    invalidations::Verdicts,
    violation,
};

/// A request that was decided on.
#[derive(Debug)]
pub(super) struct Flight {
    pub(super) kind: Kind,
    pub(super) proxy: usize,
    pub(super) asked: Asked,
    pub(super) launcher: Caller,
    /// A joiner that may be the launcher instead: everybody had left before the request went out.
    pub(super) is_uncertain: bool,
    pub(super) launched: Ms,
    /// Its place among all events.
    pub(super) order: usize,
    pub(super) sent: Option<(Number, Ms)>,
    /// How long its reply is of use.
    limit: Option<Ms>,
    pub(super) waiters: BTreeSet<Caller>,
    /// When its waiters had all left, first and last.
    deserted: Option<(Ms, Ms)>,
    pub(super) brought: Option<Brought>,
    /// When its waiters are told.
    pub(super) landed: Option<Ms>,
    is_given_up: bool,
    pub(super) is_stored: bool,
    /// Whether it was counted as a failure for being slow.
    pub(super) is_slow: bool,
    /// Whether its reply is listened to, and what that said.
    pub(super) listens: bool,
    pub(super) says: Says,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Past the cache: it lives and dies with its caller.
    Plain,
    Fetch,
    Refresh,
}

/// A flight older than this is not joined; nor one that the broker may have dropped, since its reply is of no use.
const JOIN_WINDOW: Ms = 10_000;
/// How long a reply is awaited when everybody has left, if the policy sets no limit.
const HARVEST: Ms = 60_000;
/// How long a refresh takes at most, if the policy sets no limit.
const REFRESH: Ms = 30_000;

impl Flight {
    pub(super) fn number(&self) -> Number {
        self.sent.map_or(0, |(number, _)| number)
    }

    pub(super) fn is_under_way(&self) -> bool {
        self.landed.is_none() && !self.is_given_up
    }

    /// When it may be given up, and when it must be, if nobody waits any more.
    fn ends(&self) -> Option<(Ms, Ms)> {
        let (first, last) = match (self.kind, self.deserted) {
            _ if !self.waiters.is_empty() || !self.is_under_way() || self.brought.is_some() => return None,
            (Kind::Plain, _) => return None,
            (Kind::Refresh, deserted) => deserted.unwrap_or((self.launched, self.launched)),
            (Kind::Fetch, deserted) => deserted?,
        };
        Some(match (self.kind, self.limit) {
            (Kind::Refresh, limit) => {
                let end = self.launched + limit.unwrap_or(REFRESH);
                (end, end.max(last))
            }
            (_, Some(limit)) => (self.launched + limit, (self.launched + limit).max(last)),
            (_, None) => (first + HARVEST, last + HARVEST),
        })
    }
}

impl Model<'_> {
    /// `caller` asks the service: it joins a flight or starts one. Who is to look again starts one.
    pub(super) fn fetch(&mut self, caller: Caller, circuit: Circuit) -> usize {
        let shares = self.policy(caller).single_flight;
        let joins = shares && self.mode(caller) != Mode::Reload && circuit != Circuit::Probe;
        if let Some(index) = self
            .in_place(caller)
            .filter(|index| joins && self.is_joinable(*index))
        {
            let flight = &mut self.flights[index];
            flight.is_uncertain |=
                flight.sent.is_none() && flight.waiters.is_empty() && flight.kind == Kind::Fetch;
            flight.waiters.insert(caller);
            return index;
        }
        let index = self.launch(caller, Kind::Fetch);
        if shares {
            self.take_place(index);
        }
        index
    }

    /// `caller` is answered with a stale entry: behind it a flight must be under way, unless one failed just now.
    pub(super) fn refresh(&mut self, caller: Caller) {
        let pause = (self.calling(caller).proxy, self.asked(caller));
        let is_paused = self
            .pauses
            .get(&pause)
            .is_some_and(|(until, _)| self.now < *until);
        let is_under_way = |index: usize| {
            let is_one_behind = self.flights[index].kind == Kind::Refresh && self.is_untouched(index);
            self.is_joinable(index) || is_one_behind
        };
        if !is_paused && !self.in_place(caller).is_some_and(is_under_way) {
            self.probe(caller);
        }
    }

    /// Behind `caller`'s cached answer a request goes out in any case.
    pub(super) fn probe(&mut self, caller: Caller) {
        let index = self.launch(caller, Kind::Refresh);
        self.take_place(index);
    }

    /// The flight under way that may be joined by calls like `caller`'s.
    fn in_place(&self, caller: Caller) -> Option<usize> {
        let place = (self.calling(caller).proxy, self.asked(caller));
        let index = self.places.get(&place).copied();
        index.filter(|index| self.flights[*index].is_under_way())
    }

    fn take_place(&mut self, index: usize) {
        let flight = &self.flights[index];
        self.places.insert((flight.proxy, flight.asked), index);
    }

    /// A reply that hasn't come yet may turn out to have a tag.
    fn is_untouched(&self, index: usize) -> bool {
        let flight = &self.flights[index];
        self.verdict(flight) == Verdicts::Untouched && !(flight.listens && self.is_tag_touched(flight))
    }

    fn is_joinable(&self, index: usize) -> bool {
        let flight = &self.flights[index];
        let window = flight.limit.unwrap_or(FOREVER).min(JOIN_WINDOW);
        self.is_untouched(index) && self.now - flight.launched < window
    }

    pub(super) fn launch(&mut self, caller: Caller, kind: Kind) -> usize {
        let (calling, useful) = (self.calling(caller), self.useful_for(caller));
        let limit = if kind == Kind::Refresh {
            useful.or(Some(REFRESH))
        } else {
            useful
        };
        self.flights.push(Flight {
            kind,
            proxy: calling.proxy,
            asked: self.asked(caller),
            launcher: caller,
            is_uncertain: false,
            launched: self.now,
            order: self.order,
            sent: None,
            limit,
            waiters: if kind == Kind::Refresh {
                BTreeSet::new()
            } else {
                BTreeSet::from([caller])
            },
            deserted: None,
            brought: None,
            landed: None,
            is_given_up: false,
            is_stored: false,
            is_slow: false,
            listens: self.policy(caller).listens,
            says: Says::default(),
        });
        self.flights.len() - 1
    }

    /// How long an answer to `caller` is of use to anybody.
    fn useful_for(&self, caller: Caller) -> Option<Ms> {
        let policy = self.policy(caller).call_timeout?;
        let own = self
            .calling(caller)
            .options
            .as_ref()
            .and_then(|asking| asking.timeout);
        own.map_or(Some(policy), |own| own.map(|own| own.max(policy)))
    }

    pub(super) fn sent(&mut self, number: Number, asked: Asked, caller: Option<Caller>) -> Verdict {
        let tagged = |caller: Caller| self.calling(caller).options.is_some();
        let index = self.flights.iter().position(|flight| {
            let is_launchers = match caller {
                Some(caller) => {
                    flight.launcher == caller || flight.is_uncertain && flight.waiters.contains(&caller)
                }
                None => !tagged(flight.launcher) || flight.is_uncertain,
            };
            let is_wanted = !flight.waiters.is_empty() || flight.kind == Kind::Refresh;
            flight.sent.is_none() && !flight.is_given_up && flight.asked == asked && is_launchers && is_wanted
        });
        let Some(index) = index else {
            return violation(
                "E4/E6",
                format!("request #{number} goes out, and nobody needs it"),
            );
        };
        // Everybody had left before the request of the first was sent: so whose is it?
        let flight = &self.flights[index];
        let other = flight
            .waiters
            .iter()
            .find(|waiter| !tagged(**waiter))
            .filter(|_| tagged(flight.launcher));
        let launcher = caller.or(other.copied());
        let limit = launcher.map_or(flight.limit, |launcher| self.useful_for(launcher));
        let flight = &mut self.flights[index];
        flight.sent = Some((number, self.now));
        if let Some(launcher) = launcher {
            (flight.launcher, flight.limit, flight.is_uncertain) = (launcher, limit, false);
        }
        self.numbers.insert(number, index);
        Ok(())
    }

    pub(super) fn brought(&mut self, number: Number, what: &Brought, says: Says) -> Verdict {
        let index = self.numbered(number)?;
        let (now, typed) = (self.now, !self.is_untyped(self.flights[index].launcher));
        let flight = &mut self.flights[index];
        flight.brought = Some(what.clone());
        if flight.listens {
            flight.says = says;
        }
        if flight.kind == Kind::Plain {
            flight.landed = Some(now);
            return self.plain_landed(index);
        }
        let is_touched = self.verdict(&self.flights[index]) != Verdicts::Untouched;
        self.remember(index, Some(what));
        self.note_end(index, Some(what));
        let policy = self.policy(self.flights[index].launcher);
        let flight = &mut self.flights[index];
        match what {
            Brought::Error(fault) if policy.is_definitive(*fault) => {
                flight.landed = Some(now);
                self.next = Some(Next::EvictionReads(number));
                self.is_no_more(index);
                return Ok(());
            }
            Brought::Error(_) => {}
            Brought::Odd if typed => {}
            _ if is_touched || flight.says.no_store => {}
            Brought::Good | Brought::Odd => self.next = Some(Next::Put(number)),
        }
        flight.landed = Some(now);
        ensure(
            *what != Brought::Good || !self.gave_in.contains(&(index, now)) || self.jumped_to(now),
            "E2",
            || {
                format!(
                    "request #{number} is answered in the very moment in which a caller's limit ends, and the limit won"
                )
            },
        )
    }

    /// A refresh that fails has a pause after it: 1 s, then 2, 4, .. up to 30 s, until an answer comes.
    fn remember(&mut self, index: usize, what: Option<&Brought>) {
        let flight = &self.flights[index];
        let pause = (flight.proxy, flight.asked);
        let is_good = match what {
            Some(Brought::Good) => true,
            Some(Brought::Odd) => self.is_untyped(flight.launcher),
            Some(Brought::Error(_)) | None => false,
        };
        if is_good {
            self.pauses.remove(&pause);
        } else if flight.kind == Kind::Refresh {
            let length = self
                .pauses
                .get(&pause)
                .map_or(1000, |(_, length)| (length * 2).min(30_000));
            self.pauses.insert(pause, (self.now + length, length));
        }
    }

    pub(super) fn given_up(&mut self, number: Number) -> Verdict {
        let index = self.numbered(number)?;
        let flight = &self.flights[index];
        if flight.kind == Kind::Plain {
            self.flights[index].is_given_up = true;
            return self.plain_given_up(index);
        }
        ensure(flight.waiters.is_empty(), "E8", || {
            format!(
                "request #{number} is given up while calls {:?} wait for it",
                flight.waiters
            )
        })?;
        let allowed = flight.ends().is_some_and(|(earliest, _)| self.now >= earliest);
        ensure(allowed, "E9", || {
            format!(
                "request #{number} is given up at {} ms, its reply would be of use",
                self.now
            )
        })?;
        self.flights[index].is_given_up = true;
        if self.flights[index].kind == Kind::Refresh {
            self.remember(index, None);
            self.note_end(index, None);
        } else if self.outlasted_patience(index) {
            self.note_end(index, None);
        }
        Ok(())
    }

    /// Whether there was no answer for as long as the policy waits for one, if it waits at all.
    fn outlasted_patience(&self, index: usize) -> bool {
        let flight = &self.flights[index];
        let policy = self.policy(flight.launcher);
        let limits = [policy.failover_timeout, policy.call_timeout];
        let patience = limits.into_iter().flatten().filter(|limit| *limit > 0).min();
        patience.is_some_and(|patience| self.now - flight.launched >= patience)
    }

    /// `caller` waits no more for its flight.
    pub(super) fn leave(&mut self, caller: Caller) {
        let now = self.now;
        for flight in self
            .flights
            .iter_mut()
            .filter(|flight| flight.waiters.contains(&caller))
        {
            flight.waiters.remove(&caller);
            if flight.waiters.is_empty() {
                let first = flight.deserted.map_or(now, |(first, _)| first);
                flight.deserted = Some((first, now));
            }
        }
    }

    /// Time goes on to `next`: no request may be overdue.
    pub(super) fn flights_overdue(&mut self, next: Ms) -> Verdict {
        for flight in self.flights.iter_mut() {
            if flight.sent.is_none() && !flight.is_given_up {
                ensure(
                    flight.waiters.is_empty() && flight.kind != Kind::Refresh,
                    "E7",
                    || {
                        format!(
                            "call {} needs the service, and no request goes out",
                            flight.launcher
                        )
                    },
                )?;
                flight.is_given_up = true; // its callers left before it was sent
            }
            let is_due = flight.ends().is_some_and(|(_, latest)| latest < next);
            ensure(!is_due, "E8", || {
                format!("request #{} goes on, and nobody waits for it", flight.number())
            })?;
        }
        Ok(())
    }

    pub(super) fn is_untyped(&self, caller: Caller) -> bool {
        self.calling(caller)
            .options
            .as_ref()
            .is_some_and(|asking| asking.untyped)
    }

    /// What a flight means to `caller`: its answer's request, or an error.
    pub(super) fn means(&self, index: usize, caller: Caller) -> Result<Number, Fault> {
        let flight = &self.flights[index];
        match &flight.brought {
            Some(Brought::Good) => Ok(flight.number()),
            Some(Brought::Odd) if self.is_untyped(caller) => Ok(flight.number()),
            Some(Brought::Odd) => Err(Fault::Decode),
            Some(Brought::Error(fault)) => Err(*fault),
            None => Err(Fault::Other),
        }
    }
}
