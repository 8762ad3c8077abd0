//! Exchanges, bindings, and which queues a message reaches.

use std::collections::{BTreeMap, BTreeSet};

use amq_protocol::types::{AMQPValue, FieldTable};

use super::{message::Message, refusal::Refusal};
use crate::topic::matches;

/// All exchanges of the broker, those that every RabbitMQ has included.
#[derive(Debug)]
pub(super) struct Exchanges {
    by_name: BTreeMap<String, Exchange>,
}

/// One exchange, as it was declared.
#[derive(Debug, Clone, Default)]
pub(super) struct Exchange {
    pub(super) kind: String,
    pub(super) durable: bool,
    pub(super) auto_delete: bool,
    pub(super) internal: bool,
    pub(super) bindings: Vec<Binding>,
    /// An auto-delete exchange waits for its first binding.
    pub(super) was_bound: bool,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) struct Binding {
    to: Target,
    key: String,
    arguments: FieldTable,
}

/// Where a binding leads.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Target {
    Queue(String),
    Exchange(String),
}

/// What the default exchange is called.
const DEFAULT: &str = "";
const KINDS: [&str; 4] = ["direct", "fanout", "topic", "headers"];

impl Exchanges {
    /// With the exchange that nameko services have declared.
    pub(super) fn new(rpc: &str) -> Self {
        let predeclared = [
            (rpc, "topic"),
            (DEFAULT, "direct"),
            ("amq.direct", "direct"),
            ("amq.fanout", "fanout"),
            ("amq.topic", "topic"),
            ("amq.headers", "headers"),
            ("amq.match", "headers"),
        ];
        let durable = |kind: &str| Exchange {
            kind: kind.to_owned(),
            durable: true,
            ..Exchange::default()
        };
        Self {
            by_name: predeclared
                .map(|(name, kind)| (name.to_owned(), durable(kind)))
                .into(),
        }
    }

    pub(super) fn get(&self, name: &str, vhost: &str) -> Result<&Exchange, Refusal> {
        self.by_name
            .get(name)
            .ok_or_else(|| Refusal::no_exchange(name, vhost))
    }

    pub(super) fn declare(&mut self, name: &str, wanted: Exchange, vhost: &str) -> Result<(), Refusal> {
        if !KINDS.contains(&wanted.kind.as_str()) {
            return Err(Refusal::command_invalid(format_args!(
                "unknown exchange type '{}'",
                wanted.kind
            )));
        }
        let Some(current) = self.by_name.get(name) else {
            if name.starts_with("amq.") {
                return Err(Refusal::access(format_args!(
                    "exchange name '{name}' contains reserved prefix 'amq.*'"
                )));
            }
            self.by_name.insert(name.to_owned(), wanted);
            return Ok(());
        };
        let of = format!("exchange '{name}' in vhost '{vhost}'");
        for (argument, received, current) in [
            ("type", wanted.kind.clone(), current.kind.clone()),
            ("durable", wanted.durable.to_string(), current.durable.to_string()),
            (
                "auto_delete",
                wanted.auto_delete.to_string(),
                current.auto_delete.to_string(),
            ),
            (
                "internal",
                wanted.internal.to_string(),
                current.internal.to_string(),
            ),
        ] {
            if received != current {
                let (received, current) = (format!("'{received}'"), format!("'{current}'"));
                return Err(Refusal::inequivalent(argument, &of, &received, &current));
            }
        }
        Ok(())
    }

    /// Deletes an exchange; that there is none is fine.
    pub(super) fn delete(&mut self, name: &str, if_unused: bool, vhost: &str) -> Result<(), Refusal> {
        default_is_off_limits(name)?;
        if name.starts_with("amq.") {
            return Err(Refusal::access(format_args!(
                "deletion of system exchange '{name}' in vhost '{vhost}' not allowed"
            )));
        }
        if if_unused
            && self
                .by_name
                .get(name)
                .is_some_and(|exchange| !exchange.bindings.is_empty())
        {
            return Err(Refusal::precondition(format_args!(
                "exchange '{name}' in vhost '{vhost}' in use"
            )));
        }
        self.by_name.remove(name);
        self.forget(&Target::Exchange(name.to_owned()));
        Ok(())
    }

    pub(super) fn bind(
        &mut self,
        source: &str,
        to: Target,
        key: &str,
        arguments: FieldTable,
        vhost: &str,
    ) -> Result<(), Refusal> {
        default_is_off_limits(source)?;
        let exchange = self
            .by_name
            .get_mut(source)
            .ok_or_else(|| Refusal::no_exchange(source, vhost))?;
        let key = key.to_owned();
        let binding = Binding { to, key, arguments };
        exchange.was_bound = true;
        if !exchange.bindings.contains(&binding) {
            exchange.bindings.push(binding);
        }
        Ok(())
    }

    pub(super) fn unbind(
        &mut self,
        source: &str,
        to: &Target,
        key: &str,
        arguments: &FieldTable,
    ) -> Result<(), Refusal> {
        default_is_off_limits(source)?;
        if let Some(exchange) = self.by_name.get_mut(source) {
            exchange
                .bindings
                .retain(|own| (&own.to, own.key.as_str(), &own.arguments) != (to, key, arguments));
        }
        self.drop_unused();
        Ok(())
    }

    /// A queue or an exchange is gone, and all bindings to it.
    pub(super) fn forget(&mut self, gone: &Target) {
        for exchange in self.by_name.values_mut() {
            exchange.bindings.retain(|binding| binding.to != *gone);
        }
        self.drop_unused();
    }

    /// The queues that `message` reaches, each once.
    pub(super) fn route(&self, message: &Message) -> BTreeSet<String> {
        let (mut queues, mut seen) = (BTreeSet::new(), BTreeSet::new());
        if message.exchange.as_str() == DEFAULT {
            queues.insert(message.key.to_string());
            return queues;
        }
        let mut next = vec![message.exchange.as_str()];
        while let Some(name) = next.pop() {
            let Some(exchange) = self.by_name.get(name).filter(|_| seen.insert(name)) else {
                continue;
            };
            for binding in exchange
                .bindings
                .iter()
                .filter(|binding| exchange.leads(binding, message))
            {
                match &binding.to {
                    Target::Queue(queue) => drop(queues.insert(queue.clone())),
                    Target::Exchange(exchange) => next.push(exchange),
                }
            }
        }
        queues
    }

    /// An auto-delete exchange goes with its last binding.
    fn drop_unused(&mut self) {
        let is_unused =
            |exchange: &Exchange| exchange.auto_delete && exchange.was_bound && exchange.bindings.is_empty();
        let unused = self.by_name.iter().find(|(_, exchange)| is_unused(exchange));
        if let Some(name) = unused.map(|(name, _)| name.clone()) {
            self.by_name.remove(&name);
            self.forget(&Target::Exchange(name)); // by which others may be unused
        }
    }
}

impl Exchange {
    fn leads(&self, binding: &Binding, message: &Message) -> bool {
        match self.kind.as_str() {
            "fanout" => true,
            "topic" => matches(&binding.key, message.key.as_str()),
            "headers" => has(message.properties.headers().as_ref(), &binding.arguments),
            _ => binding.key == message.key.as_str(),
        }
    }
}

pub(super) fn default_is_off_limits(name: &str) -> Result<(), Refusal> {
    if name == DEFAULT {
        return Err(Refusal::access("operation not permitted on the default exchange"));
    }
    Ok(())
}

/// Whether headers are those that a binding of a headers exchange asks for.
fn has(headers: Option<&FieldTable>, wanted: &FieldTable) -> bool {
    let is = |(name, value): (&amq_protocol::types::ShortString, &AMQPValue)| {
        headers.and_then(|headers| headers.inner().get(name)) == Some(value)
    };
    let any = wanted.inner().get("x-match") == Some(&AMQPValue::LongString("any".into()));
    let mut asked = wanted
        .into_iter()
        .filter(|(name, _)| !name.as_str().starts_with("x-"));
    if any { asked.any(is) } else { asked.all(is) }
}
