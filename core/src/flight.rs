//! Requests under way: owned by a task of their own, shared by those who wait, harvested when nobody does.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use tokio::{
    sync::{Notify, Semaphore, SetOnce},
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
        let (active, detached) = (Mutex::default(), Semaphore::new(MAX_DETACHED));
        Arc::new(Self {
            transport,
            clock,
            shelf,
            policy,
            active,
            detached,
            forgotten: AtomicU64::new(0),
        })
    }

    /// Joins the flight of `key` if there is one to join, else starts one: a task of its own that sends `request`,
    /// stores the reply, and tells all who wait. Says whether it joined.
    ///
    /// `limit` is the call's own, which also bounds for how long the reply is harvested if all callers leave. Without
    /// `share` it neither joins nor can be joined.
    pub(crate) fn join(
        self: &Arc<Self>,
        key: Key,
        request: impl FnOnce() -> Request,
        decode: Decode,
        limit: Option<Duration>,
        share: bool,
    ) -> (Ticket, bool) {
        let mut active = self.active();
        if share
            && let Some(flight) = active.get(&key)
            && flight.started.elapsed() < JOIN_WINDOW
        {
            return (Ticket::of(flight), true);
        }
        let started = Instant::now();
        let flight = Arc::new(Flight {
            landing: SetOnce::new(),
            waiting: AtomicUsize::new(0),
            left: Notify::new(),
            started,
        });
        let ticket = Ticket::of(&flight);
        if share {
            active.insert(key.clone(), Arc::clone(&flight));
        }
        drop(active);
        let request = request();
        let seat = Seat {
            flights: Arc::clone(self),
            flight,
            key,
            route: request.route.clone(),
        };
        tokio::spawn(seat.fly(request, decode, limit).in_current_span());
        (ticket, false)
    }

    /// Whether a request for `key` that can be joined is under way.
    pub(crate) fn is_active(&self, key: &Key) -> bool {
        self.active().contains_key(key)
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
}

impl Seat {
    async fn fly(self, request: Request, decode: Decode, limit: Option<Duration>) {
        let Self {
            flights,
            flight,
            key,
            route,
        } = &self;
        if flight.is_deserted() {
            return; // everybody left before anything was sent
        }
        let sent = Sent::now(flights.clock);
        let reply = tokio::select! {
            biased;
            reply = flights.transport.request(request) => reply,
            () = flight.given_up(flights, limit) => return,
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
                    flights.shelf.remove(key).await;
                }
                Err(error)
            }
        });
    }

    /// Frees the place first: who calls again after an error must not be told the same error.
    fn land(&self, landing: Landing) {
        let mut active = self.flights.active();
        // By identity: a flight that was superseded must not free its successor's place.
        if active
            .get(&self.key)
            .is_some_and(|flight| Arc::ptr_eq(flight, &self.flight))
        {
            active.remove(&self.key);
        }
        drop(active);
        // Refused if it landed before, as it should have when this comes from the drop below.
        let _ = self.flight.landing.set(landing);
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
    fn is_deserted(&self) -> bool {
        self.waiting.load(Ordering::Acquire) == 0
    }

    /// Pending while somebody waits, and for as long after that as the reply is worth harvesting.
    async fn given_up(&self, flights: &Flights, limit: Option<Duration>) {
        let call_ends = limit.and_then(|limit| self.started.checked_add(limit));
        loop {
            while !self.is_deserted() {
                self.left.notified().await;
            }
            let Ok(_permit) = flights.detached.try_acquire() else {
                flights.forgotten.fetch_add(1, Ordering::Relaxed);
                return;
            };
            sleep_until(call_ends.unwrap_or_else(|| Instant::now() + HARVEST)).await;
            if self.is_deserted() {
                return;
            }
            // Somebody joined late: their own limit holds, so wait for them to leave.
        }
    }
}
