//! The task of a flight: sends the request, commits the reply, tells all who wait, and frees its place whatever happens.

use std::{
    future::Future,
    sync::{Arc, atomic::Ordering},
};

use bytes::Bytes;
use tokio::{sync::OwnedSemaphorePermit, time::Instant};

use super::{Active, Flight, Flights, HARVEST, Landing, Mission};
use crate::{
    breaker::Ending,
    directives::Directives,
    entry::{Entry, Marks},
    error::{CallError, Delivery},
    invalidate::Verdict,
    message::Request,
    store::Put,
    sync::sleep_until,
    wire,
};

/// The task's own end of a flight. Whatever ends the task, dropping this frees the flight's place and tells all who
/// still wait.
pub(super) struct Seat {
    pub(super) flights: Arc<Flights>,
    pub(super) flight: Arc<Flight>,
    pub(super) mission: Mission,
    /// The place among the refreshes or the probes, if it is one.
    pub(super) _place: Option<OwnedSemaphorePermit>,
}

impl Seat {
    #[allow(
        clippy::manual_async_fn,
        reason = "an async function has room for its arguments twice"
    )]
    pub(super) fn fly(self, request: Request) -> impl Future<Output = ()> + Send {
        async move {
            if !self.flight.behind && self.retire() {
                return; // everybody left before anything was sent
            }
            let reply = tokio::select! {
                biased;
                reply = self.flights.transport.request(request) => reply,
                () = self.given_up() => {
                    match self.flights.abandoned.get() {
                        Some(()) => {}
                        None if self.flight.behind => {
                            self.note(None);
                            self.pause(true);
                        }
                        // Who left says nothing about the service, but its silence does.
                        None if self.outlasted_patience() => self.note(None),
                        None => self.measure(Ending::Silent),
                    }
                    return;
                }
            };
            let says = match &reply {
                Ok(response) if self.flight.listens => Directives::read(&response.headers),
                _ => Directives::default(),
            };
            let result = reply
                .map_err(|error| CallError::transport(self.mission.route.clone(), error))
                .and_then(|response| wire::result(&self.mission.route, response));
            self.note(Some(&result));
            match result {
                Ok(body) => {
                    self.remember(None, &says);
                    let (entry, decoded, stored) = self.commit(body, says).await;
                    self.pause(!decoded);
                    self.land(Ok((entry, stored)));
                }
                Err(error) => {
                    let (key, sent) = (&self.mission.key, self.flight.sent);
                    let is_definitive = self.mission.policy.is_definitive(&error);
                    if is_definitive {
                        // Nor may an older answer, still on its way, bring back what is no more.
                        self.flights.epochs.raise_error(key, sent);
                        if !says.no_store {
                            self.remember(Some(&error), &says);
                        }
                    }
                    self.pause(true);
                    self.land(Err(error));
                    if is_definitive {
                        self.flights.shelf.evict(key, sent).await;
                    }
                }
            }
        }
    }

    /// Remembers for the breaker how it went; `None`: there was silence to the end.
    fn note(&self, result: Option<&Result<Bytes, CallError>>) {
        let ending = match result {
            Some(Ok(_)) => Ending::Answered,
            None => Ending::Silent,
            Some(Err(error)) if error.is_unavailable() => Ending::Silent,
            Some(Err(error)) if error.delivery() == Delivery::Answered => Ending::Answered,
            Some(Err(_)) => return, // never sent: that says nothing about the service
        };
        self.measure(ending);
        let was_slow = self.flight.slow.swap(true, Ordering::Relaxed);
        let ending = match ending {
            Ending::Silent if was_slow => return, // counted already
            Ending::Answered if was_slow => Ending::AnsweredLate,
            ending => ending,
        };
        self.flights
            .note(&self.mission.route, self.mission.policy.as_ref(), ending);
    }

    /// Whether there was no answer for as long as the policy waits for one.
    fn outlasted_patience(&self) -> bool {
        let policy = self.mission.policy.as_ref();
        let limits = [policy.failover_timeout(), policy.call_timeout()];
        let patience = limits
            .into_iter()
            .flatten()
            .filter(|limit| !limit.is_zero())
            .min();
        patience.is_some_and(|patience| self.flight.started.elapsed() >= patience)
    }

    /// Remembers how long it took. What is lost counts as the longest that anybody would have waited.
    fn measure(&self, ending: Ending) {
        if self.mission.policy.adaptive().is_none() {
            return;
        }
        let (flights, sent) = (&self.flights, self.flight.sent.moment());
        let latency = match ending {
            Ending::Silent => self.mission.limit.unwrap_or(HARVEST),
            Ending::Answered | Ending::AnsweredLate => flights.clock.now_exact().since(sent),
        };
        flights.latencies.note(self.mission.route.method(), latency);
    }

    /// Remembers an answer that says there is no such thing, or that there is.
    fn remember(&self, negative: Option<&CallError>, says: &Directives) {
        if let Some(life) = self.mission.policy.negative_for() {
            let (flights, key) = (&self.flights, &self.mission.key);
            let (marks, now) = (marks(&self.flight, says), flights.clock.now_exact());
            flights
                .negatives
                .note(key, negative, marks.sent, &marks.tags, life, now);
        }
    }

    /// Lets the next refresh of this key wait, if this one failed.
    fn pause(&self, failed: bool) {
        let (flights, key) = (&self.flights, &self.mission.key);
        if !failed {
            flights.backoffs.forget(key);
        } else if self.flight.behind {
            flights.backoffs.note(key, flights.clock.now_exact());
        }
    }

    /// Stores the reply, unless its service says not to, its kind was invalidated after it was asked for, or a newer one
    /// is there. Those who wait get it in any case. Says whether it could be decoded, and whether it is stored.
    async fn commit(&self, body: Bytes, says: Directives) -> (Entry, bool, bool) {
        let (flights, key) = (&self.flights, &self.mission.key);
        let marks = marks(&self.flight, &says);
        let Some(entry) = (self.mission.decode)(&self.mission.route, marks.clone(), &body) else {
            // Not stored, lest it replace a good one; those who joined may want another type and decode their own.
            return (Entry::undecoded(marks, body), false, false);
        };
        let untouched = || {
            flights
                .epochs
                .judge(entry.sent(), key, &self.mission.route, entry.tags())
                == Verdict::Untouched
                && !flights.epochs.may_be_denied(entry.sent())
        };
        let stored =
            !says.no_store && untouched() && flights.shelf.put(key, entry.clone()).await == Some(Put::Stored);
        if stored && !untouched() {
            flights.shelf.remove(key, Some(&entry)).await;
            return (entry, true, false);
        }
        (entry, true, stored)
    }

    /// Pending while somebody waits, and for as long after that as the reply is worth harvesting.
    async fn given_up(&self) {
        let (flights, flight) = (&self.flights, &self.flight);
        loop {
            let mut harvest = None;
            if !self.flight.behind {
                while !flight.is_deserted() {
                    flight.left.notified().await;
                }
                harvest = flights.detached.try_acquire().ok();
                if harvest.is_none() {
                    flights.forgotten.fetch_add(1, Ordering::Relaxed);
                }
            }
            if harvest.is_some() || self.flight.behind {
                let ends = self
                    .mission
                    .limit
                    .and_then(|limit| flight.started.checked_add(limit));
                let ends = ends.unwrap_or_else(|| Instant::now() + HARVEST);
                tokio::select! {
                    () = sleep_until(ends) => {}
                    _ = flights.abandoned.wait() => {}
                }
            }
            if self.retire() {
                return;
            }
            // Somebody joined late: their own limit holds, so wait for them to leave.
            while !flight.is_deserted() {
                flight.left.notified().await;
            }
        }
    }

    /// Frees the place if nobody waits, so that nobody can join any more. Says whether it did.
    fn retire(&self) -> bool {
        let mut active = self.flights.active();
        if !self.flight.is_deserted() {
            return false;
        }
        self.free(&mut active);
        true
    }

    /// Frees the place first: who calls again after an error must not be told the same error.
    fn land(&self, landing: Landing) {
        self.free(&mut self.flights.active());
        // Refused if it landed before, as it should have when this comes from the drop below.
        let _ = self.flight.landing.set(landing);
    }

    /// By identity: a flight that was superseded must not free its successor's place.
    fn free(&self, active: &mut Active) {
        if active
            .get(&self.mission.key)
            .is_some_and(|flight| Arc::ptr_eq(flight, &self.flight))
        {
            active.remove(&self.mission.key);
        }
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let reason = if std::thread::panicking() {
            if self.flight.landing.get().is_none() {
                self.pause(true);
            }
            "it panicked"
        } else {
            "it was shut down"
        };
        self.land(Err(CallError::Aborted {
            route: self.mission.route.clone(),
            reason,
        }));
    }
}

/// What is known of a reply: by those who asked for it, and by its service's own word.
fn marks(flight: &Flight, says: &Directives) -> Marks {
    let mut marks = Marks::new(flight.sent, flight.tags.clone());
    if let Some(life) = says.fresh_for {
        marks = marks.fresh_for(life);
    }
    if !says.tags.is_empty() {
        let asked = flight.tags.iter().flat_map(|tags| tags.iter());
        marks.tags = Some(asked.chain(&says.tags).cloned().collect());
    }
    marks
}
