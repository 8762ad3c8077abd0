//! Queues, what waits in them, and who consumes them.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
    time::Duration,
};

use amq_protocol::types::{AMQPValue, FieldTable, ShortString};
use tokio::time::Instant;

use super::{message::Message, refusal::Refusal};

/// All queues of the broker.
#[derive(Debug, Default)]
pub(super) struct Queues {
    by_name: BTreeMap<String, Queue>,
    /// Messages are numbered over all queues: a requeued one finds its place again.
    published: u64,
}

/// How a queue was declared.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Declared {
    pub(super) durable: bool,
    pub(super) auto_delete: bool,
    /// The connection that it goes with.
    pub(super) owner: Option<u32>,
    pub(super) arguments: FieldTable,
}

/// One queue.
#[derive(Debug)]
pub(super) struct Queue {
    pub(super) declared: Declared,
    pub(super) consumers: VecDeque<Consumer>,
    messages: VecDeque<Stored>,
    had_consumers: bool,
    used: Instant,
}

/// Who gets a queue's messages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Consumer {
    pub(super) connection: u32,
    pub(super) channel: u16,
    pub(super) tag: ShortString,
    pub(super) exclusive: bool,
}

/// A message in a queue.
#[derive(Debug, Clone)]
pub(super) struct Stored {
    pub(super) number: u64,
    pub(super) message: Arc<Message>,
    pub(super) redelivered: bool,
    expires: Option<Instant>,
}

impl Queues {
    /// The queue of this name, for a connection that may use it.
    pub(super) fn get(&mut self, name: &str, connection: u32, vhost: &str) -> Result<&mut Queue, Refusal> {
        let queue = self
            .by_name
            .get_mut(name)
            .ok_or_else(|| Refusal::no_queue(name, vhost))?;
        if queue.declared.owner.is_some_and(|owner| owner != connection) {
            return Err(Refusal::locked(name, vhost));
        }
        queue.used = Instant::now();
        queue.drop_expired();
        Ok(queue)
    }

    /// The queue of this name, for the broker itself.
    pub(super) fn find(&mut self, name: &str) -> Option<&mut Queue> {
        self.by_name.get_mut(name)
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.by_name.contains_key(name)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&String, &Queue)> {
        self.by_name.iter()
    }

    pub(super) fn declare(&mut self, name: &str, wanted: Declared, vhost: &str) -> Result<(), Refusal> {
        let Some(current) = self.by_name.get(name) else {
            for (argument, least) in [("x-expires", 1), ("x-message-ttl", 0)] {
                let given = wanted.arguments.inner().get(argument).and_then(number);
                if let Some(number) = given.filter(|number| *number < least) {
                    let what = if number == 0 {
                        "value_zero"
                    } else {
                        "value_negative"
                    };
                    return Err(Refusal::precondition(format_args!(
                        "invalid arg '{argument}' for queue '{name}' in vhost '{vhost}': {{{what},{number}}}"
                    )));
                }
            }
            self.by_name.insert(name.to_owned(), Queue::new(wanted));
            return Ok(());
        };
        let current = &current.declared;
        if current.owner != wanted.owner {
            return Err(Refusal::locked(name, vhost));
        }
        let of = format!("queue '{name}' in vhost '{vhost}'");
        for (argument, received, current) in [
            ("durable", wanted.durable, current.durable),
            ("auto_delete", wanted.auto_delete, current.auto_delete),
        ] {
            if received != current {
                let (received, current) = (format!("'{received}'"), format!("'{current}'"));
                return Err(Refusal::inequivalent(argument, &of, &received, &current));
            }
        }
        for argument in ["x-expires", "x-message-ttl"] {
            let (received, current) = (
                wanted.arguments.inner().get(argument),
                current.arguments.inner().get(argument),
            );
            if received.map(number) != current.map(number) {
                let (received, current) = match (received, current) {
                    (Some(received), Some(current)) => (text(received), text(current)),
                    (received, current) => (described(received), described(current)),
                };
                return Err(Refusal::inequivalent(argument, &of, &received, &current));
            }
        }
        Ok(())
    }

    /// Puts a message at the end of a queue; `false` if there is no such queue.
    pub(super) fn push(&mut self, name: &str, message: &Arc<Message>) -> bool {
        let Some(queue) = self.by_name.get_mut(name) else {
            return false;
        };
        self.published += 1;
        let life = [message.expiration(), queue.duration("x-message-ttl")];
        queue.messages.push_back(Stored {
            number: self.published,
            message: Arc::clone(message),
            redelivered: false,
            expires: life.into_iter().flatten().min().map(|life| Instant::now() + life),
        });
        true
    }

    pub(super) fn remove(&mut self, name: &str) -> Option<Queue> {
        self.by_name.remove(name)
    }

    /// The names of those that `is_over` says are.
    pub(super) fn names(&self, is_over: impl Fn(&Queue) -> bool) -> Vec<String> {
        self.by_name
            .iter()
            .filter(|(_, queue)| is_over(queue))
            .map(|(name, _)| name.clone())
            .collect()
    }
}

impl Queue {
    fn new(declared: Declared) -> Self {
        Self {
            declared,
            consumers: VecDeque::new(),
            messages: VecDeque::new(),
            had_consumers: false,
            used: Instant::now(),
        }
    }

    /// How many messages wait.
    pub(super) fn ready(&self) -> usize {
        self.messages.len()
    }

    pub(super) fn purge(&mut self) -> usize {
        self.messages.drain(..).count()
    }

    /// The oldest message, unless its time is over.
    pub(super) fn pop(&mut self) -> Option<Stored> {
        self.drop_expired();
        self.messages.pop_front()
    }

    /// Puts a message back where it was.
    pub(super) fn requeue(&mut self, stored: Stored) {
        let place = self
            .messages
            .partition_point(|other| other.number < stored.number);
        let redelivered = true;
        self.messages.insert(
            place,
            Stored {
                redelivered,
                ..stored
            },
        );
    }

    pub(super) fn add_consumer(&mut self, name: &str, new: Consumer, vhost: &str) -> Result<(), Refusal> {
        if (new.exclusive && !self.consumers.is_empty()) || self.consumers.iter().any(|other| other.exclusive)
        {
            return Err(Refusal::access(format_args!(
                "queue '{name}' in vhost '{vhost}' in exclusive use"
            )));
        }
        self.had_consumers = true;
        self.consumers.push_back(new);
        Ok(())
    }

    /// Takes away the consumers that `are` names, and says whether the queue goes with the last of them.
    pub(super) fn remove_consumers(&mut self, are: impl Fn(&Consumer) -> bool) -> bool {
        let before = self.consumers.len();
        self.consumers.retain(|consumer| !are(consumer));
        if self.consumers.len() < before {
            self.used = Instant::now();
        }
        self.declared.auto_delete && self.had_consumers && self.consumers.is_empty()
    }

    /// Whether `x-expires` has passed since it was last used.
    pub(super) fn is_expired(&self) -> bool {
        self.consumers.is_empty()
            && self
                .duration("x-expires")
                .is_some_and(|life| self.used.elapsed() >= life)
    }

    /// RabbitMQ drops a message only when it has come to the head of its queue.
    fn drop_expired(&mut self) {
        let now = Instant::now();
        while self
            .messages
            .front()
            .and_then(|first| first.expires)
            .is_some_and(|at| at <= now)
        {
            self.messages.pop_front();
        }
    }

    fn duration(&self, argument: &str) -> Option<Duration> {
        let ms = number(self.declared.arguments.inner().get(argument)?)?;
        Some(Duration::from_millis(ms.try_into().ok()?))
    }
}

fn number(value: &AMQPValue) -> Option<i64> {
    match value {
        AMQPValue::ShortShortInt(n) => Some((*n).into()),
        AMQPValue::ShortShortUInt(n) => Some((*n).into()),
        AMQPValue::ShortInt(n) => Some((*n).into()),
        AMQPValue::ShortUInt(n) => Some((*n).into()),
        AMQPValue::LongInt(n) => Some((*n).into()),
        AMQPValue::LongUInt(n) => Some((*n).into()),
        AMQPValue::LongLongInt(n) => Some(*n),
        _ => None,
    }
}

/// An argument in RabbitMQ's words.
fn described(value: Option<&AMQPValue>) -> String {
    let Some(value) = value else {
        return "none".to_owned();
    };
    let kind = match value {
        AMQPValue::ShortShortInt(_) => "byte",
        AMQPValue::ShortInt(_) => "short",
        AMQPValue::LongInt(_) => "signedint",
        AMQPValue::LongLongInt(_) => "long",
        AMQPValue::LongUInt(_) => "unsignedint",
        AMQPValue::LongString(_) => "longstr",
        _ => "other",
    };
    format!("the value {} of type '{kind}'", text(value))
}

fn text(value: &AMQPValue) -> String {
    number(value).map_or_else(|| "'?'".to_owned(), |number| format!("'{number}'"))
}
