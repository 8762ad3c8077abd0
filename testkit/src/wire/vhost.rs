//! Everything the broker knows at one moment: exchanges, queues, connections. Nothing here awaits.

use std::{
    collections::{BTreeMap, BTreeSet},
    mem,
    sync::Arc,
    time::Duration,
};

use amq_protocol::{
    protocol::{AMQPClass, basic, channel, connection},
    types::ShortString,
};
use nameko_cachetools::Route;

use super::{
    channel::{Channel, Unacked},
    exchanges::{Exchanges, Target},
    fault::Faults,
    frames::short,
    message::Message,
    queues::{Queue, Queues},
    refusal::Refusal,
    session::{Handed, Session},
};
use crate::hub::Hub;

/// The broker's state, behind one lock.
#[derive(Debug)]
pub(super) struct Vhost {
    pub(super) hub: Arc<Hub>,
    /// Where the script's services listen: nameko's `rpc_exchange`.
    pub(super) rpc_exchange: String,
    pub(super) exchanges: Exchanges,
    pub(super) queues: Queues,
    pub(super) sessions: BTreeMap<u32, Session>,
    pub(super) faults: Faults,
    pub(super) effects: Vec<Effect>,
    /// Requests that the script hasn't answered yet, by the number of the call.
    pub(super) waiting: BTreeMap<u64, Arc<Message>>,
    names: u64,
}

/// One channel of one connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct At {
    pub(super) connection: u32,
    pub(super) channel: u16,
}

/// Where a published message came from, and what its publisher is to be told.
#[derive(Debug, Clone, Copy)]
pub(super) struct Origin {
    pub(super) at: At,
    /// Its number on the channel, if that confirms.
    pub(super) tag: Option<u64>,
    pub(super) mandatory: bool,
}

/// What is to be done once the lock is open again.
#[derive(Debug)]
pub(super) enum Effect {
    /// The script is asked.
    Ask {
        origin: Origin,
        message: Arc<Message>,
        route: Route,
    },
    /// A confirm is sent later.
    Confirm {
        after: Duration,
        origin: Origin,
        ack: bool,
    },
    /// Gathered confirms are sent, later.
    Flush { after: Duration, at: At },
}

impl Vhost {
    pub(super) fn new(hub: Arc<Hub>, rpc_exchange: String) -> Self {
        Self {
            hub,
            exchanges: Exchanges::new(&rpc_exchange),
            rpc_exchange,
            queues: Queues::default(),
            sessions: BTreeMap::new(),
            faults: Faults::default(),
            effects: Vec::new(),
            waiting: BTreeMap::new(),
            names: 0,
        }
    }

    pub(super) fn take_effects(&mut self) -> Vec<Effect> {
        mem::take(&mut self.effects)
    }

    /// A name that nothing else has, in the shape of RabbitMQ's.
    pub(super) fn unique(&mut self, prefix: &str) -> String {
        self.names += 1;
        format!("{prefix}-{:022}", self.names)
    }

    pub(super) fn channel(&mut self, at: At) -> Option<&mut Channel> {
        self.sessions
            .get_mut(&at.connection)?
            .channels
            .get_mut(&at.channel)
    }

    pub(super) fn vhost(&self, connection: u32) -> String {
        self.sessions
            .get(&connection)
            .map_or_else(|| "/".to_owned(), |session| session.vhost.clone())
    }

    pub(super) fn basic(&self, at: At, method: basic::AMQPMethod) {
        if let Some(session) = self.sessions.get(&at.connection) {
            session.basic(at.channel, method);
        }
    }

    /// Routes a message that a channel has published.
    pub(super) fn publish(
        &mut self,
        at: At,
        publish: &basic::Publish,
        message: Message,
    ) -> Result<(), Refusal> {
        if publish.immediate {
            return Err(Refusal::not_implemented("immediate=true"));
        }
        let vhost = self.vhost(at.connection);
        let name = publish.exchange.as_str();
        if self.exchanges.get(name, &vhost)?.internal {
            return Err(Refusal::access(format_args!(
                "cannot publish to internal exchange '{name}' in vhost '{vhost}'"
            )));
        }
        if let Some(text) = message.invalid_expiration() {
            let text = format_args!("invalid expiration '{text}': no_integer");
            return Err(Refusal::precondition(text));
        }
        let confirms = self.channel(at).and_then(|channel| channel.confirms.as_mut());
        let tag = confirms.map(|confirms| confirms.number());
        let origin = Origin {
            at,
            tag,
            mandatory: publish.mandatory,
        };
        let message = Arc::new(message);
        if self.faults.returns_all() && publish.mandatory {
            self.unroutable(origin, &message);
            return Ok(());
        }
        let queues = self.reached_by(&message);
        if let Some(route) = self.for_the_script(&message, &queues) {
            let message = Arc::clone(&message);
            self.effects.push(Effect::Ask {
                origin,
                message,
                route,
            });
        } else if queues.is_empty() {
            self.unroutable(origin, &message);
        } else {
            self.confirm(origin, true);
        }
        self.put(&queues, &message);
        Ok(())
    }

    /// Routes a message of the broker's own: a reply of the script's.
    pub(super) fn publish_own(&mut self, message: Message) {
        let message = Arc::new(message);
        let queues = self.reached_by(&message);
        self.put(&queues, &message);
    }

    /// Hands out what waits in a queue, to its consumers in turn.
    pub(super) fn pump(&mut self, name: &str) {
        let Some(queue) = self.queues.find(name) else {
            return;
        };
        while queue.ready() > 0 {
            let has_room = |consumer: &super::queues::Consumer| {
                let session = self.sessions.get(&consumer.connection);
                let channel = session.and_then(|session| session.channels.get(&consumer.channel));
                channel.is_some_and(|channel| channel.has_room(&consumer.tag))
            };
            let Some(next) = queue.consumers.iter().position(has_room) else {
                return;
            };
            let Some(stored) = queue.pop() else {
                return;
            };
            queue.consumers.rotate_left(next + 1);
            let Some((consumer, session)) = queue
                .consumers
                .back()
                .and_then(|consumer| Some((consumer, self.sessions.get_mut(&consumer.connection)?)))
            else {
                return;
            };
            let no_ack = session
                .channels
                .get(&consumer.channel)
                .and_then(|channel| channel.consumers.get(&consumer.tag))
                .is_none_or(|consuming| consuming.no_ack);
            let handed = Handed {
                queue: name.to_owned(),
                consumer: Some(consumer.tag.clone()),
                no_ack,
                stored,
                left: 0,
            };
            session.hand(consumer.channel, handed);
        }
    }

    /// Puts messages back where they came from, and hands them out again.
    pub(super) fn requeue(&mut self, messages: Vec<Unacked>) {
        let mut queues = BTreeSet::new();
        for Unacked { queue, stored, .. } in messages {
            if let Some(found) = self.queues.find(&queue) {
                found.requeue(stored);
                queues.insert(queue);
            }
        }
        queues.iter().for_each(|queue| self.pump(queue));
    }

    /// Ends consumers, and the auto-delete queues that have no others.
    pub(super) fn remove_consumers(&mut self, at: At, only: Option<&ShortString>) {
        let is_own = |consumer: &super::queues::Consumer| {
            (consumer.connection, consumer.channel) == (at.connection, at.channel)
                && only.is_none_or(|tag| consumer.tag == *tag)
        };
        let names = self.queues.names(|queue| queue.consumers.iter().any(is_own));
        for name in names {
            if self
                .queues
                .find(&name)
                .is_some_and(|queue| queue.remove_consumers(is_own))
            {
                self.delete_queue(&name);
            }
        }
    }

    /// Deletes a queue; its consumers are told.
    pub(super) fn delete_queue(&mut self, name: &str) -> Option<Queue> {
        let queue = self.queues.remove(name)?;
        self.exchanges.forget(&Target::Queue(name.to_owned()));
        for consumer in &queue.consumers {
            if let Some(session) = self.sessions.get_mut(&consumer.connection) {
                session.cancel(consumer.channel, &consumer.tag);
            }
        }
        Some(queue)
    }

    /// Frees what a channel has: its consumers, and the messages it hasn't acknowledged.
    pub(super) fn release_channel(&mut self, at: At) {
        self.remove_consumers(at, None);
        if let Some(channel) = self.channel(at) {
            channel.consumers.clear();
            let unacked = channel.release_all();
            self.requeue(unacked);
        }
    }

    /// The broker closes a channel.
    pub(super) fn close_channel(&mut self, at: At, refusal: &Refusal, (class_id, method_id): (u16, u16)) {
        let Some(channel) = self.channel(at).filter(|channel| !channel.is_closing) else {
            return;
        };
        channel.is_closing = true;
        self.release_channel(at);
        if let Some(session) = self.sessions.get(&at.connection) {
            let close = channel::AMQPMethod::Close(channel::Close {
                reply_code: refusal.code,
                reply_text: short(&refusal.text),
                class_id,
                method_id,
            });
            session.method(at.channel, AMQPClass::Channel(close));
        }
    }

    /// Frees what a connection has: its channels and its exclusive queues.
    pub(super) fn release_connection(&mut self, connection: u32) {
        let channels = self
            .sessions
            .get(&connection)
            .map(|session| session.channels.keys().copied().collect());
        for channel in Option::<Vec<u16>>::unwrap_or_default(channels) {
            self.release_channel(At { connection, channel });
        }
        if let Some(session) = self.sessions.get_mut(&connection) {
            session.channels.clear();
        }
        for name in self
            .queues
            .names(|queue| queue.declared.owner == Some(connection))
        {
            self.delete_queue(&name);
        }
    }

    /// Deletes the queues whose `x-expires` has passed.
    pub(super) fn sweep(&mut self) {
        for name in self.queues.names(Queue::is_expired) {
            self.delete_queue(&name);
        }
    }

    /// Resets a connection.
    pub(super) fn cut(&self, connection: u32) {
        if let Some(session) = self.sessions.get(&connection) {
            session.cut();
        }
    }

    /// Closes a connection as soon as everything is written.
    pub(super) fn hang_up(&self, connection: u32) {
        if let Some(session) = self.sessions.get(&connection) {
            session.end();
        }
    }

    /// Ends when a connection has; at once if it has.
    pub(super) fn gone(&self, connection: u32) -> impl Future<Output = ()> + Send + 'static {
        let gone = self
            .sessions
            .get(&connection)
            .map(|session| session.peer.gone.subscribe());
        async move {
            if let Some(mut gone) = gone {
                let _ = gone.wait_for(|gone| *gone).await;
            }
        }
    }

    /// Tells a connection that the broker takes no messages, once.
    pub(super) fn tell_blocked(&mut self, connection: u32, reason: &str) {
        if let Some(session) = self
            .sessions
            .get_mut(&connection)
            .filter(|session| session.hears_of_blocking())
        {
            session.is_told_blocked = true;
            let reason = short(reason);
            session.connection(connection::AMQPMethod::Blocked(connection::Blocked { reason }));
        }
    }

    pub(super) fn tell_unblocked(&mut self, connection: u32) {
        if let Some(session) = self
            .sessions
            .get_mut(&connection)
            .filter(|session| session.is_told_blocked)
        {
            session.is_told_blocked = false;
            session.connection(connection::AMQPMethod::Unblocked(connection::Unblocked {}));
        }
    }

    fn reached_by(&self, message: &Message) -> BTreeSet<String> {
        let mut queues = self.exchanges.route(message);
        queues.retain(|queue| self.queues.has(queue));
        queues
    }

    fn put(&mut self, queues: &BTreeSet<String>, message: &Arc<Message>) {
        for queue in queues {
            self.queues.push(queue, message);
            self.pump(queue);
        }
    }

    /// The script takes what is sent to its services, unless a client has declared the service's own queue; and what
    /// no queue takes, in order to complain about it.
    fn for_the_script(&self, message: &Message, queues: &BTreeSet<String>) -> Option<Route> {
        if message.exchange.as_str() != self.rpc_exchange {
            return None;
        }
        let (service, method) = message.key.as_str().rsplit_once('.')?;
        let route = Route::new(service.to_owned(), method.to_owned()).ok()?;
        let is_real = queues.contains(&format!("rpc-{service}"));
        // An empty message to nobody is no call: so a transport asks whether the broker reads again.
        let is_lost = queues.is_empty() && !message.body.is_empty();
        let is_scripted = || is_lost || self.hub.lock().script.serves(&route);
        (!is_real && is_scripted()).then_some(route)
    }
}
