//! The commands of the raw client.

use amq_protocol::{
    protocol::{AMQPClass, basic, channel, confirm, connection, exchange, queue},
    types::{AMQPValue, FieldTable},
};

use super::frames::short;

/// A command as it goes out.
pub(super) struct Said {
    pub(super) channel: u16,
    pub(super) method: AMQPClass,
    pub(super) content: Option<(basic::AMQPProperties, String)>,
}

/// Reads a command, if it is one.
pub(super) fn parse(command: &str) -> Option<Said> {
    let (command, body) = match command.split_once(" body=") {
        Some((command, body)) => (command, Some(body)),
        None => (command, None),
    };
    let mut words = command.split(' ');
    let channel = words.next()?.parse().ok()?;
    let (name, rest) = (words.next()?, Words(words.collect()));
    let method = match name.split_once('.')?.0 {
        "connection" => connection_method(name)?,
        "channel" => channel_method(name)?,
        "confirm" => AMQPClass::Confirm(confirm::AMQPMethod::Select(confirm::Select { nowait: false })),
        "exchange" => AMQPClass::Exchange(exchange_method(name, &rest)?),
        "queue" => AMQPClass::Queue(queue_method(name, &rest)?),
        "basic" => AMQPClass::Basic(basic_method(name, &rest)?),
        _ => return None,
    };
    let content = body.map(|body| (rest.properties(), body.to_owned()));
    Some(Said {
        channel,
        method,
        content,
    })
}

/// What follows a method's name.
struct Words<'a>(Vec<&'a str>);

impl<'a> Words<'a> {
    /// The word at this place; a dash is an empty one.
    fn at(&self, index: usize) -> Option<&'a str> {
        self.0.get(index).map(|word| if *word == "-" { "" } else { word })
    }

    fn name(&self, index: usize) -> Option<amq_protocol::types::ShortString> {
        self.at(index).map(short)
    }

    fn number(&self) -> Option<u64> {
        self.at(0)?.parse().ok()
    }

    fn has(&self, flag: &str) -> bool {
        self.0.contains(&flag)
    }

    fn value(&self, name: &str) -> Option<&'a str> {
        self.0
            .iter()
            .filter_map(|word| word.split_once('='))
            .find_map(|(own, value)| (own == name).then_some(value))
    }

    /// `x-..=NUMBER` as arguments of a queue.
    fn arguments(&self) -> FieldTable {
        let mut table = FieldTable::default();
        for (name, value) in self.0.iter().filter_map(|word| word.split_once('=')) {
            if let Ok(number) = value.parse() {
                table.insert(short(name), AMQPValue::LongInt(number));
            }
        }
        table
    }

    fn properties(&self) -> basic::AMQPProperties {
        let mut properties = basic::AMQPProperties::default();
        if let Some(id) = self.value("correlation_id") {
            properties = properties.with_correlation_id(short(id));
        }
        if let Some(key) = self.value("reply_to") {
            properties = properties.with_reply_to(short(key));
        }
        if let Some(ms) = self.value("expiration") {
            properties = properties.with_expiration(short(ms));
        }
        properties
    }
}

fn connection_method(name: &str) -> Option<AMQPClass> {
    use connection::{AMQPMethod, Close, CloseOk};
    Some(AMQPClass::Connection(match name {
        "connection.close" => AMQPMethod::Close(Close {
            reply_code: 200,
            reply_text: "bye".into(),
            class_id: 0,
            method_id: 0,
        }),
        "connection.close-ok" => AMQPMethod::CloseOk(CloseOk {}),
        _ => return None,
    }))
}

fn channel_method(name: &str) -> Option<AMQPClass> {
    use channel::{AMQPMethod, Close, CloseOk, Flow, Open};
    Some(AMQPClass::Channel(match name {
        "channel.open" => AMQPMethod::Open(Open {}),
        "channel.close" => AMQPMethod::Close(Close {
            reply_code: 200,
            reply_text: "bye".into(),
            class_id: 0,
            method_id: 0,
        }),
        "channel.close-ok" => AMQPMethod::CloseOk(CloseOk {}),
        "channel.flow" => AMQPMethod::Flow(Flow { active: true }),
        _ => return None,
    }))
}

fn exchange_method(name: &str, words: &Words<'_>) -> Option<exchange::AMQPMethod> {
    use exchange::{AMQPMethod, Bind, Declare, Delete, Unbind};
    let (nowait, arguments) = (false, FieldTable::default());
    Some(match name {
        "exchange.declare" => AMQPMethod::Declare(Declare {
            exchange: words.name(0)?,
            kind: words.name(1)?,
            passive: words.has("passive"),
            durable: words.has("durable"),
            auto_delete: words.has("auto-delete"),
            internal: words.has("internal"),
            nowait,
            arguments,
        }),
        "exchange.delete" => AMQPMethod::Delete(Delete {
            exchange: words.name(0)?,
            if_unused: words.has("if-unused"),
            nowait,
        }),
        "exchange.bind" => AMQPMethod::Bind(Bind {
            destination: words.name(0)?,
            source: words.name(1)?,
            routing_key: words.name(2)?,
            nowait,
            arguments,
        }),
        "exchange.unbind" => AMQPMethod::Unbind(Unbind {
            destination: words.name(0)?,
            source: words.name(1)?,
            routing_key: words.name(2)?,
            nowait,
            arguments,
        }),
        _ => return None,
    })
}

fn queue_method(name: &str, words: &Words<'_>) -> Option<queue::AMQPMethod> {
    use queue::{AMQPMethod, Bind, Declare, Delete, Purge, Unbind};
    let (nowait, queue) = (false, words.name(0)?);
    Some(match name {
        "queue.declare" => AMQPMethod::Declare(Declare {
            queue,
            passive: words.has("passive"),
            durable: words.has("durable"),
            exclusive: words.has("exclusive"),
            auto_delete: words.has("auto-delete"),
            nowait,
            arguments: words.arguments(),
        }),
        "queue.bind" => AMQPMethod::Bind(Bind {
            queue,
            exchange: words.name(1)?,
            routing_key: words.name(2)?,
            nowait,
            arguments: FieldTable::default(),
        }),
        "queue.unbind" => AMQPMethod::Unbind(Unbind {
            queue,
            exchange: words.name(1)?,
            routing_key: words.name(2)?,
            arguments: FieldTable::default(),
        }),
        "queue.purge" => AMQPMethod::Purge(Purge { queue, nowait }),
        "queue.delete" => AMQPMethod::Delete(Delete {
            queue,
            if_unused: words.has("if-unused"),
            if_empty: words.has("if-empty"),
            nowait,
        }),
        _ => return None,
    })
}

fn basic_method(name: &str, words: &Words<'_>) -> Option<basic::AMQPMethod> {
    use basic::{AMQPMethod, Ack, Cancel, Consume, Get, Nack, Publish, Qos, Recover, Reject};
    let (requeue, multiple) = (words.has("requeue"), words.has("multiple"));
    Some(match name {
        "basic.qos" => AMQPMethod::Qos(Qos {
            prefetch_count: u16::try_from(words.number()?).ok()?,
            global: words.has("global"),
        }),
        "basic.consume" => AMQPMethod::Consume(Consume {
            queue: words.name(0)?,
            consumer_tag: words.name(1)?,
            no_local: false,
            no_ack: words.has("no-ack"),
            exclusive: words.has("exclusive"),
            nowait: false,
            arguments: FieldTable::default(),
        }),
        "basic.cancel" => AMQPMethod::Cancel(Cancel {
            consumer_tag: words.name(0)?,
            nowait: false,
        }),
        "basic.recover" => AMQPMethod::Recover(Recover { requeue: true }),
        "basic.get" => AMQPMethod::Get(Get {
            queue: words.name(0)?,
            no_ack: words.has("no-ack"),
        }),
        "basic.ack" => AMQPMethod::Ack(Ack {
            delivery_tag: words.number()?,
            multiple,
        }),
        "basic.nack" => AMQPMethod::Nack(Nack {
            delivery_tag: words.number()?,
            multiple,
            requeue,
        }),
        "basic.reject" => AMQPMethod::Reject(Reject {
            delivery_tag: words.number()?,
            requeue,
        }),
        "basic.publish" => AMQPMethod::Publish(Publish {
            exchange: words.name(0)?,
            routing_key: words.name(1)?,
            mandatory: words.has("mandatory"),
            immediate: words.has("immediate"),
        }),
        _ => return None,
    })
}
