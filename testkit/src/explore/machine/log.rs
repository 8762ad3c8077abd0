//! What happened in one run, in the order in which it happened: all that the model knows.

use std::{
    collections::HashMap,
    fmt::Write,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use nameko_cachetools::{Clock, Key, Moment, Reason, Source, Stats};
use tokio::{task, time::Instant};

use super::schedule::{Ms, Reach, Says};

/// A request's number, in the order in which requests were handed to the transport.
pub(super) type Number = u64;
/// A call's number, in the order of the schedule.
pub(super) type Caller = usize;

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Event {
    /// A caller begins.
    Began(Caller),
    /// A caller has its answer.
    Ended(Caller, Told),
    /// A caller left without one.
    Left(Caller),
    /// A request goes out. `caller` is known if the call had options.
    Sent {
        number: Number,
        asked: Asked,
        caller: Option<Caller>,
    },
    /// The transport's answer.
    Brought {
        number: Number,
        what: Brought,
        says: Says,
    },
    /// Nobody waits for the transport's answer any more.
    GivenUp {
        number: Number,
    },
    /// The store is asked, and doesn't answer at once.
    Reading {
        by: Owner,
    },
    /// The store's answer.
    Read {
        by: Owner,
        key: usize,
        found: Found,
    },
    /// An entry is put, and what became of it.
    Putting {
        by: Owner,
        key: usize,
        number: Number,
    },
    Put {
        by: Owner,
        key: usize,
        number: Number,
        became: Became,
    },
    /// An entry is to be removed, and whether it was there.
    Removing {
        by: Owner,
        number: Number,
    },
    Removed {
        by: Owner,
        key: usize,
        number: Number,
        was_there: Option<bool>,
    },
    Cleared,
    /// The clock is about to jump by so much.
    Jumps(Ms),
    /// Answers are invalidated.
    Invalidated {
        reach: Reach,
        softly: bool,
    },
    /// Something about the world, for readers.
    World(String),
    /// All callers are gone and all limits have passed.
    Quiet(Quiet),
}

/// Who asks the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Owner {
    Caller(Caller),
    Flight(Number),
    /// Somebody who invalidates this.
    Invalidator(Asked),
    Other,
}

/// What a key is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Asked {
    pub(super) service: &'static str,
    pub(super) method: &'static str,
    pub(super) key: u64,
    pub(super) user: Option<u64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Found {
    /// The answer to a request that was sent then.
    Entry {
        number: Number,
        sent: Ms,
    },
    Nothing,
    Trouble,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Became {
    Stored,
    Older,
    Trouble,
}

/// What a request brought, as the engine gets it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Brought {
    /// A good answer.
    Good,
    /// A good answer of another type.
    Odd,
    /// An error, by its name.
    Error(Fault),
}

/// Errors by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    Boom,
    NotFound,
    MethodNotFound,
    ContentType,
    UnknownService,
    Rejected,
    NotConnected,
    Blocked,
    DisconnectedBefore,
    Disconnected,
    Aborted,
    /// The caller's limit.
    Timeout,
    /// The answer is of another type.
    Decode,
    NotCached,
    CircuitOpen,
    /// None of these.
    Other,
}

/// What a caller was told.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Told {
    Error(Fault),
    Answer(Answered),
}

#[derive(Debug, Clone, PartialEq)]
pub(super) struct Answered {
    /// The request whose answer it is.
    pub(super) number: Number,
    /// Whether what the service wrote into it is what was asked for.
    pub(super) is_own: bool,
    pub(super) source: Source,
    pub(super) reason: Reason,
    pub(super) age: Option<Ms>,
    pub(super) collapsed: bool,
    pub(super) stored: bool,
    pub(super) masked: Option<Fault>,
    pub(super) waited: Ms,
}

/// What is left when nothing happens any more.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Quiet {
    pub(super) in_flight: usize,
    pub(super) tasks: usize,
    pub(super) stats: Vec<Stats>,
}

/// The log of one run. A clone is the same log.
#[derive(Clone)]
pub(super) struct Log(Arc<Mutex<Written>>);

struct Written {
    start: Instant,
    epoch: Moment,
    events: Vec<(Ms, Event)>,
    owners: HashMap<task::Id, Owner>,
    keys: HashMap<Key, usize>,
    requests: Number,
}

impl Log {
    /// An empty log that starts now.
    pub(super) fn new() -> Self {
        Self(Arc::new(Mutex::new(Written {
            start: Instant::now(),
            epoch: Clock::Tokio.now(),
            events: Vec::with_capacity(128),
            owners: HashMap::new(),
            keys: HashMap::new(),
            requests: 0,
        })))
    }

    pub(super) fn add(&self, event: Event) {
        let mut written = self.lock();
        let at = now(&written);
        written.events.push((at, event));
    }

    /// The next request's number.
    pub(super) fn next_request(&self) -> Number {
        let mut written = self.lock();
        written.requests += 1;
        written.requests
    }

    /// The task that runs now acts for `owner`.
    pub(super) fn own(&self, owner: Owner) {
        if let Some(task) = task::try_id() {
            self.lock().owners.entry(task).or_insert(owner);
        }
    }

    /// For whom the task that runs now acts.
    pub(super) fn owner(&self) -> Owner {
        let owner = task::try_id().and_then(|task| self.lock().owners.get(&task).copied());
        owner.unwrap_or(Owner::Other)
    }

    /// A moment of the library as milliseconds since the start.
    pub(super) fn since_start(&self, moment: Moment) -> Ms {
        moment.since(self.lock().epoch).as_millis() as Ms
    }

    /// A key as a number.
    pub(super) fn key(&self, key: &Key) -> usize {
        let mut written = self.lock();
        let next = written.keys.len();
        *written.keys.entry(key.clone()).or_insert(next)
    }

    pub(super) fn events(&self) -> Vec<(Ms, Event)> {
        self.lock().events.clone()
    }

    fn lock(&self) -> MutexGuard<'_, Written> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn now(written: &Written) -> Ms {
    written.start.elapsed().as_millis() as Ms
}

/// Events as text, one a line, up to and with number `last`.
pub(super) fn text(events: &[(Ms, Event)], last: usize) -> String {
    let mut text = String::new();
    for (at, event) in events.iter().take(last.saturating_add(1)) {
        let _ = writeln!(text, "{at:>8} ms  {event:?}"); // writing to a String never fails
    }
    text
}
