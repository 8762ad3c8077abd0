//! What the broker, its transports, guards and held calls share: one lock over the whole state.

use std::{
    any::Any,
    collections::VecDeque,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use nameko_cachetools::{Request, Route, TransportError};
use tokio::sync::Notify;

use crate::{
    Answer, Call, HeldCall,
    script::{Choice, Step},
    state::{Due, State, Waiter},
};

/// The shared part of one fake broker.
#[derive(Debug)]
pub(crate) struct Hub {
    state: Mutex<State>,
    /// Told whenever a call is handed to the test, and whenever one ends.
    changed: Arc<Notify>,
}

impl Hub {
    pub(crate) fn new(seed: u64) -> Self {
        let changed = Arc::new(Notify::new());
        Self {
            state: Mutex::new(State::new(seed, Arc::clone(&changed))),
            changed,
        }
    }

    /// A panic elsewhere, say in a condition of the test's, leaves nothing half done that matters here.
    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
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
                state.send(call.number, Due::at_once(answer));
            }
        }
    }

    /// Answers a call that rule number `rule` matched.
    pub(crate) fn answer(&self, call: &Arc<Call>, rule: usize, answer: Answer) {
        let mut state = self.lock();
        if answer.is_hold() {
            state.hold(call, rule);
        } else {
            let delay = state.script.delay(rule, &answer);
            let act = answer.act;
            state.send(call.number, Due { act, delay });
        }
    }

    /// The oldest call of `route` that was handed to the test, as soon as there is one.
    pub(crate) async fn next_held(self: &Arc<Self>, route: &Route) -> HeldCall {
        loop {
            let told = self.changed.notified();
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

    /// Ends when nobody waits on `connection` any more.
    pub(crate) async fn idle(&self, connection: u32) {
        loop {
            let told = self.changed.notified();
            if self.lock().is_idle(connection) {
                return;
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
