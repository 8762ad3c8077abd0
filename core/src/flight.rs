//! Requests under way: owned by a task of their own, shared by those who wait, harvested when nobody does.

use std::{
    collections::{HashMap, hash_map},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, AtomicUsize, Ordering},
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
    clock::Clock,
    entry::{Entry, Sent},
    error::CallError,
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
pub(crate) type Decode = fn(&Route, Sent, &Bytes) -> Option<Entry>;

/// All flights of one proxy.
pub(crate) struct Flights {
    transport: Arc<dyn Transport>,
    clock: Clock,
    shelf: Arc<Shelf>,
    policy: Arc<dyn Policy>,
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
}

/// A place among those who wait for a flight. Dropping it leaves; the flight goes on.
pub(crate) struct Ticket(Arc<Flight>);

impl Flights {
    pub(crate) fn new(
        transport: Arc<dyn Transport>,
        clock: Clock,
        shelf: Arc<Shelf>,
        policy: Arc<dyn Policy>,
    ) -> Arc<Self> {
        let (active, detached, forgotten) =
            (Mutex::default(), Semaphore::new(MAX_DETACHED), AtomicU64::new(0));
        let abandoned = SetOnce::new();
        Arc::new(Self {
            transport,
            clock,
            shelf,
            policy,
            active,
            detached,
            forgotten,
            abandoned,
        })
    }

    /// Joins the flight of `key` if there is one to join, else starts one: a task of its own that sends `request`,
    /// stores the reply, and tells all who wait. Says whether it joined.
    ///
    /// `limit` is the call's own, which also bounds for how long the reply is harvested if all callers leave.
    pub(crate) fn join(
        self: &Arc<Self>,
        key: Key,
        request: impl FnOnce() -> Request,
        decode: Decode,
        limit: Option<Duration>,
    ) -> (Ticket, bool) {
        let share = self.policy.single_flight();
        let mut active = self.active();
        if share
            && let Some(flight) = active.get(&key)
            && flight.started.elapsed() < JOIN_WINDOW
        {
            return (Ticket::of(flight), true);
        }
        let flight = Flight::new();
        let ticket = Ticket::of(&flight);
        if share {
            active.insert(key.clone(), Arc::clone(&flight));
        }
        drop(active);
        self.launch(flight, key, request(), decode, limit, None);
        (ticket, false)
    }

    /// Starts a flight that nobody waits for, unless one for `key` is under way. It holds `place` until it ends.
    pub(crate) fn refresh(
        self: &Arc<Self>,
        key: Key,
        request: impl FnOnce() -> Request,
        decode: Decode,
        limit: Duration,
        place: OwnedSemaphorePermit,
    ) {
        let flight = Flight::new();
        match self.active().entry(key.clone()) {
            hash_map::Entry::Occupied(_) => return,
            hash_map::Entry::Vacant(vacant) => _ = vacant.insert(Arc::clone(&flight)),
        }
        self.launch(flight, key, request(), decode, Some(limit), Some(place));
    }

    fn launch(
        self: &Arc<Self>,
        flight: Arc<Flight>,
        key: Key,
        request: Request,
        decode: Decode,
        limit: Option<Duration>,
        place: Option<OwnedSemaphorePermit>,
    ) {
        let (flights, route) = (Arc::clone(self), request.route.clone());
        let ends = limit.and_then(|limit| flight.started.checked_add(limit));
        let seat = Seat {
            flights,
            flight,
            key,
            route,
            ends,
            place,
        };
        tokio::spawn(seat.fly(request, decode).in_current_span());
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
    key: Key,
    route: Route,
    /// When the call's own limit ends it, if it has one.
    ends: Option<Instant>,
    /// The place among the refreshes, if it is one: nobody has to wait for those.
    place: Option<OwnedSemaphorePermit>,
}

impl Seat {
    async fn fly(self, request: Request, decode: Decode) {
        let Self {
            flights, key, route, ..
        } = &self;
        if self.place.is_none() && self.retire() {
            return; // everybody left before anything was sent
        }
        let sent = Sent::now(flights.clock);
        let reply = tokio::select! {
            biased;
            reply = flights.transport.request(request) => reply,
            () = self.given_up() => return,
        };
        let result = reply
            .map_err(|error| CallError::transport(route.clone(), error))
            .and_then(|response| wire::result(route, response));
        self.land(match result {
            Ok(body) => Ok(match decode(route, sent, &body) {
                Some(entry) => {
                    let put = flights.shelf.put(key, entry.clone()).await;
                    (entry, put == Some(Put::Stored))
                }
                // Not stored, lest it replace a good one; those who joined may want another type and decode their own.
                None => (Entry::undecoded(sent, body), false),
            }),
            Err(error) => {
                if flights.policy.is_definitive(&error) {
                    flights.shelf.evict(key, sent).await;
                }
                Err(error)
            }
        });
    }

    /// Pending while somebody waits, and for as long after that as the reply is worth harvesting.
    async fn given_up(&self) {
        let (flights, flight) = (&self.flights, &self.flight);
        loop {
            let mut harvest = None;
            if self.place.is_none() {
                while !flight.is_deserted() {
                    flight.left.notified().await;
                }
                harvest = flights.detached.try_acquire().ok();
                if harvest.is_none() {
                    flights.forgotten.fetch_add(1, Ordering::Relaxed);
                }
            }
            if harvest.is_some() || self.place.is_some() {
                let ends = self.ends.unwrap_or_else(|| Instant::now() + HARVEST);
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
            .get(&self.key)
            .is_some_and(|flight| Arc::ptr_eq(flight, &self.flight))
        {
            active.remove(&self.key);
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
    fn new() -> Arc<Self> {
        let (landing, waiting, left) = (SetOnce::new(), AtomicUsize::new(0), Notify::new());
        Arc::new(Self {
            landing,
            waiting,
            left,
            started: Instant::now(),
        })
    }

    fn is_deserted(&self) -> bool {
        self.waiting.load(Ordering::Acquire) == 0
    }
}
