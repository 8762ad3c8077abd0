//! The methods of the class `basic`, but for publishing.

use amq_protocol::protocol::{AMQPClass, basic};

use super::{
    frames::short,
    queues::Consumer,
    refusal::Refusal,
    session::Handed,
    vhost::{At, Vhost},
};

impl Vhost {
    pub(super) fn on_basic(&mut self, at: At, method: basic::AMQPMethod) -> Result<(), Refusal> {
        use basic::AMQPMethod;
        match method {
            AMQPMethod::Qos(qos) => self.qos(at, &qos),
            AMQPMethod::Consume(consume) => self.consume(at, &consume),
            AMQPMethod::Cancel(cancel) => {
                self.remove_consumers(at, Some(&cancel.consumer_tag));
                if let Some(channel) = self.channel(at) {
                    channel.consumers.remove(&cancel.consumer_tag);
                }
                if !cancel.nowait {
                    let consumer_tag = cancel.consumer_tag;
                    self.basic(at, AMQPMethod::CancelOk(basic::CancelOk { consumer_tag }));
                }
                Ok(())
            }
            AMQPMethod::Get(get) => self.get(at, &get),
            AMQPMethod::Ack(ack) => self.settle(at, ack.delivery_tag, ack.multiple, false),
            AMQPMethod::Nack(nack) => self.settle(at, nack.delivery_tag, nack.multiple, nack.requeue),
            AMQPMethod::Reject(reject) => self.settle(at, reject.delivery_tag, false, reject.requeue),
            AMQPMethod::Recover(basic::Recover { requeue }) => {
                self.recover(at, requeue)?;
                self.basic(at, AMQPMethod::RecoverOk(basic::RecoverOk {}));
                Ok(())
            }
            AMQPMethod::RecoverAsync(basic::RecoverAsync { requeue }) => self.recover(at, requeue),
            _ => Err(Refusal::unimplemented()),
        }
    }

    fn qos(&mut self, at: At, qos: &basic::Qos) -> Result<(), Refusal> {
        if let Some(channel) = self.channel(at) {
            let limit = usize::from(qos.prefetch_count);
            if qos.global {
                channel.global_prefetch = limit;
            } else {
                channel.prefetch = limit;
            }
        }
        self.basic(at, basic::AMQPMethod::QosOk(basic::QosOk {}));
        self.pump_own(at); // there may be room for more now
        Ok(())
    }

    fn consume(&mut self, at: At, consume: &basic::Consume) -> Result<(), Refusal> {
        let (vhost, name) = (self.vhost(at.connection), self.named(at, consume.queue.as_str())?);
        let tag = match consume.consumer_tag.as_str() {
            "" => short(&self.unique("amq.ctag")),
            tag => short(tag),
        };
        if self
            .channel(at)
            .is_some_and(|channel| channel.consumers.contains_key(&tag))
        {
            return Err(Refusal::not_allowed(format_args!(
                "attempt to reuse consumer tag '{tag}'"
            )));
        }
        let consumer = Consumer {
            connection: at.connection,
            channel: at.channel,
            tag: tag.clone(),
            exclusive: consume.exclusive,
        };
        self.queues
            .get(&name, at.connection, &vhost)?
            .add_consumer(&name, consumer, &vhost)?;
        if let Some(channel) = self.channel(at) {
            channel.consume(tag.clone(), name.clone(), consume.no_ack);
        }
        if !consume.nowait {
            let ok = basic::AMQPMethod::ConsumeOk(basic::ConsumeOk { consumer_tag: tag });
            self.tell(at, AMQPClass::Basic(ok));
        }
        self.pump(&name);
        Ok(())
    }

    fn get(&mut self, at: At, get: &basic::Get) -> Result<(), Refusal> {
        let (vhost, name) = (self.vhost(at.connection), self.named(at, get.queue.as_str())?);
        let queue = self.queues.get(&name, at.connection, &vhost)?;
        let (first, left) = (queue.pop(), queue.ready());
        let Some(stored) = first else {
            self.basic(at, basic::AMQPMethod::GetEmpty(basic::GetEmpty {}));
            return Ok(());
        };
        if let Some(session) = self.sessions.get_mut(&at.connection) {
            let (queue, consumer, no_ack) = (name, None, get.no_ack);
            session.hand(
                at.channel,
                Handed {
                    queue,
                    consumer,
                    no_ack,
                    stored,
                    left,
                },
            );
        }
        Ok(())
    }

    /// Acknowledgements, and refusals with or without another try.
    fn settle(&mut self, at: At, delivery: u64, multiple: bool, requeue: bool) -> Result<(), Refusal> {
        let Some(channel) = self.channel(at) else {
            return Ok(());
        };
        let settled = channel.settle(delivery, multiple)?;
        if requeue {
            self.requeue(settled);
        }
        self.pump_own(at);
        Ok(())
    }

    /// Hands out what waits in the queues that a channel consumes.
    fn pump_own(&mut self, at: At) {
        let own = self
            .channel(at)
            .map(|channel| channel.consumers.values().map(|own| own.queue.clone()).collect());
        for queue in Option::<Vec<String>>::unwrap_or_default(own) {
            self.pump(&queue);
        }
    }

    fn recover(&mut self, at: At, requeue: bool) -> Result<(), Refusal> {
        if !requeue {
            return Err(Refusal::not_implemented("requeue=false"));
        }
        if let Some(channel) = self.channel(at) {
            let unacked = channel.release_all();
            self.requeue(unacked);
        }
        Ok(())
    }
}
