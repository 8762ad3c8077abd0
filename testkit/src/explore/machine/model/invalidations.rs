//! Invalidation that always wins: what was asked for before it is no answer after it.

use super::{
    super::{
        log::{Asked, Brought, Caller, Fault, Number},
        schedule::Reach,
    },
    Model, Verdict, ensure,
    flights::{Flight, Kind},
};

/// One invalidation, and its place among all events.
#[derive(Debug, Clone, Copy)]
pub(super) struct Barrier {
    reach: Reach,
    softly: bool,
    /// What was asked for before this place among all events is reached.
    order: usize,
    /// When it was known.
    raised: usize,
}

/// What invalidations leave of what was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Verdicts {
    Untouched,
    /// No longer fresh.
    Expired,
    /// No answer any more.
    Gone,
}

impl Model<'_> {
    pub(super) fn invalidated(&mut self, reach: Reach, softly: bool) {
        let order = self.order;
        self.barriers.push(Barrier {
            reach,
            softly,
            order,
            raised: order,
        });
    }

    /// A service said that there is no such record: no older answer, still on its way, brings it back.
    pub(super) fn is_no_more(&mut self, flight: usize) {
        let Flight {
            proxy, asked, order, ..
        } = self.flights[flight];
        let reach = Reach::Call {
            proxy,
            method: asked.method,
            key: asked.key,
            user: asked.user,
        };
        self.barriers.push(Barrier {
            reach,
            softly: false,
            order,
            raised: self.order,
        });
    }

    /// What is left of the answer to a request.
    pub(super) fn verdict(&self, flight: &Flight) -> Verdicts {
        let reached = self
            .barriers
            .iter()
            .filter(|barrier| barrier.order > flight.order && self.reaches(barrier, flight));
        let verdicts = reached.map(|barrier| {
            if barrier.softly {
                Verdicts::Expired
            } else {
                Verdicts::Gone
            }
        });
        verdicts.max().unwrap_or(Verdicts::Untouched)
    }

    /// Whether the one tag was invalidated after a request was decided on.
    pub(super) fn is_tag_touched(&self, flight: &Flight) -> bool {
        let touches = |barrier: &Barrier| barrier.order > flight.order && barrier.reach == Reach::Tag;
        self.barriers.iter().any(touches)
    }

    pub(super) fn verdict_of(&self, number: Number) -> Verdicts {
        let index = self.numbers.get(&number);
        index.map_or(Verdicts::Gone, |index| self.verdict(&self.flights[*index]))
    }

    fn reaches(&self, barrier: &Barrier, flight: &Flight) -> bool {
        let Asked {
            service,
            method,
            key,
            user,
            ..
        } = flight.asked;
        let options = self.calling(flight.launcher).options.as_ref();
        match barrier.reach {
            Reach::Everything => true,
            Reach::Service(reached) => reached == service,
            Reach::Method(of, reached) => (of, reached) == (service, method),
            Reach::Tag => flight.says.tagged || options.is_some_and(|asking| asking.tagged),
            Reach::Call {
                proxy,
                method: reached,
                key: one,
                user: whose,
            } => (self.schedule.proxies[proxy].service, reached, one, whose) == (service, method, key, user),
        }
    }

    /// A caller of a method that changes something has ended or left: the change may have happened.
    pub(super) fn changed(&mut self, caller: Caller) {
        let (proxy, calling) = (self.proxy(caller), self.calling(caller));
        if !proxy.setter || calling.method != "set" {
            return;
        }
        let may_have = |flight: &Flight| {
            let not_sent = [
                Fault::UnknownService,
                Fault::NotConnected,
                Fault::Blocked,
                Fault::DisconnectedBefore,
            ];
            let is_own = flight.kind == Kind::Plain && flight.launcher == caller && flight.sent.is_some();
            is_own
                && !not_sent
                    .iter()
                    .any(|fault| flight.brought == Some(Brought::Error(*fault)))
        };
        if self.flights.iter().any(may_have) {
            self.invalidated(Reach::Method(proxy.service, "get"), false);
        }
    }

    /// Whatever else is right, an answer from before an invalidation is not one for a caller who came after it.
    pub(super) fn is_not_outdated(&self, caller: Caller, began: usize, number: Number) -> Verdict {
        let Some(flight) = self.numbers.get(&number).map(|index| &self.flights[*index]) else {
            return Ok(());
        };
        let wins = |barrier: &&Barrier| {
            !barrier.softly
                && barrier.raised < began
                && barrier.order > flight.order
                && self.reaches(barrier, flight)
        };
        let barrier = self.barriers.iter().find(wins);
        ensure(barrier.is_none(), "E10", || {
            format!(
                "call {caller} began after {barrier:?}, and gets the answer to request #{number} from before it"
            )
        })
    }
}
