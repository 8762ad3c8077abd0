//! Requests under way: owned by a task of their own, shared by those who wait, harvested when nobody does.

mod seat;

use std::{
    collections::HashMap,
    sync::{Arc, PoisonError, atomic::Ordering},
    time::Duration,
};

use bytes::Bytes;
use tokio::{
    sync::{Notify, OwnedSemaphorePermit, Semaphore, SetOnce, TryAcquireError},
    time::Instant,
};
use tracing::Instrument as _;

use seat::Seat;

use crate::{
    adaptive::Latencies,
    backoff::Backoffs,
    breaker::{Circuit, Circuits, Ending, Turn},
    clock::Clock,
    entry::{Entry, Marks, Sent, Tags},
    error::CallError,
    invalidate::{Epochs, Verdict},
    key::{ByKey, Key},
    message::Request,
    negative::{Negative, Negatives},
    policy::Policy,
    route::Route,
    store::Shelf,
    sync::{self, AtomicBool, AtomicU64, AtomicUsize, Mutex, MutexGuard},
    transport::Transport,
};

/// A flight older than this is not joined: a hung request must not capture a key.
const JOIN_WINDOW: Duration = Duration::from_secs(10);

/// How long a reply is still awaited after everybody left, where the call has no limit of its own.
const HARVEST: Duration = Duration::from_secs(60);

/// How many flights that nobody waits for may go on; the surplus is forgotten.
const MAX_DETACHED: usize = 1024;

/// Most refreshes behind stale answers at once, and most probes; the surplus is skipped.
const MAX_BEHIND: usize = 64;

/// What a flight brought: a good reply, and whether the store has it.
pub(crate) type Landing = Result<(Entry, bool), CallError>;

/// Turns a result's text into an entry of the type that the first caller asked for, if it is one.
pub(crate) type Decode = fn(&Route, Marks, &Bytes) -> Option<Entry>;

/// What a flight is for.
pub(crate) struct Mission {
    pub(crate) key: Key,
    pub(crate) route: Route,
    pub(crate) tags: Tags,
    pub(crate) policy: Arc<dyn Policy>,
    pub(crate) decode: Decode,
    /// How long the reply is of use to anybody.
    pub(crate) limit: Option<Duration>,
    /// When the broker drops the request, if nobody has taken it by then.
    pub(crate) expiration: Option<Duration>,
    /// Whether the answer to a request that was made earlier will do.
    pub(crate) joins: bool,
}

/// The flights that may be joined.
type Active = HashMap<Key, Arc<Flight>, ByKey>;

/// All flights of one proxy.
pub(crate) struct Flights {
    transport: Arc<dyn Transport>,
    clock: Clock,
    shelf: Arc<Shelf>,
    epochs: Arc<Epochs>,
    circuits: Circuits,
    backoffs: Backoffs,
    latencies: Latencies,
    negatives: Negatives,
    active: Mutex<Active>,
    detached: Semaphore,
    refreshes: Arc<Semaphore>,
    /// Apart from those: refreshes that hang must not keep anybody from finding the service alive again.
    probes: Arc<Semaphore>,
    forgotten: AtomicU64,
    /// Set when the proxy is gone. (It wakes in order; a `watch` would not, and no two runs of a test would be alike.)
    abandoned: SetOnce<()>,
}

/// One request and what it brings.
struct Flight {
    landing: SetOnce<Landing>,
    waiting: AtomicUsize,
    /// Told when nobody waits any more.
    left: Notify,
    started: Instant,
    /// Afterwards it may hang, or the broker may have dropped its request.
    joinable_for: Duration,
    /// Whether it was started for the cache, and nobody has to wait for it.
    behind: bool,
    /// Its place among all requests and invalidations, taken before it is sent.
    sent: Sent,
    tags: Tags,
    /// Whether its reply may say more, such as tags that nobody knows before.
    listens: bool,
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
            latencies: Latencies::default(),
            negatives: Negatives::default(),
            active: Mutex::default(),
            detached: Semaphore::new(MAX_DETACHED),
            refreshes: Arc::new(Semaphore::new(MAX_BEHIND)),
            probes: Arc::new(Semaphore::new(MAX_BEHIND)),
            forgotten: AtomicU64::new(0),
            abandoned: SetOnce::new(),
        })
    }

    /// Joins the flight of the same key if there is one to join, else starts one: a task of its own that sends the
    /// request, which is written then only, stores the reply, and tells all who wait. Says whether it joined.
    pub(crate) fn join(
        self: &Arc<Self>,
        mission: Mission,
        request: impl FnOnce() -> Request,
    ) -> (Ticket, bool) {
        let share = mission.policy.single_flight();
        let mut active = self.active();
        if share
            && mission.joins
            && let Some(flight) = active.get(&mission.key)
            && self.may_join(flight, &mission.key, &mission.route)
        {
            return (Ticket::of(flight), true);
        }
        let flight = Flight::new(self.clock, &mission, false);
        let ticket = Ticket::of(&flight);
        if share {
            active.insert(mission.key.clone(), Arc::clone(&flight));
        }
        drop(active);
        self.launch(flight, mission, None, request);
        (ticket, false)
    }

    /// Starts a flight that nobody waits for, unless one for the same key is under way, or failed just now. An error if
    /// it is due, and too many others are under way.
    pub(crate) fn refresh(
        self: &Arc<Self>,
        mission: Mission,
        request: impl FnOnce() -> Request,
    ) -> Result<(), TryAcquireError> {
        let mut active = self.active();
        let is_under_way = |flight: &Arc<Flight>| {
            self.may_join(flight, &mission.key, &mission.route)
                || flight.behind && self.judge(flight, &mission.key, &mission.route) == Verdict::Untouched
        };
        if active.get(&mission.key).is_some_and(is_under_way)
            || self.backoffs.hold(&mission.key, self.clock.now_exact())
        {
            return Ok(());
        }
        let place = Arc::clone(&self.refreshes).try_acquire_owned()?;
        let flight = Flight::new(self.clock, &mission, true);
        active.insert(mission.key.clone(), Arc::clone(&flight));
        drop(active);
        self.launch(flight, mission, Some(place), request);
        Ok(())
    }

    /// Starts a flight that nobody waits for, to see whether the service is alive. An error if too many are under way.
    pub(crate) fn probe(
        self: &Arc<Self>,
        mission: Mission,
        request: impl FnOnce() -> Request,
    ) -> Result<(), TryAcquireError> {
        let place = Arc::clone(&self.probes).try_acquire_owned()?;
        let flight = Flight::new(self.clock, &mission, true);
        self.active().insert(mission.key.clone(), Arc::clone(&flight));
        self.launch(flight, mission, Some(place), request);
        Ok(())
    }

    /// Not if it may be lost, and not if its answer was invalidated before it came.
    fn may_join(&self, flight: &Flight, key: &Key, route: &Route) -> bool {
        flight.started.elapsed() < flight.joinable_for && self.judge(flight, key, route) == Verdict::Untouched
    }

    /// What is left of a reply that hasn't come yet: nothing, if it may yet turn out to have an invalidated tag.
    fn judge(&self, flight: &Flight, key: &Key, route: &Route) -> Verdict {
        if flight.listens && self.epochs.any_tag_since(flight.sent) {
            return Verdict::Gone;
        }
        let tags = flight.tags.as_deref().unwrap_or_default();
        self.epochs.judge(flight.sent, key, route, tags)
    }

    /// Starts the task. From here on the seat frees the flight's place, also if the request can't be written.
    fn launch(
        self: &Arc<Self>,
        flight: Arc<Flight>,
        mission: Mission,
        place: Option<OwnedSemaphorePermit>,
        request: impl FnOnce() -> Request,
    ) {
        let seat = Seat {
            flights: Arc::clone(self),
            flight,
            mission,
            _place: place,
        };
        // Boxed, as it is large, and handed on several times until it is where it stays.
        let flight = Box::pin(seat.fly(request()));
        sync::spawn(flight.in_current_span());
    }

    /// Whether the service is taken for dead.
    pub(crate) fn circuit(&self, route: &Route, policy: &dyn Policy) -> Circuit {
        match policy.breaker() {
            None => Circuit::Closed,
            Some(_) => self.circuits.ask(route.method(), self.clock.now()),
        }
    }

    /// The same, to be told only.
    pub(crate) fn look_at_circuit(&self, route: &Route, policy: &dyn Policy) -> Circuit {
        match policy.breaker() {
            None => Circuit::Closed,
            Some(_) => self.circuits.look(route.method(), self.clock.now()),
        }
    }

    /// How long ago a request was sent that a call of this key would join.
    pub(crate) fn under_way(&self, key: &Key, route: &Route) -> Option<Duration> {
        let active = self.active();
        let flight = active
            .get(key)
            .filter(|flight| self.may_join(flight, key, route))?;
        Some(flight.started.elapsed())
    }

    /// Whether a refresh of `key` has to wait, since the last one failed.
    pub(crate) fn rests(&self, key: &Key) -> bool {
        self.backoffs.hold(key, self.clock.now_exact())
    }

    /// How long to wait for an answer while an older one is at hand: what the policy says, or less.
    pub(crate) fn patience(
        &self,
        route: &Route,
        policy: &dyn Policy,
        most: Option<Duration>,
    ) -> Option<Duration> {
        match policy.adaptive() {
            None => most,
            Some(settings) => self.latencies.patience(route.method(), settings, most),
        }
    }

    /// The negative answer that is remembered of this call, unless it was invalidated.
    pub(crate) fn negative(&self, key: &Key, route: &Route, policy: &dyn Policy) -> Option<Negative> {
        policy.negative_for()?;
        let negative = self.negatives.get(key, self.clock.now_exact())?;
        let tags = negative.tags.as_deref().unwrap_or_default();
        if self.epochs.judge(negative.sent, key, route, tags) == Verdict::Untouched {
            return Some(negative);
        }
        self.negatives.forget(key, negative.sent);
        None
    }

    /// Notes that a request got no answer for as long as the policy has patience.
    pub(crate) fn note_slow(&self, ticket: &Ticket, route: &Route, policy: &dyn Policy) {
        if !ticket.0.slow.swap(true, Ordering::Relaxed) {
            self.note(route, policy, Ending::Silent);
        }
    }

    fn note(&self, route: &Route, policy: &dyn Policy, ending: Ending) {
        let Some(settings) = policy.breaker() else { return };
        let turn = self
            .circuits
            .note(route.method(), settings, self.clock.now(), ending);
        match turn {
            Some(Turn::Opened(failures)) => {
                tracing::warn!(%route, failures, "the circuit opens: cached answers are given without waiting");
            }
            Some(Turn::Closed) => tracing::info!(%route, "the circuit closes: the service answers again"),
            None => {}
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

    fn active(&self) -> MutexGuard<'_, Active> {
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
        if self.0.waiting.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.0.left.notify_one();
        }
    }
}

impl Flight {
    fn new(clock: Clock, mission: &Mission, behind: bool) -> Arc<Self> {
        Arc::new(Self {
            landing: SetOnce::new(),
            waiting: AtomicUsize::new(0),
            left: Notify::new(),
            started: Instant::now(),
            joinable_for: mission
                .expiration
                .map_or(JOIN_WINDOW, |life| life.min(JOIN_WINDOW)),
            behind,
            sent: Sent::now(clock),
            tags: mission.tags.clone(),
            listens: mission.policy.reply_directives(),
            slow: AtomicBool::new(false),
        })
    }

    fn is_deserted(&self) -> bool {
        self.waiting.load(Ordering::Acquire) == 0
    }
}
