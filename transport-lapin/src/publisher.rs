//! The publish channel: messages out in order, and what the broker says of each.

use std::{
    future::{Future, poll_fn},
    pin::{Pin, pin},
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll, Waker},
};

use futures_util::{StreamExt, stream::FuturesUnordered};
use lapin::{BasicProperties, Channel, options::BasicPublishOptions, types::ShortString};
use nameko_cachetools::{Delivery, JSON};
use nameko_cachetools_amqp::{LinkEvents, Outgoing, Topology};
use tokio::{sync::mpsc, task::JoinSet};

use crate::fields::{short, table};

/// Publishes from any task at once.
pub(crate) struct Publisher {
    /// In an `Arc`, because a clone of a channel is a dozen of them.
    channel: Arc<Channel>,
    exchange: ShortString,
    reply_to: ShortString,
    events: LinkEvents,
    /// To the task that sees each publishing through, its confirm included: lapin keeps what is dropped half-way.
    /// The lock keeps the order of publishing, see [`publish`](Self::publish).
    underway: Mutex<mpsc::UnboundedSender<Publishing>>,
}

/// From queueing to confirm. It holds all it needs, so that a caller who leaves doesn't end it.
type Publishing = Pin<Box<dyn Future<Output = ()> + Send>>;

impl Publisher {
    pub(crate) fn start(
        channel: Channel,
        topology: &Topology,
        events: LinkEvents,
        tasks: &mut JoinSet<()>,
    ) -> Self {
        let (underway, publishings) = mpsc::unbounded_channel();
        tasks.spawn(see_through(publishings, events.clone()));
        Self {
            channel: Arc::new(channel),
            exchange: short(&topology.exchange),
            reply_to: short(&topology.reply_key),
            events,
            underway: Mutex::new(underway),
        }
    }

    /// lapin numbers a message and queues its frames within the first poll, but under two locks of its own, so that
    /// messages published at once get each other's confirms. One poll at a time under our lock, and they don't.
    pub(crate) fn publish(&self, message: Outgoing) {
        let mut publishing = self.publishing(message);
        let underway = self.underway.lock().unwrap_or_else(PoisonError::into_inner);
        let first = publishing.as_mut().poll(&mut Context::from_waker(Waker::noop()));
        if first.is_pending() {
            // The task is gone only with the link, and then the supervisor ends the request.
            let _ = underway.send(publishing);
        }
    }

    fn publishing(&self, mut message: Outgoing) -> Publishing {
        let (channel, events) = (self.channel.clone(), self.events.clone());
        let (exchange, route) = (self.exchange.clone(), short(message.routing_key()));
        let properties = properties(&mut message, &self.reply_to);
        Box::pin(async move {
            let Outgoing { body, mut ticket, .. } = message;
            let options = BasicPublishOptions {
                mandatory: true,
                ..BasicPublishOptions::default()
            };
            let mut publish = pin!(channel.basic_publish(exchange, route, options, &body, properties));
            // An error that comes before anything was queued means that nothing was sent; a later one, nothing.
            let at_once = poll_fn(|cx| Poll::Ready(publish.as_mut().poll(cx))).await;
            let (outcome, if_failed) = match at_once {
                Poll::Ready(outcome) => (outcome, Delivery::NotSent),
                Poll::Pending => (publish.await, Delivery::Unknown),
            };
            let confirm = match outcome {
                Ok(confirm) => confirm,
                Err(error) => return ticket.failed(if_failed, error.to_string()),
            };
            ticket.written();
            let Ok(confirmation) = confirm.await else {
                return; // the link is over
            };
            let refused = confirmation.is_nack();
            if let Some(returned) = confirmation.take_message() {
                // Any message's, not necessarily this one's: whichever confirm comes next after a return brings it.
                let id = returned.properties.correlation_id().as_ref();
                events.returned(id.map(ShortString::as_str));
            }
            if refused {
                ticket.rejected();
            } else {
                ticket.confirmed();
            }
        })
    }
}

/// Drives all publishings, each on its own: one confirm that never comes holds up no other.
async fn see_through(mut publishings: mpsc::UnboundedReceiver<Publishing>, events: LinkEvents) {
    let mut underway = FuturesUnordered::new();
    loop {
        tokio::select! {
            biased; // towards those that end
            Some(()) = underway.next() => {}
            publishing = publishings.recv() => match publishing {
                Some(publishing) if underway.len() < MAX_UNCONFIRMED => underway.push(publishing),
                Some(_) => return events.lost(format!("{MAX_UNCONFIRMED} requests are not confirmed yet")),
                None => return,
            },
        }
    }
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
