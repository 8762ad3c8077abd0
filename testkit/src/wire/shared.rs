//! What the listener, all connections and the test's handle share; and how the script is asked.

use std::{
    pin::pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use nameko_cachetools::{Route, TransportError};
use tokio::{
    select,
    sync::watch,
    time::{Duration, sleep},
};

use super::{
    message::Message,
    outbox::Damages,
    vhost::{Effect, Origin, Vhost},
};
use crate::{
    Correlation, When,
    act::Act,
    call::Unreadable,
    hub::Hub,
    manner::Manner,
    state::{Due, Waiter},
};

/// One broker on a port.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) hub: Arc<Hub>,
    pub(super) damages: Arc<Damages>,
    pub(super) line: watch::Sender<Line>,
    vhost: Mutex<Vhost>,
}

/// How the sockets of all connections behave.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Line {
    /// Nothing is read and nothing written.
    pub(super) is_frozen: bool,
    /// So long per octet.
    pub(super) pace: Option<Duration>,
    /// No heartbeats are sent.
    pub(super) is_heartless: bool,
}

impl Shared {
    pub(super) fn new(hub: Arc<Hub>, rpc_exchange: String) -> Self {
        Self {
            vhost: Mutex::new(Vhost::new(Arc::clone(&hub), rpc_exchange)),
            hub,
            damages: Arc::default(),
            line: watch::Sender::default(),
        }
    }

    /// Does something with the broker's state, then what follows from it.
    pub(super) fn with<R>(self: &Arc<Self>, act: impl FnOnce(&mut Vhost) -> R) -> R {
        let mut vhost = self.lock();
        let result = act(&mut vhost);
        let effects = vhost.take_effects();
        drop(vhost);
        effects.into_iter().for_each(|effect| self.perform(effect));
        result
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Vhost> {
        self.vhost.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn perform(self: &Arc<Self>, effect: Effect) {
        let shared = Arc::clone(self);
        match effect {
            Effect::Ask {
                origin,
                message,
                route,
            } => Asked {
                origin,
                message,
                shared,
            }
            .ask(route),
            Effect::Confirm { after, origin, ack } => drop(tokio::spawn(async move {
                sleep(after).await;
                shared.with(|vhost| vhost.confirm_now(origin, ack));
            })),
            Effect::Flush { after, at } => drop(tokio::spawn(async move {
                sleep(after).await;
                shared.with(|vhost| vhost.flush(at));
            })),
        }
    }
}

/// A request that the script is asked about.
struct Asked {
    origin: Origin,
    message: Arc<Message>,
    shared: Arc<Shared>,
}

impl Asked {
    fn ask(self, route: Route) {
        let mut waiter = match self.admitted(route) {
            Ok(waiter) => waiter,
            Err(error) => return self.refused(&error),
        };
        match waiter.answer.try_recv() {
            Ok(due) if self.is_at_once(&due) => self.finish(waiter.number, due.act, due.manner, false),
            Ok(due) => {
                let is_confirmed = matches!(
                    due.act,
                    Act::Reply(_) | Act::Never | Act::Disconnect(When::BeforeReply)
                );
                self.wait(waiter, Some(due), is_confirmed);
            }
            // Held, or in the queue of a silent service: the broker has taken it.
            Err(_) => self.wait(waiter, None, true),
        }
    }

    /// Whether nothing is to be waited for.
    fn is_at_once(&self, due: &Due) -> bool {
        match due.act {
            Act::Never | Act::Hold => false,
            Act::Reply(_) => due.delay.is_zero() && self.shared.hub.lock().outages.reordering().is_none(),
            _ => due.delay.is_zero(),
        }
    }

    fn admitted(&self, route: Route) -> Result<Waiter, TransportError> {
        let (hub, connection) = (&self.shared.hub, self.origin.at.connection);
        if self.message.is_json() {
            return hub.admit(connection, self.message.request(route));
        }
        let mut state = hub.lock();
        if let Some(error) = state.refusal(connection, &route) {
            return Err(error);
        }
        let number = state.log.next_number();
        Ok(state.unreadable(number, connection, &route, Unreadable::NotJson))
    }

    fn refused(&self, error: &TransportError) {
        self.shared.with(|vhost| match error {
            TransportError::UnknownService => vhost.unroutable(self.origin, &self.message),
            TransportError::Blocked { .. } => vhost.confirm_now(self.origin, false),
            _ => vhost.cut(self.origin.at.connection),
        });
    }

    /// Waits for the answer, or for its time.
    fn wait(self, mut waiter: Waiter, due: Option<Due>, is_confirmed: bool) {
        if is_confirmed {
            self.shared.with(|vhost| vhost.confirm(self.origin, true));
        }
        let gone = {
            let mut vhost = self.shared.lock();
            vhost.waiting.insert(waiter.number, Arc::clone(&self.message));
            vhost.gone(self.origin.at.connection)
        };
        tokio::spawn(async move {
            let answer = async {
                let due = match due {
                    Some(due) => due,
                    None => (&mut waiter.answer).await.ok()?,
                };
                if matches!(due.act, Act::Never) {
                    return None;
                }
                sleep(due.delay).await;
                if matches!(due.act, Act::Reply(_)) {
                    self.shared.hub.turn().await;
                }
                Some((due.act, due.manner))
            };
            let (number, mut answer, mut gone) = (waiter.number, pin!(answer), pin!(gone));
            let first = select! {
                biased;
                first = &mut answer => first,
                Ok(Err(error)) = &mut waiter.lost => return self.end(number, error.to_string()),
                () = &mut gone => {
                    // A service doesn't know that nobody waits any more: its reply goes out all the same.
                    self.shared.hub.lock().leave(number);
                    answer.await
                }
            };
            match first {
                Some((act, manner)) => self.finish(number, act, manner, is_confirmed),
                None => select! {
                    biased;
                    Ok(Err(error)) = &mut waiter.lost => self.end(number, error.to_string()),
                    () = gone => self.end(number, "no answer, and the caller's connection has ended"),
                },
            }
        });
    }

    fn finish(&self, number: u64, act: Act, manner: Manner, is_confirmed: bool) {
        let told = match manner.correlation {
            Correlation::Own => act.summary(),
            odd => format!("{}: {odd}", act.summary()),
        };
        let another = match manner.correlation {
            Correlation::Another => self.shared.hub.lock().another(number),
            _ => None,
        };
        self.end(number, told);
        let origin = self.origin;
        self.shared.with(|vhost| match act {
            Act::Reply(response) => {
                if !is_confirmed {
                    vhost.confirm(origin, true);
                }
                let other = another.and_then(|number| vhost.waiting.get(&number));
                let other = other.and_then(|message| message.properties.correlation_id().clone());
                let (exchange, request) = (&vhost.rpc_exchange, &self.message.properties);
                let reply = Message::reply(exchange, request, response, manner.correlation, other);
                if let Some(reply) = reply {
                    (0..manner.copies).for_each(|_| vhost.publish_own(reply.clone()));
                }
                if manner.hangs_up {
                    vhost.hang_up(origin.at.connection);
                }
            }
            Act::UnknownService if !is_confirmed => vhost.unroutable(origin, &self.message),
            Act::Nack if !is_confirmed => vhost.confirm_now(origin, false),
            Act::Disconnect(_) => vhost.cut(origin.at.connection),
            Act::UnknownService | Act::Nack | Act::Never | Act::Hold => {}
        });
    }

    fn end(&self, number: u64, told: impl Into<String>) {
        self.shared.hub.lock().end(number, told);
        self.shared.lock().waiting.remove(&number);
    }
}
