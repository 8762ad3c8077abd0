//! Frames on channels: content is put together, methods go to whom they concern.

use amq_protocol::{
    frame::AMQPFrame,
    protocol::{AMQPClass, basic, channel, confirm},
};

use super::{
    channel::{Channel, Confirms, Published},
    handshake::ids,
    message::Message,
    refusal::Refusal,
    vhost::{At, Vhost},
};

impl Vhost {
    /// Takes a frame on a channel. What it refuses softly closes the channel; the rest is returned.
    pub(super) fn on_channel(&mut self, at: At, frame: AMQPFrame) -> Result<(), Refusal> {
        let of = ids(&frame);
        match self.channel_frame(at, frame) {
            Err(refusal) if !refusal.is_hard => {
                self.close_channel(at, &refusal, of);
                Ok(())
            }
            done => done,
        }
    }

    fn channel_frame(&mut self, at: At, frame: AMQPFrame) -> Result<(), Refusal> {
        if let AMQPFrame::Method(_, AMQPClass::Channel(channel::AMQPMethod::Open(_))) = frame {
            return self.open_channel(at);
        }
        let Some(channel) = self.channel(at) else {
            return match frame {
                // Both sides closed at once: the answer to a close that crossed ours.
                AMQPFrame::Method(_, AMQPClass::Channel(channel::AMQPMethod::CloseOk(_))) => Ok(()),
                _ => Err(Refusal::channel_error("expected 'channel.open'")),
            };
        };
        if channel.is_closing {
            self.closing_channel(at, &frame);
            return Ok(());
        }
        let complete = match frame {
            AMQPFrame::Header(_, header) => channel.header(header)?,
            AMQPFrame::Body(_, body) => channel.body(body)?,
            AMQPFrame::Method(..) if channel.expects_content() => return Err(channel.unexpected()),
            AMQPFrame::Method(_, AMQPClass::Basic(basic::AMQPMethod::Publish(publish))) => {
                channel.begin(publish);
                None
            }
            AMQPFrame::Method(_, method) => return self.on_method(at, method),
            AMQPFrame::Heartbeat | AMQPFrame::InvalidHeartbeat(_) | AMQPFrame::ProtocolHeader(_) => None,
        };
        if let Some(Published {
            publish,
            properties,
            body,
        }) = complete
        {
            let message = Message {
                exchange: publish.exchange.clone(),
                key: publish.routing_key.clone(),
                properties,
                body: body.into(),
                is_garbled: false,
            };
            self.publish(at, &publish, message)?;
        }
        Ok(())
    }

    fn open_channel(&mut self, at: At) -> Result<(), Refusal> {
        let Some(session) = self.sessions.get_mut(&at.connection) else {
            return Ok(());
        };
        if at.channel > session.channel_max {
            return Err(Refusal::not_allowed(format_args!(
                "channel {} is beyond the {} that were agreed",
                at.channel, session.channel_max
            )));
        }
        if session.channels.contains_key(&at.channel) {
            return Err(Refusal::channel_error("second 'channel.open' seen"));
        }
        session.channels.insert(at.channel, Channel::default());
        let ok = channel::AMQPMethod::OpenOk(channel::OpenOk {});
        session.method(at.channel, AMQPClass::Channel(ok));
        Ok(())
    }

    /// The broker has closed the channel: only an end counts.
    fn closing_channel(&mut self, at: At, frame: &AMQPFrame) {
        use channel::AMQPMethod;
        let Some(session) = self.sessions.get_mut(&at.connection) else {
            return;
        };
        match frame {
            AMQPFrame::Method(_, AMQPClass::Channel(AMQPMethod::CloseOk(_))) => {
                session.channels.remove(&at.channel);
            }
            AMQPFrame::Method(_, AMQPClass::Channel(AMQPMethod::Close(_))) => {
                let ok = AMQPMethod::CloseOk(channel::CloseOk {});
                session.method(at.channel, AMQPClass::Channel(ok));
            }
            _ => {}
        }
    }

    fn on_method(&mut self, at: At, method: AMQPClass) -> Result<(), Refusal> {
        match method {
            AMQPClass::Basic(method) => self.on_basic(at, method),
            AMQPClass::Queue(method) => self.on_queue(at, method),
            AMQPClass::Exchange(method) => self.on_exchange(at, method),
            AMQPClass::Channel(channel::AMQPMethod::Close(_)) => {
                self.release_channel(at);
                if let Some(session) = self.sessions.get_mut(&at.connection) {
                    session.channels.remove(&at.channel);
                    let ok = channel::AMQPMethod::CloseOk(channel::CloseOk {});
                    session.method(at.channel, AMQPClass::Channel(ok));
                }
                Ok(())
            }
            AMQPClass::Channel(channel::AMQPMethod::Flow(channel::Flow { active: true })) => {
                let ok = channel::AMQPMethod::FlowOk(channel::FlowOk { active: true });
                self.tell(at, AMQPClass::Channel(ok));
                Ok(())
            }
            AMQPClass::Channel(channel::AMQPMethod::Flow(_)) => Err(Refusal::not_implemented("active=false")),
            AMQPClass::Confirm(confirm::AMQPMethod::Select(select)) => {
                if let Some(channel) = self.channel(at) {
                    channel.confirms.get_or_insert_with(Confirms::default);
                }
                if !select.nowait {
                    let ok = confirm::AMQPMethod::SelectOk(confirm::SelectOk {});
                    self.tell(at, AMQPClass::Confirm(ok));
                }
                Ok(())
            }
            AMQPClass::Tx(_) => Err(Refusal::not_implemented("the fake broker has no transactions")),
            _ => Err(Refusal::unimplemented()),
        }
    }

    pub(super) fn tell(&self, at: At, method: AMQPClass) {
        if let Some(session) = self.sessions.get(&at.connection) {
            session.method(at.channel, method);
        }
    }
}
