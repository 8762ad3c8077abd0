//! One connection as the broker knows it.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicU16, AtomicUsize, Ordering},
    },
};

use amq_protocol::{
    frame::AMQPFrame,
    protocol::{AMQPClass, basic, connection},
    types::{AMQPValue, FieldTable, ShortString},
};
use tokio::sync::watch;

use super::{
    Tune,
    channel::{Channel, Unacked},
    frames::{garbled, short, with_content},
    message::Message,
    outbox::{Outbox, Part},
    queues::Stored,
    refusal::Refusal,
};

/// A client's connection, from its first octet to its last.
#[derive(Debug)]
pub(super) struct Session {
    pub(super) peer: Arc<Peer>,
    pub(super) phase: Phase,
    pub(super) channels: BTreeMap<u16, Channel>,
    /// By which name the client knows the one vhost there is.
    pub(super) vhost: String,
    pub(super) can: Capabilities,
    /// What it was proposed.
    pub(super) offered: Tune,
    pub(super) channel_max: u16,
    pub(super) is_told_blocked: bool,
}

/// What the broker and a connection's socket share.
#[derive(Debug)]
pub(super) struct Peer {
    pub(super) outbox: Outbox,
    /// In seconds; 0 for none.
    pub(super) heartbeat: AtomicU16,
    pub(super) frame_max: AtomicUsize,
    /// Set to `true`, the connection is reset.
    pub(super) cut: watch::Sender<bool>,
    /// `true` when it has ended.
    pub(super) gone: watch::Sender<bool>,
}

/// What the broker waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    Header,
    StartOk,
    TuneOk,
    Open,
    Running,
    /// For the answer to its own `connection.close`.
    CloseOk,
    /// For nothing more: the client has said goodbye.
    Closed,
}

impl Phase {
    /// In RabbitMQ's words.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Header | Self::StartOk => "starting",
            Self::TuneOk => "tuning",
            Self::Open => "opening",
            Self::Running => "running",
            Self::CloseOk => "closing",
            Self::Closed => "closed",
        }
    }
}

/// What a client says that it understands.
#[derive(Debug, Default)]
pub(super) struct Capabilities {
    consumer_cancel_notify: bool,
    connection_blocked: bool,
    pub(super) authentication_failure_close: bool,
}

/// One message on its way to one consumer, or to nobody (`basic.get`).
#[derive(Debug)]
pub(super) struct Handed {
    pub(super) queue: String,
    pub(super) consumer: Option<ShortString>,
    pub(super) no_ack: bool,
    pub(super) stored: Stored,
    /// For `basic.get`: how many messages are left in the queue.
    pub(super) left: usize,
}

/// RabbitMQ's own: 128 KiB.
pub(super) const FRAME_MAX: usize = 131_072;

impl Peer {
    pub(super) fn new(outbox: Outbox) -> Self {
        Self {
            outbox,
            heartbeat: AtomicU16::new(0),
            frame_max: AtomicUsize::new(FRAME_MAX),
            cut: watch::Sender::new(false),
            gone: watch::Sender::new(false),
        }
    }
}

impl Session {
    pub(super) fn new(peer: Arc<Peer>) -> Self {
        Self {
            peer,
            phase: Phase::Header,
            channels: BTreeMap::new(),
            vhost: "/".to_owned(),
            can: Capabilities::default(),
            offered: Tune::default(),
            channel_max: u16::MAX,
            is_told_blocked: false,
        }
    }

    pub(super) fn method(&self, channel: u16, method: AMQPClass) {
        self.peer.outbox.send(&AMQPFrame::Method(channel, method));
    }

    pub(super) fn connection(&self, method: connection::AMQPMethod) {
        self.method(0, AMQPClass::Connection(method));
    }

    pub(super) fn basic(&self, channel: u16, method: basic::AMQPMethod) {
        self.method(channel, AMQPClass::Basic(method));
    }

    pub(super) fn content(&self, channel: u16, method: basic::AMQPMethod, message: &Message) {
        for frame in with_content(
            channel,
            method,
            message,
            self.peer.frame_max.load(Ordering::Relaxed),
        ) {
            if message.is_garbled && matches!(frame, AMQPFrame::Header(..)) {
                self.peer.outbox.raw(&garbled(&frame));
            } else {
                self.peer.outbox.send(&frame);
            }
        }
    }

    /// Hands a message to a channel.
    pub(super) fn hand(&mut self, to: u16, handed: Handed) {
        let Some(channel) = self.channels.get_mut(&to) else {
            return;
        };
        let Handed {
            queue,
            consumer,
            no_ack,
            stored,
            left,
        } = handed;
        channel.last_delivery += 1;
        let (delivery_tag, redelivered) = (channel.last_delivery, stored.redelivered);
        let message = Arc::clone(&stored.message);
        let (exchange, routing_key) = (message.exchange.clone(), message.key.clone());
        let method = match consumer.clone() {
            Some(consumer_tag) => basic::AMQPMethod::Deliver(basic::Deliver {
                consumer_tag,
                delivery_tag,
                redelivered,
                exchange,
                routing_key,
            }),
            None => basic::AMQPMethod::GetOk(basic::GetOk {
                delivery_tag,
                redelivered,
                exchange,
                routing_key,
                message_count: u32::try_from(left).unwrap_or(u32::MAX),
            }),
        };
        if !no_ack {
            channel.hold(
                delivery_tag,
                Unacked {
                    queue,
                    consumer,
                    stored,
                },
            );
        }
        self.content(to, method, &message);
    }

    /// The broker ends a consumer.
    pub(super) fn cancel(&mut self, channel: u16, consumer_tag: &ShortString) {
        if let Some(channel) = self.channels.get_mut(&channel) {
            channel.consumers.remove(consumer_tag);
        }
        if self.can.consumer_cancel_notify {
            let consumer_tag = consumer_tag.clone();
            let cancel = basic::Cancel {
                consumer_tag,
                nowait: true,
            };
            self.basic(channel, basic::AMQPMethod::Cancel(cancel));
        }
    }

    /// The broker closes the connection; `method` is what made it.
    pub(super) fn close(&mut self, refusal: &Refusal, (class_id, method_id): (u16, u16)) {
        self.phase = Phase::CloseOk;
        self.connection(connection::AMQPMethod::Close(connection::Close {
            reply_code: refusal.code,
            reply_text: short(&refusal.text),
            class_id,
            method_id,
        }));
    }

    /// Whether it is to be told that the broker is blocked.
    pub(super) fn hears_of_blocking(&self) -> bool {
        self.phase == Phase::Running && self.can.connection_blocked && !self.is_told_blocked
    }

    /// Everything that is written is sent, then the socket is closed.
    pub(super) fn end(&self) {
        self.peer.outbox.push(Part::End);
    }

    /// The client has said goodbye, and hangs up itself.
    pub(super) fn linger(&self) {
        self.peer.outbox.push(Part::Linger);
    }

    /// The connection is reset, now.
    pub(super) fn cut(&self) {
        self.peer.cut.send_replace(true);
    }
}

impl Capabilities {
    pub(super) fn announced_in(properties: &FieldTable) -> Self {
        let Some(AMQPValue::FieldTable(table)) = properties.inner().get("capabilities") else {
            return Self::default();
        };
        let has = |name: &str| table.inner().get(name) == Some(&AMQPValue::Boolean(true));
        Self {
            consumer_cancel_notify: has("consumer_cancel_notify"),
            connection_blocked: has("connection.blocked"),
            authentication_failure_close: has("authentication_failure_close"),
        }
    }
}
