//! The publish channel: messages out in order, and what the broker says of each.

use std::{future::poll_fn, pin::Pin, task::Poll};

use futures_util::{StreamExt, stream::FuturesUnordered};
use lapin::{BasicProperties, Channel, options::BasicPublishOptions, types::ShortString};
use nameko_cachetools::{Delivery, JSON};
use nameko_cachetools_amqp::{LinkEvents, Outgoing, Topology};
use tokio::sync::mpsc;

use crate::{
    fields::{short, table},
    link::{CLOSED, Ending},
};

/// Publishes messages in their order.
///
/// One task does: lapin numbers a message and queues its frames under two locks of its own, so that messages published
/// from several tasks at once get each other's confirms.
pub(crate) struct Publisher {
    channel: Channel,
    exchange: ShortString,
    reply_to: ShortString,
    ending: Ending,
    events: LinkEvents,
}

impl Publisher {
    pub(crate) fn new(channel: Channel, topology: &Topology, ending: Ending, events: LinkEvents) -> Self {
        Self {
            channel,
            exchange: short(&topology.exchange),
            reply_to: short(&topology.reply_key),
            ending,
            events,
        }
    }

    /// Sees each message through, its confirm included: lapin keeps what is dropped half-way. One confirm that never
    /// comes holds up no other. Ends when nobody can publish any more.
    pub(crate) async fn run(self, mut messages: mpsc::UnboundedReceiver<Outgoing>) {
        let mut underway = FuturesUnordered::new();
        loop {
            let message = tokio::select! {
                biased; // towards those that end, or an endless stream of messages would keep them from it
                Some(()) = underway.next() => continue,
                message = messages.recv() => message,
            };
            let Some(message) = message else { return };
            if underway.len() >= MAX_UNCONFIRMED {
                return self
                    .events
                    .lost(format!("{MAX_UNCONFIRMED} requests are not confirmed yet"));
            }
            let mut publishing = Box::pin(self.publish(message));
            if once(publishing.as_mut()).await.is_pending() {
                underway.push(publishing);
            }
        }
    }

    /// From queueing, with the first poll, to the confirm.
    async fn publish(&self, mut message: Outgoing) {
        if !self.channel.status().connected() {
            return message.ticket.failed(Delivery::NotSent, CLOSED);
        }
        let (exchange, route) = (self.exchange.clone(), short(message.routing_key()));
        let properties = properties(&mut message, &self.reply_to);
        let options = BasicPublishOptions {
            mandatory: true,
            ..BasicPublishOptions::default()
        };
        let publish = self
            .channel
            .basic_publish(exchange, route, options, &message.body, properties);
        // After an error the link is over. What was queued may have been sent all the same, and the reply may be there.
        let confirm = match publish.await {
            Ok(confirm) => confirm,
            Err(error) => return drop(self.ending.send(error.to_string())),
        };
        let mut ticket = { message }.ticket; // alone: body and headers don't wait for the confirm
        ticket.written();
        let Ok(confirmation) = confirm.await else {
            return; // the link is over
        };
        let refused = confirmation.is_nack();
        if let Some(returned) = confirmation.take_message() {
            // Any message's, not necessarily this one's: whichever confirm comes next after a return brings it.
            let id = returned.properties.correlation_id().as_ref();
            self.events.returned(id.map(ShortString::as_str));
        }
        if refused {
            ticket.rejected();
        } else {
            ticket.confirmed();
        }
    }
}

/// Polls a future once.
async fn once<F: Future>(mut future: Pin<&mut F>) -> Poll<F::Output> {
    poll_fn(|cx| Poll::Ready(future.as_mut().poll(cx))).await
}

/// A broker that answers and never confirms must not fill the memory: about 1 KiB each.
const MAX_UNCONFIRMED: usize = 100_000;

/// What kills a nameko service if it is missing is always here: content type and reply-to.
fn properties(message: &mut Outgoing, reply_to: &ShortString) -> BasicProperties {
    let properties = BasicProperties::default()
        .with_content_type(short(JSON))
        .with_content_encoding(short("utf-8"))
        .with_headers(table(&message.headers))
        .with_delivery_mode(if message.persistent { 2 } else { 1 })
        .with_priority(0)
        .with_correlation_id(short(std::mem::take(&mut message.correlation_id)))
        .with_reply_to(reply_to.clone());
    match message.expiration_ms {
        Some(ms) => properties.with_expiration(short(ms.to_string())),
        None => properties,
    }
}
