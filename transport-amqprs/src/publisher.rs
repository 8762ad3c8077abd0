//! The publish channel: messages out in order, and what the broker says of each.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use amqprs::{
    Ack, BasicProperties, Cancel, CloseChannel, Nack, Return,
    callbacks::ChannelCallback,
    channel::{BasicPublishArguments, Channel},
    error::Error,
};
use async_trait::async_trait;
use nameko_cachetools::{Delivery, JSON};
use nameko_cachetools_amqp::{LinkEvents, Outgoing, Ticket, Topology};
use tokio::sync::mpsc;

use crate::{
    connect::LastWords,
    fields::{short, table},
    link::{CLOSED, Ending},
};

/// Publishes one message after the other.
pub(crate) struct Publisher {
    pub(crate) channel: Channel,
    pub(crate) topology: Topology,
    pub(crate) unconfirmed: Unconfirmed,
    pub(crate) events: LinkEvents,
}

impl Publisher {
    /// Ends when nobody can publish any more.
    pub(crate) async fn run(self, mut messages: mpsc::UnboundedReceiver<Outgoing>) {
        while let Some(message) = messages.recv().await {
            self.publish(message).await;
        }
    }

    /// amqprs takes messages for channels and connections that are closed: on the former, the broker answers by ending
    /// the connection, and with the latter they vanish.
    async fn publish(&self, message: Outgoing) {
        if !(self.channel.is_open() && self.channel.is_connection_open()) {
            return message.ticket.failed(Delivery::NotSent, CLOSED);
        }
        let properties = properties(&message, &self.topology.reply_key);
        let arguments = BasicPublishArguments {
            exchange: short(&self.topology.exchange).to_owned(),
            routing_key: message.routing_key(),
            mandatory: true,
            immediate: false,
        };
        if !self.unconfirmed.expect(message.ticket) {
            self.events
                .lost(format!("{MAX_UNCONFIRMED} requests are not confirmed yet"));
        }
        match self
            .channel
            .basic_publish(properties, message.body.into(), arguments)
            .await
        {
            Ok(()) => self.unconfirmed.queued(),
            Err(error) => self.unconfirmed.take_back(&error),
        }
    }
}

/// Whose confirm is awaited.
#[derive(Clone, Default)]
pub(crate) struct Unconfirmed(Arc<Mutex<Tags<Ticket>>>);

impl Unconfirmed {
    /// The next message's: its confirm may come before `basic_publish` returns. Whether there is room for more.
    fn expect(&self, ticket: Ticket) -> bool {
        let mut tags = self.lock();
        tags.expect(ticket);
        tags.waiting.len() < MAX_UNCONFIRMED
    }

    fn queued(&self) {
        let mut tags = self.lock();
        tags.queued = tags.last;
    }

    /// The last message was not even queued.
    fn take_back(&self, error: &Error) {
        let mut tags = self.lock();
        let last = tags.last;
        let taken = tags.take(last, false);
        taken.for_each(|ticket| ticket.failed(Delivery::NotSent, error.to_string()));
    }

    /// Up to where messages are in amqprs's queue: what is queued now comes behind them.
    pub(crate) fn mark(&self) -> u64 {
        self.lock().queued
    }

    /// The broker has read what was queued before the mark. When the socket took it, amqprs doesn't say.
    pub(crate) fn read_up_to(&self, mark: u64) {
        let mut tags = self.lock();
        let read = tags.up_to(mark);
        let read = tags.waiting.range_mut(..read);
        read.for_each(|(_, ticket)| ticket.written());
    }

    /// Ends what a confirm is about.
    fn end(&self, tag: u64, multiple: bool, how: fn(Ticket)) {
        self.lock().take(tag, multiple).for_each(how);
    }

    fn lock(&self) -> MutexGuard<'_, Tags<Ticket>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What waits for confirms.
struct Tags<T> {
    /// The broker counts the messages of a channel from 1, and so do we.
    last: u64,
    /// The last one that is in amqprs's queue.
    queued: u64,
    /// By delivery tag, in their order. Confirms come from the front, or nearly.
    waiting: VecDeque<(u64, T)>,
}

impl<T> Tags<T> {
    fn expect(&mut self, what: T) {
        self.last += 1;
        self.waiting.push_back((self.last, what));
    }

    /// What a confirm is about: one message; or, with `multiple`, all up to it, or all if the tag is 0.
    fn take(&mut self, tag: u64, multiple: bool) -> impl Iterator<Item = T> {
        let end = match (multiple, tag) {
            (true, 0) => self.waiting.len(),
            _ => self.up_to(tag),
        };
        let start = match multiple {
            true => 0,
            false => self.up_to(tag.saturating_sub(1)),
        };
        self.waiting.drain(start..end).map(|(_, what)| what)
    }

    /// How many have this tag or one before it.
    fn up_to(&self, tag: u64) -> usize {
        self.waiting.partition_point(|(waiting, _)| *waiting <= tag)
    }
}

impl<T> Default for Tags<T> {
    fn default() -> Self {
        Self {
            last: 0,
            queued: 0,
            waiting: VecDeque::new(),
        }
    }
}

/// A broker that answers and never confirms must not fill the memory: some 100 bytes each.
const MAX_UNCONFIRMED: usize = 100_000;

/// Hears what the broker says about a channel.
#[derive(Default)]
pub(crate) struct Verdicts {
    /// If the channel's end is the link's.
    pub(crate) events: Option<LinkEvents>,
    pub(crate) ending: Option<Ending>,
    pub(crate) unconfirmed: Unconfirmed,
    pub(crate) last_words: LastWords,
}

impl Verdicts {
    fn end(&self, reason: String) {
        if let Some(ending) = &self.ending {
            let _ = ending.send(reason); // or another was first
        }
    }
}

#[async_trait]
impl ChannelCallback for Verdicts {
    async fn close(&mut self, _: &Channel, close: CloseChannel) -> Result<(), Error> {
        let said = self.last_words.note(close.reply_code(), close.reply_text());
        self.end(format!("the broker closed a channel: {said}"));
        Ok(())
    }

    async fn cancel(&mut self, _: &Channel, _: Cancel) -> Result<(), Error> {
        self.end("the broker cancelled the reply consumer".to_owned());
        Ok(())
    }

    async fn flow(&mut self, _: &Channel, active: bool) -> Result<bool, Error> {
        Ok(active)
    }

    async fn publish_ack(&mut self, _: &Channel, ack: Ack) {
        self.unconfirmed
            .end(ack.delivery_tag(), ack.mutiple(), Ticket::confirmed);
    }

    async fn publish_nack(&mut self, _: &Channel, nack: Nack) {
        self.unconfirmed
            .end(nack.delivery_tag(), nack.multiple(), Ticket::rejected);
    }

    async fn publish_return(&mut self, _: &Channel, _: Return, properties: BasicProperties, _: Vec<u8>) {
        if let Some(events) = &self.events {
            events.returned(properties.correlation_id().map(String::as_str));
        }
    }
}

/// What kills a nameko service if it is missing is always here: content type and reply-to.
fn properties(message: &Outgoing, reply_to: &str) -> BasicProperties {
    let mut properties = BasicProperties::default();
    properties
        .with_content_type(JSON)
        .with_content_encoding("utf-8")
        .with_headers(table(&message.headers))
        .with_delivery_mode(if message.persistent { 2 } else { 1 })
        .with_priority(0)
        .with_correlation_id(short(&message.correlation_id))
        .with_reply_to(short(reply_to));
    if let Some(ms) = message.expiration_ms {
        properties.with_expiration(&ms.to_string());
    }
    properties
}

#[cfg(test)]
mod tests {
    use super::*;

    impl Tags<char> {
        fn taken(&mut self, tag: u64, multiple: bool) -> String {
            self.take(tag, multiple).collect()
        }
    }

    fn five() -> Tags<char> {
        let mut tags = Tags::default();
        "abcde".chars().for_each(|what| tags.expect(what));
        tags
    }

    #[test]
    fn a_confirm_is_for_one_message_or_for_all_up_to_it() {
        let mut tags = five();
        assert_eq!(tags.taken(2, false), "b");
        assert_eq!(tags.taken(2, false), "", "a second one is for nobody");
        assert_eq!(tags.taken(3, true), "ac");
        assert_eq!(tags.taken(3, true), "");
        assert_eq!(tags.taken(9, false), "", "for a message that never was");
        tags.expect('f');
        assert_eq!(tags.taken(u64::MAX, true), "def");
        assert!(tags.waiting.is_empty());
    }

    #[test]
    fn zero_is_all_of_them() {
        let mut tags = five();
        assert_eq!(tags.taken(0, false), "");
        assert_eq!(tags.taken(0, true), "abcde");
        tags.expect('f');
        assert_eq!(tags.taken(6, false), "f", "the count goes on");
    }
}
