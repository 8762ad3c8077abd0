//! What the broker, its transports, guards and held calls share: one lock over the whole state.

use std::{
    any::Any,
    collections::{BTreeMap, VecDeque},
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use nameko_cachetools::{ConnectionState, Delivery, Request, Route, TransportError};
use tokio::sync::{Notify, oneshot, watch};

use crate::{
    Answer, Call, HeldCall,
    answer::Act,
    call::Unreadable,
    log::Log,
    outage::{Kind, Outages},
    report::Findings,
    script::{Choice, Script, Step},
};

/// The shared part of one fake broker.
#[derive(Debug)]
pub(crate) struct Hub {
    state: Mutex<State>,
    /// Told whenever a call is handed to the test.
    pub(crate) held: Notify,
}

#[derive(Debug)]
pub(crate) struct State {
    pub(crate) script: Script,
    pub(crate) log: Log,
    pub(crate) findings: Findings,
    pub(crate) outages: Outages,
    /// Calls whose callers still wait, by number.
    pub(crate) waiting: BTreeMap<u64, Waiting>,
    pub(crate) most_waiting: usize,
    /// Calls handed to the test and not taken yet, with the number of their rule.
    pub(crate) held: BTreeMap<Route, VecDeque<(Arc<Call>, usize)>>,
    pub(crate) connections: Vec<Connection>,
}

/// Both ways in which a waiting caller's wait ends.
#[derive(Debug)]
pub(crate) struct Waiting {
    connection: u32,
    answer: Option<oneshot::Sender<Due>>,
    lost: oneshot::Sender<TransportError>,
}

/// The caller's end of [`Waiting`].
#[derive(Debug)]
pub(crate) struct Waiter {
    pub(crate) number: u64,
    pub(crate) answer: oneshot::Receiver<Due>,
    pub(crate) lost: oneshot::Receiver<TransportError>,
}

/// An answer and how long it takes from now.
#[derive(Debug)]
pub(crate) struct Due {
    pub(crate) act: Act,
    pub(crate) delay: Duration,
}

#[derive(Debug)]
pub(crate) struct Connection {
    pub(crate) state: watch::Sender<ConnectionState>,
    pub(crate) closed: bool,
}

impl Hub {
    pub(crate) fn new(seed: u64) -> Self {
        let mut log = Log::default();
        log.start();
        let state = State {
            script: Script::new(seed),
            log,
            findings: Findings::default(),
            outages: Outages::default(),
            waiting: BTreeMap::new(),
            most_waiting: 0,
            held: BTreeMap::new(),
            connections: Vec::new(),
        };
        Self {
            state: Mutex::new(state),
            held: Notify::new(),
        }
    }

    /// A panic elsewhere, say in a condition of the test's, leaves nothing half done that matters here.
    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A new connection, numbered from 1.
    pub(crate) fn connect(&self) -> u32 {
        let mut state = self.lock();
        let seen = state.outages.connection_state();
        state.connections.push(Connection {
            state: watch::Sender::new(seen),
            closed: false,
        });
        u32::try_from(state.connections.len()).unwrap_or(u32::MAX)
    }

    /// Takes a request in, or says why it can't be sent.
    pub(crate) fn admit(&self, connection: u32, request: Request) -> Result<Waiter, TransportError> {
        let mut state = self.lock();
        if let Some(error) = state.refusal(connection, &request.route) {
            state
                .log
                .of_broker(format!("{} not sent: {error}", request.route));
            return Err(error);
        }
        let number = state.log.next_number();
        let at = state.log.now();
        let (waiter, call) = match Call::read(number, at, connection, request) {
            Ok(call) => {
                let call = Arc::new(call);
                state.log.call(Arc::clone(&call));
                (state.wait(number, connection), call)
            }
            Err((request, why)) => return Ok(state.unreadable(number, connection, &request.route, why)),
        };
        if state.outages.is_silent(call.route.service()) {
            state
                .log
                .of_call(number, "waits in the queue of a silent service");
            state.outages.park(call);
        } else {
            drop(state);
            self.deliver(&call);
        }
        Ok(waiter)
    }

    /// Brings a call to its rule, and the rule's answer to the caller.
    pub(crate) fn deliver(&self, call: &Arc<Call>) {
        let choice = self.lock().script.choose(call);
        match choice {
            Choice::Rule(rule, Step::Answer(answer)) => self.answer(call, rule, answer),
            Choice::Rule(rule, Step::Handler(handler)) => {
                // Without the broker's lock, so that the handler may use the broker.
                let handle = || (handler.lock().unwrap_or_else(PoisonError::into_inner))(call);
                let answer = match catch_unwind(AssertUnwindSafe(handle)) {
                    Ok(answer) => answer,
                    Err(panic) => self.handler_panicked(call, rule, panic.as_ref()),
                };
                self.answer(call, rule, answer);
            }
            Choice::Unmatched {
                answer,
                answered,
                nearest,
            } => {
                let mut state = self.lock();
                state.findings.unmatched(call, answered, &nearest);
                state.send(
                    call.number,
                    Due {
                        act: answer.act,
                        delay: Duration::ZERO,
                    },
                );
            }
        }
    }

    /// Answers a call that rule number `rule` matched.
    pub(crate) fn answer(&self, call: &Arc<Call>, rule: usize, answer: Answer) {
        let mut state = self.lock();
        if answer.is_hold() {
            state.log.of_call(call.number, answer.act.summary());
            state
                .held
                .entry(call.route.clone())
                .or_default()
                .push_back((Arc::clone(call), rule));
            drop(state);
            self.held.notify_waiters();
        } else {
            let delay = state.script.delay(rule, &answer);
            state.send(
                call.number,
                Due {
                    act: answer.act,
                    delay,
                },
            );
        }
    }

    /// Ends the wait of call `number`; `told` is the line in the timeline.
    pub(crate) fn end(&self, number: u64, told: impl Into<String>) {
        let mut state = self.lock();
        state.waiting.remove(&number);
        state.log.end(number, told);
    }

    /// The connection is lost and at once made again: all who wait on it fail.
    pub(crate) fn break_connection(&self, connection: u32, reason: &str) {
        let mut state = self.lock();
        state.lose(reason, |waiting| waiting.connection == connection);
        if let Some(broken) = state
            .connections
            .get(connection as usize - 1)
            .filter(|broken| !broken.closed)
        {
            broken.state.send_replace(ConnectionState::Reconnecting {
                reason: reason.to_owned(),
                permanent: false,
            });
        }
        state.show_connections();
    }

    /// The oldest call of `route` that was handed to the test, as soon as there is one.
    pub(crate) async fn next_held(self: &Arc<Self>, route: &Route) -> HeldCall {
        loop {
            let told = self.held.notified();
            let next = self.lock().held.get_mut(route).and_then(VecDeque::pop_front);
            if let Some((call, rule)) = next {
                return HeldCall {
                    hub: Arc::clone(self),
                    call,
                    rule,
                };
            }
            told.await;
        }
    }

    fn handler_panicked(&self, call: &Call, rule: usize, panic: &(dyn Any + Send)) -> Answer {
        let message = panic
            .downcast_ref::<&str>()
            .map(|text| (*text).to_owned())
            .or_else(|| panic.downcast_ref::<String>().cloned())
            .unwrap_or_else(|| "(no message)".to_owned());
        let mut state = self.lock();
        let rule = state.script.rules[rule].to_string();
        state.findings.handler_panicked(call, &rule, &message);
        Answer::error("AssertionError", "the handler of this fake service panicked")
    }
}

impl State {
    /// Why a request can't be sent now.
    fn refusal(&self, connection: u32, route: &Route) -> Option<TransportError> {
        if self
            .connections
            .get(connection as usize - 1)
            .is_none_or(|own| own.closed)
        {
            return Some(TransportError::Closed);
        }
        self.outages.refusal(route.service())
    }

    fn wait(&mut self, number: u64, connection: u32) -> Waiter {
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
    fn unreadable(&mut self, number: u64, connection: u32, route: &Route, why: Unreadable) -> Waiter {
        let waiter = self.wait(number, connection);
        self.log.of_call(number, format!("{route}: no nameko request"));
        let (answer, consequence) = match why {
            Unreadable::NotJson => (Answer::never(), "drops this one, and the caller waits in vain"),
            Unreadable::Malformed => (Answer::malformed_request(), "answers MalformedRequest"),
        };
        self.findings.unreadable(number, &route.to_string(), consequence);
        self.send(
            number,
            Due {
                act: answer.act,
                delay: Duration::ZERO,
            },
        );
        waiter
    }

    /// Hands an answer to the caller, if it still waits.
    fn send(&mut self, number: u64, due: Due) {
        let unsent = match self
            .waiting
            .get_mut(&number)
            .and_then(|waiting| waiting.answer.take())
        {
            Some(caller) => caller.send(due).err(),
            None => Some(due),
        };
        if let Some(due) = unsent {
            self.log
                .of_call(number, format!("too late, nobody waits: {}", due.act.summary()));
        }
    }

    /// Fails all waiting calls that `which` picks: their connection is lost.
    pub(crate) fn lose(&mut self, reason: &str, which: impl Fn(&Waiting) -> bool) {
        let lost: Vec<u64> = self
            .waiting
            .iter()
            .filter(|(_, w)| which(w))
            .map(|(number, _)| *number)
            .collect();
        for number in lost {
            if let Some(waiting) = self.waiting.remove(&number) {
                let error = TransportError::Disconnected {
                    delivery: Delivery::Unknown,
                    reason: reason.to_owned(),
                };
                self.log.end(number, error.to_string());
                // An error means that the caller left in this moment.
                let _ = waiting.lost.send(error);
            }
        }
    }

    pub(crate) fn begin_outage(&mut self, kind: &Kind) {
        self.log.of_broker(kind.to_string());
        self.outages.begin(kind);
        if let Some(reason) = kind.cuts_connections() {
            self.lose(reason, |_| true);
        }
        self.show_connections();
    }

    /// Fails what still waits on `connection`.
    pub(crate) fn lose_connection(&mut self, connection: u32, reason: &str) {
        self.lose(reason, |waiting| waiting.connection == connection);
    }

    pub(crate) fn waiting_on(&self, connection: u32) -> usize {
        self.waiting
            .values()
            .filter(|waiting| waiting.connection == connection)
            .count()
    }

    /// Tells every connection's watchers the state it has now.
    pub(crate) fn show_connections(&mut self) {
        let shared = self.outages.connection_state();
        for connection in &self.connections {
            let now = if connection.closed {
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
    }
}
