//! The methods of the classes `exchange` and `queue`.

use amq_protocol::protocol::{AMQPClass, exchange, queue};
use nameko_cachetools::ServiceQueue;

use super::{
    exchanges::{Exchange, Target, default_is_off_limits},
    frames::short,
    queues::Declared,
    refusal::Refusal,
    vhost::{At, Vhost},
};

impl Vhost {
    pub(super) fn on_exchange(&mut self, at: At, method: exchange::AMQPMethod) -> Result<(), Refusal> {
        use exchange::AMQPMethod;
        let vhost = self.vhost(at.connection);
        let (nowait, ok) = match method {
            AMQPMethod::Declare(declare) => {
                default_is_off_limits(declare.exchange.as_str())?;
                if declare.passive {
                    self.exchanges.get(declare.exchange.as_str(), &vhost)?;
                } else {
                    let wanted = Exchange {
                        kind: declare.kind.to_string(),
                        durable: declare.durable,
                        auto_delete: declare.auto_delete,
                        internal: declare.internal,
                        ..Exchange::default()
                    };
                    self.exchanges
                        .declare(declare.exchange.as_str(), wanted, &vhost)?;
                }
                (declare.nowait, AMQPMethod::DeclareOk(exchange::DeclareOk {}))
            }
            AMQPMethod::Delete(delete) => {
                self.exchanges
                    .delete(delete.exchange.as_str(), delete.if_unused, &vhost)?;
                (delete.nowait, AMQPMethod::DeleteOk(exchange::DeleteOk {}))
            }
            AMQPMethod::Bind(bind) => {
                default_is_off_limits(bind.destination.as_str())?;
                self.exchanges.get(bind.destination.as_str(), &vhost)?;
                let to = Target::Exchange(bind.destination.to_string());
                let (source, key) = (bind.source.as_str(), bind.routing_key.as_str());
                self.exchanges.bind(source, to, key, bind.arguments, &vhost)?;
                (bind.nowait, AMQPMethod::BindOk(exchange::BindOk {}))
            }
            AMQPMethod::Unbind(unbind) => {
                let to = Target::Exchange(unbind.destination.to_string());
                let (source, key) = (unbind.source.as_str(), unbind.routing_key.as_str());
                self.exchanges.unbind(source, &to, key, &unbind.arguments)?;
                (unbind.nowait, AMQPMethod::UnbindOk(exchange::UnbindOk {}))
            }
            _ => return Err(Refusal::unimplemented()),
        };
        if !nowait {
            self.tell(at, AMQPClass::Exchange(ok));
        }
        Ok(())
    }

    pub(super) fn on_queue(&mut self, at: At, method: queue::AMQPMethod) -> Result<(), Refusal> {
        use queue::AMQPMethod;
        let vhost = self.vhost(at.connection);
        let (nowait, ok) = match method {
            AMQPMethod::Declare(declare) => {
                (declare.nowait, AMQPMethod::DeclareOk(self.declare(at, declare)?))
            }
            AMQPMethod::Bind(bind) => {
                let name = self.named(at, bind.queue.as_str())?;
                self.queues.get(&name, at.connection, &vhost)?;
                let (source, key) = (bind.exchange.as_str(), bind.routing_key.as_str());
                self.exchanges
                    .bind(source, Target::Queue(name), key, bind.arguments, &vhost)?;
                (bind.nowait, AMQPMethod::BindOk(queue::BindOk {}))
            }
            AMQPMethod::Unbind(unbind) => {
                let name = self.named(at, unbind.queue.as_str())?;
                let (source, key) = (unbind.exchange.as_str(), unbind.routing_key.as_str());
                self.exchanges
                    .unbind(source, &Target::Queue(name), key, &unbind.arguments)?;
                (false, AMQPMethod::UnbindOk(queue::UnbindOk {}))
            }
            AMQPMethod::Purge(purge) => {
                let name = self.named(at, purge.queue.as_str())?;
                let message_count = count(self.queues.get(&name, at.connection, &vhost)?.purge());
                (
                    purge.nowait,
                    AMQPMethod::PurgeOk(queue::PurgeOk { message_count }),
                )
            }
            AMQPMethod::Delete(delete) => {
                let name = self.named(at, delete.queue.as_str())?;
                let message_count = count(self.delete(at, &name, &delete, &vhost)?);
                (
                    delete.nowait,
                    AMQPMethod::DeleteOk(queue::DeleteOk { message_count }),
                )
            }
            _ => return Err(Refusal::unimplemented()),
        };
        if !nowait {
            self.tell(at, AMQPClass::Queue(ok));
        }
        Ok(())
    }

    fn declare(&mut self, at: At, declare: queue::Declare) -> Result<queue::DeclareOk, Refusal> {
        let vhost = self.vhost(at.connection);
        let name = match declare.queue.as_str() {
            "" if declare.passive => self.named(at, "")?,
            "" => self.unique("amq.gen"),
            name => name.to_owned(),
        };
        if declare.passive
            && !self.queues.has(&name)
            && let Some(ok) = self.scripted(&name)
        {
            return Ok(ok);
        }
        let is_reserved = declare.queue.as_str().starts_with("amq.");
        if is_reserved && !declare.passive && !self.queues.has(&name) {
            return Err(Refusal::access(format_args!(
                "queue name '{name}' contains reserved prefix 'amq.*'"
            )));
        }
        if !declare.passive {
            let wanted = Declared {
                durable: declare.durable,
                auto_delete: declare.auto_delete,
                owner: declare.exclusive.then_some(at.connection),
                arguments: declare.arguments,
            };
            self.queues.declare(&name, wanted, &vhost)?;
        }
        let queue = self.queues.get(&name, at.connection, &vhost)?;
        let (message_count, consumer_count) = (count(queue.ready()), count(queue.consumers.len()));
        let queue = short(&name);
        if let Some(channel) = self.channel(at) {
            channel.last_queue = Some(name);
        }
        Ok(queue::DeclareOk {
            queue,
            message_count,
            consumer_count,
        })
    }

    /// The queue of one of the script's services, as it looks from outside.
    fn scripted(&self, name: &str) -> Option<queue::DeclareOk> {
        match self.hub.lock().service_queue(name.strip_prefix("rpc-")?) {
            ServiceQueue::Exists { consumers, waiting } => Some(queue::DeclareOk {
                queue: short(name),
                message_count: waiting,
                consumer_count: consumers,
            }),
            _ => None,
        }
    }

    fn delete(&mut self, at: At, name: &str, delete: &queue::Delete, vhost: &str) -> Result<usize, Refusal> {
        if !self.queues.has(name) {
            return Ok(0);
        }
        let queue = self.queues.get(name, at.connection, vhost)?;
        if delete.if_unused && !queue.consumers.is_empty() {
            return Err(Refusal::precondition(format_args!(
                "queue '{name}' in vhost '{vhost}' in use"
            )));
        }
        if delete.if_empty && queue.ready() > 0 {
            return Err(Refusal::precondition(format_args!(
                "queue '{name}' in vhost '{vhost}' not empty"
            )));
        }
        Ok(self.delete_queue(name).map_or(0, |queue| queue.ready()))
    }

    /// No name is that of the queue that the channel declared last.
    pub(super) fn named(&mut self, at: At, name: &str) -> Result<String, Refusal> {
        if !name.is_empty() {
            return Ok(name.to_owned());
        }
        let last = self.channel(at).and_then(|channel| channel.last_queue.clone());
        last.ok_or_else(|| Refusal::not_found("no previously declared queue"))
    }
}

fn count(of: usize) -> u32 {
    u32::try_from(of).unwrap_or(u32::MAX)
}
