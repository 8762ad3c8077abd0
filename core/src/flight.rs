//! Requests under way: owned by a task of their own, shared by those who wait, harvested when nobody does.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use tokio::{
    sync::{Notify, OwnedSemaphorePermit, Semaphore, SetOnce},
    time::{Instant, sleep_until},
};
use tracing::Instrument as _;

use crate::{
    backoff::Backoffs,
    breaker::{Circuit, Circuits, Ending},
    clock::Clock,
    entry::{Entry, Sent, Tags},
    error::{CallError, Delivery},
    invalidate::{Epochs, Force, Verdict},
    key::Key,
    message::Request,
    policy::Policy,
    route::Route,
    store::{Put, Shelf},
    transport::Transport,
    wire,
};

/// A flight older than this is not joined: a hung request must not capture a key.
const JOIN_WINDOW: Duration = Duration::from_secs(10);

/// How long a reply is still awaited after everybody left, where the call has no limit of its own.
const HARVEST: Duration = Duration::from_secs(60);

/// How many flights that nobody waits for may go on; the surplus is forgotten.
const MAX_DETACHED: usize = 1024;

/// What a flight brought: a good reply, and whether the store has it.
pub(crate) type Landing = Result<(Entry, bool), CallError>;

/// Turns a result's text into an entry of the type that the first caller asked for, if it is one.
pub(crate) type Decode = fn(&Route, Sent, &Tags, &Bytes) -> Option<Entry>;

/// What a flight is for.
pub(crate) struct Mission {
    pub(crate) key: Key,
    pub(crate) tags: Tags,
    pub(crate) policy: Arc<dyn Policy>,
    pub(crate) decode: Decode,
    /// How long the reply is of use to anybody.
    pub(crate) limit: Option<Duration>,
    /// Whether the answer to a request that was made earlier will do.
    pub(crate) joins: bool,
}

/// All flights of one proxy.
pub(crate) struct Flights {
    transport: Arc<dyn Transport>,
    clock: Clock,
    shelf: Arc<Shelf>,
    epochs: Arc<Epochs>,
    circuits: Circuits,
    backoffs: Backoffs,
    /// Those that may be joined.
    active: Mutex<HashMap<Key, Arc<Flight>>>,
    detached: Semaphore,
    forgotten: AtomicU64,
    /// Set when the proxy is gone. (It wakes in order; a `watch` would not, and no two runs of a test would be alike.)
    abandoned: SetOnce<()>,
}

/// One request and what it brings.
struct Flight {
    landing: SetOnce<Landing>,
    waiting: AtomicUsize,
    /// Told whenever somebody stops waiting.
    left: Notify,
    started: Instant,
    /// Afterwards it may hang, or the broker may have dropped its request.
    joinable_for: Duration,
    /// Whether it was started for the cache, and nobody has to wait for it.
    behind: bool,
    /// Its place among all requests and invalidations, taken before it is sent.
    sent: Sent,
    tags: Tags,
    /// Whether it was counted as a failure of the service already, for being slow.
    slow: AtomicBool,
}

/// A place among those who wait for a flight. Dropping it leaves; the flight goes on.
pub(crate) struct Ticket(Arc<Flight>);

impl Flights {
    pub(crate) fn new(
        transport: Arc<dyn Transport>,
        clock: Clock,
        shelf: Arc<Shelf>,
        epochs: Arc<Epochs>,
    ) -> Arc<Self> {
        Arc::new(Self {
            transport,
            clock,
            shelf,
            epochs,
            circuits: Circuits::default(),
            backoffs: Backoffs::default(),
            active: Mutex::default(),
            detached: Semaphore::new(MAX_DETACHED),
            forgotten: AtomicU64::new(0),
            abandoned: SetOnce::new(),
        })
    }

    /// Joins the flight of the same key if there is one to join, else starts one: a task of its own that sends the
    /// request, stores the reply, and tells all who wait. Says whether it joined.
    pub(crate) fn join(self: &Arc<Self>, mission: Mission, request: Request) -> (Ticket, bool) {
        let share = mission.policy.single_flight();
        let mut active = self.active();
        if share
            && mission.joins
            && let Some(flight) = active.get(&mission.key)
            && self.may_join(flight, &mission.key, &request.route)
        {
            return (Ticket::of(flight), true);
        }
        let flight = Flight::new(self.clock, &mission, &request, false);
        let ticket = Ticket::of(&flight);
        if share {
            active.insert(mission.key.clone(), Arc::clone(&flight));
        }
        drop(active);
        self.launch(flight, mission, request, None);
        (ticket, false)
    }

    /// Starts a flight that nobody waits for, unless one for the same key is under way, or failed just now. It holds
    /// `place` until it ends.
    pub(crate) fn refresh(self: &Arc<Self>, mission: Mission, request: Request, place: OwnedSemaphorePermit) {
        let mut active = self.active();
        let is_under_way = |flight: &Arc<Flight>| {
            self.may_join(flight, &mission.key, &request.route)
                || flight.behind && self.judge(flight, &mission.key, &request.route) == Verdict::Untouched
        };
        if active.get(&mission.key).is_some_and(is_under_way)
            || self.backoffs.hold(&mission.key, self.clock.now_exact())
        {
            return;
        }
        let flight = Flight::new(self.clock, &mission, &request, true);
        active.insert(mission.key.clone(), Arc::clone(&flight));
        drop(active);
        self.launch(flight, mission, request, Some(place));
    }

    /// Starts a flight that nobody waits for, to see whether the service is alive.
    pub(crate) fn probe(self: &Arc<Self>, mission: Mission, request: Request) {
        let flight = Flight::new(self.clock, &mission, &request, true);
        self.active().insert(mission.key.clone(), Arc::clone(&flight));
        self.launch(flight, mission, request, None);
    }

    /// Not if it may be lost, and not if its answer was invalidated before it came.
    fn may_join(&self, flight: &Flight, key: &Key, route: &Route) -> bool {
        flight.started.elapsed() < flight.joinable_for && self.judge(flight, key, route) == Verdict::Untouched
    }

    fn judge(&self, flight: &Flight, key: &Key, route: &Route) -> Verdict {
        self.epochs.judge(
            flight.sent,
            key,
            route,
            flight.tags.as_deref().unwrap_or_default(),
        )
    }

    fn launch(
        self: &Arc<Self>,
        flight: Arc<Flight>,
        mission: Mission,
        request: Request,
        place: Option<OwnedSemaphorePermit>,
    ) {
        let route = request.route.clone();
        let seat = Seat {
            flights: Arc::clone(self),
            flight,
            mission,
            route,
            _place: place,
        };
        tokio::spawn(seat.fly(request).in_current_span());
    }

    /// Whether the service is taken for dead.
    pub(crate) fn circuit(&self, route: &Route, policy: &dyn Policy) -> Circuit {
        match policy.breaker() {
            None => Circuit::Closed,
            Some(_) => self.circuits.ask(route.method(), self.clock.now_exact()),
        }
    }

    /// Notes that a request got no answer for as long as the policy has patience.
    pub(crate) fn note_slow(&self, ticket: &Ticket, route: &Route, policy: &dyn Policy) {
        if !ticket.0.slow.swap(true, Ordering::Relaxed) {
            self.note(route, policy, Ending::Silent);
        }
    }

    fn note(&self, route: &Route, policy: &dyn Policy, ending: Ending) {
        if let Some(settings) = policy.breaker() {
            self.circuits
                .note(route.method(), settings, self.clock.now_exact(), ending);
        }
    }

    /// Ends all flights that nobody waits for: their proxy is gone.
    pub(crate) fn abandon(&self) {
        // Refused if it was done before.
        let _ = self.abandoned.set(());
    }

    /// How many flights were given up because nobody waited and too many others went on.
    pub(crate) fn forgotten(&self) -> u64 {
        self.forgotten.load(Ordering::Relaxed)
    }

    fn active(&self) -> MutexGuard<'_, HashMap<Key, Arc<Flight>>> {
        // No code that could panic runs under this lock but the map's own; it is whole after a panic elsewhere.
        self.active.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Ticket {
    fn of(flight: &Arc<Flight>) -> Self {
        flight.waiting.fetch_add(1, Ordering::AcqRel);
        Self(Arc::clone(flight))
    }

    /// When the request was made, by whomever.
    pub(crate) fn started(&self) -> Instant {
        self.0.started
    }

    /// What the flight brings; pending until it does.
    pub(crate) async fn landing(&self) -> &Landing {
        self.0.landing.wait().await
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::AcqRel);
        self.0.left.notify_one();
    }
}

/// The task's own end of a flight. Whatever ends the task, dropping this frees the flight's place and tells all who
/// still wait.
struct Seat {
    flights: Arc<Flights>,
    flight: Arc<Flight>,
    mission: Mission,
    route: Route,
    /// The place among the refreshes, if it is one.
    _place: Option<OwnedSemaphorePermit>,
}

impl Seat {
    async fn fly(self, request: Request) {
        if !self.flight.behind && self.retire() {
            return; // everybody left before anything was sent
        }
        let reply = tokio::select! {
            biased;
            reply = self.flights.transport.request(request) => reply,
            () = self.given_up() => {
                if self.flight.behind && self.flights.abandoned.get().is_none() {
                    self.note(None);
                    self.pause(true);
                }
                return;
            }
        };
        let result = reply
            .map_err(|error| CallError::transport(self.route.clone(), error))
            .and_then(|response| wire::result(&self.route, response));
        self.note(Some(&result));
        match result {
            Ok(body) => {
                let (entry, decoded, stored) = self.commit(body).await;
                self.pause(!decoded);
                self.land(Ok((entry, stored)));
            }
            Err(error) => {
                let (key, sent) = (&self.mission.key, self.flight.sent);
                let is_definitive = self.mission.policy.is_definitive(&error);
                if is_definitive {
                    // Nor may an older answer, still on its way, bring back what is no more.
                    self.flights.epochs.raise_call(key, sent, Force::Hard);
                }
                self.pause(true);
                self.land(Err(error));
                if is_definitive {
                    self.flights.shelf.evict(key, sent).await;
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
        let was_slow = self.flight.slow.swap(true, Ordering::Relaxed);
        let ending = match ending {
            Ending::Silent if was_slow => return, // counted already
            Ending::Answered if was_slow => Ending::AnsweredLate,
            ending => ending,
        };
        self.flights
            .note(&self.route, self.mission.policy.as_ref(), ending);
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

    /// Stores the reply, unless its kind was invalidated after it was asked for, or a newer one is there. Those who
    /// wait get it in any case. Says whether it could be decoded, and whether it is stored.
    async fn commit(&self, body: Bytes) -> (Entry, bool, bool) {
        let (flights, key) = (&self.flights, &self.mission.key);
        let untouched = || flights.judge(&self.flight, key, &self.route) == Verdict::Untouched;
        let (sent, tags) = (self.flight.sent, self.flight.tags.clone());
        let Some(entry) = (self.mission.decode)(&self.route, sent, &tags, &body) else {
            // Not stored, lest it replace a good one; those who joined may want another type and decode their own.
            return (Entry::undecoded(sent, tags, body), false, false);
        };
        let stored = untouched() && flights.shelf.put(key, entry.clone()).await == Some(Put::Stored);
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
    fn free(&self, active: &mut HashMap<Key, Arc<Flight>>) {
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
            "it panicked"
        } else {
            "it was shut down"
        };
        self.land(Err(CallError::Aborted {
            route: self.route.clone(),
            reason,
        }));
    }
}

impl Flight {
    fn new(clock: Clock, mission: &Mission, request: &Request, behind: bool) -> Arc<Self> {
        Arc::new(Self {
            landing: SetOnce::new(),
            waiting: AtomicUsize::new(0),
            left: Notify::new(),
            started: Instant::now(),
            joinable_for: request
                .expiration
                .map_or(JOIN_WINDOW, |life| life.min(JOIN_WINDOW)),
            behind,
            sent: Sent::now(clock),
            tags: mission.tags.clone(),
            slow: AtomicBool::new(false),
        })
    }

    fn is_deserted(&self) -> bool {
        self.waiting.load(Ordering::Acquire) == 0
    }
}
