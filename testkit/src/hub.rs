//! What the broker, its transports, guards and held calls share: one lock over the whole state.

use std::{
    any::Any,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use nameko_cachetools::{Request, TransportError};
use tokio::{runtime::Handle, sync::Notify};

use crate::{
    Answer, Call, HeldCall,
    outages::Kind,
    script::{Choice, Step},
    state::{Due, State, Waiter},
    target::Target,
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
        let choice = {
            let state = &mut *self.lock();
            let choice = state.script.choose(call);
            if let Choice::Taken(Some(rule), _) = choice
                && let Some(due) = state.script.due_before(rule)
            {
                state.findings.out_of_order(call, &due.to_string());
            }
            choice
        };
        match choice {
            Choice::Taken(rule, Step::Answer(answer)) => self.serve(call, rule, answer),
            Choice::Taken(rule, Step::Handler(handler)) => {
                // Without the broker's lock, so that the handler may use the broker.
                let handle = || (handler.lock().unwrap_or_else(PoisonError::into_inner))(call);
                let answer = match catch_unwind(AssertUnwindSafe(handle)) {
                    Ok(answer) => answer,
                    Err(panic) => self.handler_panicked(call, rule, panic.as_ref()),
                };
                self.serve(call, rule, answer);
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

    /// Answers as the service does that rule number `rule` stands for.
    fn serve(&self, call: &Arc<Call>, rule: Option<usize>, answer: Answer) {
        let mut state = self.lock();
        if answer.is_hold() {
            state.hold(call, rule);
        } else {
            let throw = state.outages.throw(call.route.service());
            let delay = state.script.delay(rule, &answer) + throw.extra;
            state.send(call.number, Due::new(throw.spoil(answer), delay));
        }
    }

    /// Answers as the test does, to which rule number `rule` handed the call.
    pub(crate) fn answer(&self, call: &Arc<Call>, rule: Option<usize>, answer: Answer) {
        let mut state = self.lock();
        if answer.is_hold() {
            state.hold(call, rule);
        } else {
            let delay = state.script.delay(rule, &answer);
            state.send(call.number, Due::new(answer, delay));
        }
    }

    /// Ends an outage, and lets a service that was silent answer what waits in its queue.
    pub(crate) fn end_outage(self: &Arc<Self>, kind: &Kind) {
        let mut state = self.lock();
        state.log.of_broker(format!("{kind} no more"));
        let parked = state.outages.end(kind);
        state.show_connections();
        let now = state.log.now();
        let (expired, alive): (Vec<_>, Vec<_>) = parked.into_iter().partition(|call| is_expired(call, now));
        for call in expired {
            state.log.of_call(call.number, "expired in the queue");
            state.forget(call.number);
        }
        drop(state);
        // By a task of its own: at the end of a test, where guards are dropped, nothing more is to happen.
        match Handle::try_current() {
            Ok(runtime) if !alive.is_empty() => {
                let hub = Arc::clone(self);
                drop(runtime.spawn(async move { alive.iter().for_each(|call| hub.deliver(call)) }));
            }
            _ => alive.iter().for_each(|call| self.deliver(call)),
        }
    }

    /// The oldest call covered by `target` that was handed to the test, as soon as there is one.
    pub(crate) async fn next_held(self: &Arc<Self>, target: &Target) -> HeldCall {
        loop {
            let told = self.changed.notified();
            let next = self.lock().next_held(target);
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

    fn handler_panicked(&self, call: &Call, rule: Option<usize>, panic: &(dyn Any + Send)) -> Answer {
        let message = panic
            .downcast_ref::<&str>()
            .map(|text| (*text).to_owned())
            .or_else(|| panic.downcast_ref::<String>().cloned())
            .unwrap_or_else(|| "(no message)".to_owned());
        let mut state = self.lock();
        let rule = rule.map(|number| state.script.rules[number].to_string());
        state
            .findings
            .handler_panicked(call, &rule.unwrap_or_default(), &message);
        Answer::error("AssertionError", "the handler of this fake service panicked")
    }
}

/// Whether the broker would have dropped `call` by now.
fn is_expired(call: &Call, now: Duration) -> bool {
    call.request
        .expiration
        .is_some_and(|expiration| now.saturating_sub(call.at) >= expiration)
}
