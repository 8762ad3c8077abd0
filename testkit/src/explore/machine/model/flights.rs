//! Requests: who may share one, how long it goes on, what it must leave behind.

use std::collections::BTreeSet;

use super::{
    super::{
        log::{Asked, Brought, Caller, Fault, Number},
        schedule::{FOREVER, Ms},
    },
    Model, Next, Verdict, ensure,
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
    /// `caller` asks the service: it joins a flight or starts one.
    pub(super) fn fetch(&mut self, caller: Caller) -> usize {
        let (proxy, asked) = (self.calling(caller).proxy, self.asked(caller));
        let shares = self.policy(caller).single_flight;
        if let Some(index) = shares.then(|| self.joinable(proxy, asked, |_| true)).flatten() {
            let flight = &mut self.flights[index];
            flight.is_uncertain |=
                flight.sent.is_none() && flight.waiters.is_empty() && flight.kind == Kind::Fetch;
            flight.waiters.insert(caller);
            return index;
        }
        self.launch(caller, Kind::Fetch)
    }

    /// `caller` is answered with a stale entry: behind it a flight must be under way, unless one failed just now.
    pub(super) fn refresh(&mut self, caller: Caller, probes: bool) {
        let (proxy, asked) = (self.calling(caller).proxy, self.asked(caller));
        let shares = self.policy(caller).single_flight;
        let is_paused = self
            .pauses
            .get(&(proxy, asked))
            .is_some_and(|(until, _)| self.now < *until);
        if (probes || !is_paused)
            && self
                .joinable(proxy, asked, |kind| shares || kind == Kind::Refresh)
                .is_none()
        {
            self.launch(caller, Kind::Refresh);
        }
    }

    pub(super) fn launch(&mut self, caller: Caller, kind: Kind) -> usize {
        let (calling, limit) = (self.calling(caller), self.useful_for(caller));
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

    fn joinable(&self, proxy: usize, asked: Asked, kind: impl Fn(Kind) -> bool) -> Option<usize> {
        self.flights.iter().rposition(|flight| {
            flight.kind != Kind::Plain
                && kind(flight.kind)
                && flight.proxy == proxy
                && flight.asked == asked
                && flight.is_under_way()
                && self.verdict(flight) == Verdicts::Untouched
                && self.now - flight.launched < flight.limit.unwrap_or(FOREVER).min(JOIN_WINDOW)
        })
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

    pub(super) fn brought(&mut self, number: Number, what: &Brought) -> Verdict {
        let index = self.numbered(number)?;
        let (now, typed) = (self.now, !self.is_untyped(self.flights[index].launcher));
        let flight = &mut self.flights[index];
        flight.brought = Some(what.clone());
        if flight.kind == Kind::Plain {
            flight.landed = Some(now);
            return self.plain_landed(index);
        }
        let is_touched = self.verdict(&self.flights[index]) != Verdicts::Untouched;
        self.remember(index, what);
        self.note_brought(index, what);
        let policy = self.policy(self.flights[index].launcher);
        let flight = &mut self.flights[index];
        match what {
            Brought::Error(fault) if policy.is_definitive(*fault) => {
                self.next = Some(Next::EvictionReads(number));
                return Ok(());
            }
            Brought::Error(_) => {}
            Brought::Odd if typed => {}
            _ if is_touched => {}
            Brought::Good | Brought::Odd => self.next = Some(Next::Put(number)),
        }
        flight.landed = Some(now);
        ensure(
            *what != Brought::Good || !self.gave_in.contains(&(index, now)),
            "E2",
            || {
                format!(
                    "request #{number} is answered in the very moment in which a caller's limit ends, and the limit won"
                )
            },
        )
    }

    /// A refresh that fails has a pause after it: 1 s, then 2, 4, .. up to 30 s, until an answer comes.
    fn remember(&mut self, index: usize, what: &Brought) {
        let flight = &self.flights[index];
        let pause = (flight.proxy, flight.asked);
        match what {
            Brought::Good | Brought::Odd => _ = self.pauses.remove(&pause),
            Brought::Error(Fault::Aborted) => {} // a panic remembers nothing
            Brought::Error(_) if flight.kind == Kind::Refresh => {
                let length = self
                    .pauses
                    .get(&pause)
                    .map_or(1000, |(_, length)| (length * 2).min(30_000));
                self.pauses.insert(pause, (self.now + length, length));
            }
            Brought::Error(_) => {}
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
        Ok(())
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
