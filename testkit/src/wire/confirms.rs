//! What publishers are told of their messages.

use std::time::Duration;

use amq_protocol::protocol::basic;

use super::{
    fault::Confirming,
    message::Message,
    vhost::{At, Effect, Origin, Vhost},
};

impl Vhost {
    /// No queue takes a message: it comes back if it must, and is confirmed in any case.
    pub(super) fn unroutable(&mut self, origin: Origin, message: &Message) {
        if let Some(session) = self
            .sessions
            .get(&origin.at.connection)
            .filter(|_| origin.mandatory)
        {
            let returned = basic::AMQPMethod::Return(basic::Return {
                reply_code: 312,
                reply_text: "NO_ROUTE".into(),
                exchange: message.exchange.clone(),
                routing_key: message.key.clone(),
            });
            session.content(origin.at.channel, returned, message);
        }
        match self.faults.confirming() {
            Confirming::Refused => self.confirm_now(origin, true), // there is nothing to store
            _ => self.confirm(origin, true),
        }
    }

    /// Tells a publisher what became of its message.
    pub(super) fn confirm(&mut self, origin: Origin, ack: bool) {
        match self.faults.confirming() {
            Confirming::AtOnce => self.confirm_now(origin, ack),
            Confirming::Refused => self.confirm_now(origin, false),
            Confirming::Never => {}
            Confirming::Late(after) => self.effects.push(Effect::Confirm { after, origin, ack }),
            Confirming::Batches(most) if ack => self.gather(origin, most),
            Confirming::Batches(_) => self.confirm_now(origin, ack),
        }
    }

    pub(super) fn confirm_now(&mut self, origin: Origin, ack: bool) {
        let confirms = self
            .channel(origin.at)
            .and_then(|channel| channel.confirms.as_mut());
        let (Some(delivery_tag), Some(confirms)) = (origin.tag, confirms) else {
            return;
        };
        confirms.close(delivery_tag);
        let (multiple, requeue) = (false, false);
        let method = if ack {
            basic::AMQPMethod::Ack(basic::Ack {
                delivery_tag,
                multiple,
            })
        } else {
            basic::AMQPMethod::Nack(basic::Nack {
                delivery_tag,
                multiple,
                requeue,
            })
        };
        self.basic(origin.at, method);
    }

    fn gather(&mut self, origin: Origin, most: usize) {
        let confirms = self
            .channel(origin.at)
            .and_then(|channel| channel.confirms.as_mut());
        let (Some(tag), Some(confirms)) = (origin.tag, confirms) else {
            return;
        };
        match confirms.gather(tag) {
            gathered if gathered >= most => self.flush(origin.at),
            1 => self.effects.push(Effect::Flush {
                after: GATHERED,
                at: origin.at,
            }),
            _ => {}
        }
    }

    /// Sends gathered confirms.
    pub(super) fn flush(&mut self, at: At) {
        let Some(confirms) = self.channel(at).and_then(|channel| channel.confirms.as_mut()) else {
            return;
        };
        let (last, single) = confirms.flush();
        let acks = last
            .map(|tag| (tag, true))
            .into_iter()
            .chain(single.into_iter().map(|tag| (tag, false)));
        for (delivery_tag, multiple) in acks {
            self.basic(
                at,
                basic::AMQPMethod::Ack(basic::Ack {
                    delivery_tag,
                    multiple,
                }),
            );
        }
    }
}

/// How long gathered confirms wait for others.
const GATHERED: Duration = Duration::from_millis(50);
