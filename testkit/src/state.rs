//! Everything the fake broker knows at one moment. Nothing here awaits.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
    time::Duration,
};

use nameko_cachetools::{
    ConnectionState, Delivery, Event, Events, Response, Route, ServiceQueue, Teller, TransportError,
};
use tokio::sync::{Notify, oneshot, watch};

use crate::{
    Answer, Call,
    act::Act,
    brown_out::BrownOut,
    call::Unreadable,
    events::{Listeners, Listening},
    log::Log,
    manner::Manner,
    outages::{Kind, Outages},
    reorder::Turns,
    report::Findings,
    script::Script,
    target::Target,
};

#[derive(Debug)]
pub(crate) struct State {
    pub(crate) script: Script,
    pub(crate) log: Log,
    pub(crate) findings: Findings,
    pub(crate) outages: Outages,
    pub(crate) turns: Turns,
    /// Calls whose callers still wait, by number.
    pub(crate) waiting: BTreeMap<u64, Waiting>,
    /// Calls whose callers have left while a service works for them, by number. Only on the wire: in memory nobody
    /// could get the reply any more.
    left: BTreeMap<u64, Waiting>,
    pub(crate) most_waiting: usize,
    /// Calls handed to the test and not taken yet, with the number of their rule.
    held: VecDeque<(Arc<Call>, Option<usize>)>,
    connections: Vec<Connection>,
    pub(crate) listeners: Listeners,
    /// Told whenever a call is handed to the test, and whenever one ends.
    changed: Arc<Notify>,
}

/// Both ways in which a waiting caller's wait ends.
#[derive(Debug)]
pub(crate) struct Waiting {
    connection: u32,
    answer: Option<oneshot::Sender<Due>>,
    lost: oneshot::Sender<Early>,
}

/// What ends a caller's wait before its own answer does: its connection, or another call's reply under its id.
pub(crate) type Early = Result<Response, TransportError>;

/// The caller's end of [`Waiting`].
#[derive(Debug)]
pub(crate) struct Waiter {
    pub(crate) number: u64,
    pub(crate) answer: oneshot::Receiver<Due>,
    pub(crate) lost: oneshot::Receiver<Early>,
}

/// An answer and how long it takes from now.
#[derive(Debug)]
pub(crate) struct Due {
    pub(crate) act: Act,
    pub(crate) manner: Manner,
    pub(crate) delay: Duration,
}

impl Due {
    pub(crate) fn new(answer: Answer, delay: Duration) -> Self {
        Self {
            act: answer.act,
            manner: answer.manner,
            delay,
        }
    }

    pub(crate) fn at_once(answer: Answer) -> Self {
        Self::new(answer, Duration::ZERO)
    }
}

/// One transport's connection.
#[derive(Debug)]
struct Connection {
    state: watch::Sender<ConnectionState>,
    is_closed: bool,
}

impl State {
    pub(crate) fn new(seed: u64, changed: Arc<Notify>) -> Self {
        let mut log = Log::default();
        log.start();
        Self {
            script: Script::new(seed),
            log,
            findings: Findings::default(),
            outages: Outages::default(),
            turns: Turns::new(seed),
            waiting: BTreeMap::new(),
            left: BTreeMap::new(),
            most_waiting: 0,
            held: VecDeque::new(),
            connections: Vec::new(),
            listeners: Listeners::default(),
            changed,
        }
    }

    /// A new connection, numbered from 1.
    pub(crate) fn connect(&mut self) -> u32 {
        let state = watch::Sender::new(self.outages.connection_state());
        self.connections.push(Connection {
            state,
            is_closed: false,
        });
        u32::try_from(self.connections.len()).unwrap_or(u32::MAX)
    }

    /// A connection's state, to watch.
    pub(crate) fn watch(&self, connection: u32) -> watch::Receiver<ConnectionState> {
        match self.connections.get(index(connection)) {
            Some(own) => own.state.subscribe(),
            None => watch::channel(ConnectionState::Closed).1,
        }
    }

    /// The owner closes a connection: from now on it refuses requests.
    pub(crate) fn close(&mut self, connection: u32) {
        if let Some(own) = self.connections.get_mut(index(connection)) {
            own.is_closed = true;
        }
        self.show_connections();
    }

    /// Why a request can't be sent now.
    pub(crate) fn refusal(&self, connection: u32, route: &Route) -> Option<TransportError> {
        if self
            .connections
            .get(index(connection))
            .is_none_or(|own| own.is_closed)
        {
            return Some(TransportError::Closed);
        }
        self.outages.refusal(route.service())
    }

    /// The queue of a service, as it looks from outside.
    pub(crate) fn service_queue(&self, service: &str) -> ServiceQueue {
        if !self.script.serves_any_of(service) || self.outages.is_unknown(service) {
            return ServiceQueue::Missing;
        }
        ServiceQueue::Exists {
            consumers: u32::from(!self.outages.is_silent(service)),
            waiting: u32::try_from(self.outages.waiting_for(service)).unwrap_or(u32::MAX),
        }
    }

    /// Somebody listens on `connection` from now on.
    pub(crate) fn listen(&mut self, connection: u32, events: Events, teller: Teller) {
        self.listeners
            .all
            .push(Listening::new(connection, events, teller));
        self.show_connections();
    }

    /// Tells an event to all who listen for it, and how many there are; `None` if the broker is down.
    pub(crate) fn tell(&mut self, service: &str, event: &Event) -> Option<usize> {
        if !self.outages.is_connected() {
            return None;
        }
        self.listeners.all.retain(Listening::is_wanted);
        let tell = |listening: &&Listening| listening.tell(service, event);
        Some(self.listeners.all.iter().filter(tell).count())
    }

    /// A caller begins to wait for call `number`.
    pub(crate) fn wait(&mut self, number: u64, connection: u32) -> Waiter {
        let (answer_sender, answer) = oneshot::channel();
        let (lost_sender, lost) = oneshot::channel();
        let waiting = Waiting {
            connection,
            answer: Some(answer_sender),
            lost: lost_sender,
        };
        self.waiting.insert(number, waiting);
        self.most_waiting = self.most_waiting.max(self.waiting.len());
        Waiter { number, answer, lost }
    }

    /// Does what nameko does with a body that it can't read.
    pub(crate) fn unreadable(
        &mut self,
        number: u64,
        connection: u32,
        route: &Route,
        why: Unreadable,
    ) -> Waiter {
        let waiter = self.wait(number, connection);
        self.log.of_call(number, format!("{route}: no nameko request"));
        let (answer, consequence) = match why {
            Unreadable::NotJson => (Answer::never(), "drops this one, and the caller waits in vain"),
            Unreadable::Malformed => (Answer::malformed_request(), "answers MalformedRequest"),
        };
        self.findings.unreadable(number, &route.to_string(), consequence);
        self.send(number, Due::at_once(answer));
        waiter
    }

    /// Hands an answer to the caller, if it still waits.
    pub(crate) fn send(&mut self, number: u64, due: Due) {
        let own = self
            .waiting
            .get_mut(&number)
            .or_else(|| self.left.get_mut(&number));
        let unsent = match own.and_then(|waiting| waiting.answer.take()) {
            Some(caller) => caller.send(due).err(),
            None => Some(due),
        };
        if let Some(due) = unsent {
            self.log
                .of_call(number, format!("too late, nobody waits: {}", due.act.summary()));
        }
    }

    /// Ends the wait of call `number`; `told` is the line in the timeline.
    pub(crate) fn end(&mut self, number: u64, told: impl Into<String>) {
        self.waiting.remove(&number);
        self.left.remove(&number);
        self.log.end(number, told);
        self.changed.notify_waiters();
    }

    /// The caller of call `number` leaves; the reply goes out all the same, when it comes.
    #[cfg(feature = "wire")]
    pub(crate) fn leave(&mut self, number: u64) {
        if let Some(waiting) = self.waiting.remove(&number) {
            self.log.of_call(number, "the caller's connection has ended");
            self.left.insert(number, waiting);
            self.changed.notify_waiters();
        }
    }

    /// Nothing becomes of call `number` any more.
    pub(crate) fn forget(&mut self, number: u64) {
        self.left.remove(&number);
    }

    /// Hands a call that rule number `rule` matched to the test.
    pub(crate) fn hold(&mut self, call: &Arc<Call>, rule: Option<usize>) {
        self.log.of_call(call.number, Act::Hold.summary());
        self.held.push_back((Arc::clone(call), rule));
        self.changed.notify_waiters();
    }

    /// Takes the oldest call that was handed to the test and that `target` covers.
    pub(crate) fn next_held(&mut self, target: &Target) -> Option<(Arc<Call>, Option<usize>)> {
        let next = self
            .held
            .iter()
            .position(|(call, _)| target.covers(&call.route))?;
        self.held.remove(next)
    }

    pub(crate) fn is_idle(&self, connection: u32) -> bool {
        self.waiting
            .values()
            .all(|waiting| waiting.connection != connection)
    }

    /// The connection is lost and at once made again: all who wait on it fail.
    pub(crate) fn break_connection(&mut self, connection: u32, reason: &str) {
        self.lose_connection(connection, reason);
        if let Some(own) = self
            .connections
            .get(index(connection))
            .filter(|own| !own.is_closed)
        {
            own.state.send_replace(ConnectionState::Reconnecting {
                reason: reason.to_owned(),
                permanent: false,
            });
        }
        for listening in &mut self.listeners.all {
            if listening.connection == connection {
                listening.connected(false);
            }
        }
        self.show_connections();
    }

    /// Of the calls that wait on the connection of call `number`, the one that has waited longest, but for itself.
    pub(crate) fn another(&self, number: u64) -> Option<u64> {
        let connection = self.waiting.get(&number)?.connection;
        let mut others = self.waiting.iter().filter(|(other, _)| **other != number);
        others
            .find(|(_, waiting)| waiting.connection == connection)
            .map(|(other, _)| *other)
    }

    /// Gives call `number` a reply that isn't its own.
    pub(crate) fn misdirect(&mut self, number: u64, response: Response) {
        if let Some(waiting) = self.waiting.remove(&number) {
            let _ = waiting.lost.send(Ok(response)); // an error means that it left in this moment
        }
    }

    /// Fails all waiting calls that `which` picks: their connection is lost.
    fn lose(&mut self, reason: &str, which: impl Fn(&Waiting) -> bool) {
        let lost: Vec<u64> = self
            .waiting
            .iter()
            .filter(|(_, w)| which(w))
            .map(|(number, _)| *number)
            .collect();
        for number in lost {
            if let Some(waiting) = self.waiting.remove(&number) {
                let (delivery, reason) = (Delivery::Unknown, reason.to_owned());
                // The caller notes it in the timeline: it may have an answer of the same moment, which wins. An error
                // here means that it left in this moment.
                let _ = waiting
                    .lost
                    .send(Err(TransportError::Disconnected { delivery, reason }));
            }
        }
        self.changed.notify_waiters();
    }

    pub(crate) fn add_brown_out(&mut self, brown_out: BrownOut) -> Kind {
        self.outages.add_brown_out(self.script.seed, brown_out)
    }

    pub(crate) fn begin_outage(&mut self, kind: &Kind) {
        self.log.of_broker(kind.to_string());
        self.outages.begin(kind);
        if let Some(reason) = kind.cuts_connections() {
            self.lose(reason, |_| true);
        }
        if *kind == Kind::Gone {
            self.left.clear();
        }
        self.show_connections();
    }

    /// Fails what still waits on `connection`.
    pub(crate) fn lose_connection(&mut self, connection: u32, reason: &str) {
        self.lose(reason, |waiting| waiting.connection == connection);
    }

    /// Tells every connection's watchers the state it has now.
    pub(crate) fn show_connections(&mut self) {
        let shared = self.outages.connection_state();
        for connection in &self.connections {
            let now = if connection.is_closed {
                ConnectionState::Closed
            } else {
                shared.clone()
            };
            connection.state.send_if_modified(|seen| {
                let changed = *seen != now;
                *seen = now;
                changed
            });
        }
        let (connections, is_connected) = (&self.connections, self.outages.is_connected());
        let is_open = |listening: &Listening| {
            let own = connections.get(index(listening.connection));
            listening.is_wanted() && own.is_some_and(|own| !own.is_closed)
        };
        self.listeners.all.retain(is_open);
        for listening in &mut self.listeners.all {
            listening.connected(is_connected);
        }
    }
}

/// Connections are numbered from 1.
fn index(connection: u32) -> usize {
    (connection as usize).saturating_sub(1)
}
