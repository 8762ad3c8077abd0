//! What goes on beside requests and replies, each on a channel of its own: a look at a service's queue, and events.

use std::sync::{
    Arc,
    atomic::{AtomicU32, Ordering},
};

use amqprs::{
    channel::{
        BasicConsumeArguments, Channel, ConsumerMessage, ExchangeDeclareArguments, QueueBindArguments,
        QueueDeclareArguments,
    },
    connection::Connection,
    error::Error,
};
use nameko_cachetools::{Event, ServiceQueue};
use nameko_cachetools_amqp::{EventQueue, EventsTold};
use tokio::sync::{mpsc, oneshot};

use crate::{
    connect::LastWords,
    fields::{headers, short},
    publisher::Verdicts,
};

/// How many channels of a connection the broker closed over a look at a queue.
#[derive(Clone, Default)]
pub(crate) struct Spent(Arc<AtomicU32>);

/// amqprs never frees a channel that the broker closed.
const MAX_SPENT: u32 = 100;

/// A passive declaration. The broker closes the channel if there is no such queue, or it is not ours to see.
pub(crate) async fn service_queue(
    connection: Connection,
    name: String,
    spent: Spent,
) -> Result<ServiceQueue, String> {
    if spent.0.load(Ordering::Relaxed) >= MAX_SPENT {
        return Err(format!("{MAX_SPENT} looks were in vain: each costs a channel"));
    }
    let (channel, last_words) = open(&connection).await.map_err(|error| error.to_string())?;
    let mut declare = QueueDeclareArguments::new(short(&name));
    match channel.queue_declare(declare.passive(true).finish()).await {
        Ok(Some((_, waiting, consumers))) => {
            let _ = channel.close().await; // or the connection is closed
            Ok(ServiceQueue::Exists { consumers, waiting })
        }
        Ok(None) => Err("the broker did not answer".to_owned()),
        Err(error) => {
            spent.0.fetch_add(1, Ordering::Relaxed);
            match last_words.code() {
                Some(NOT_FOUND) => Ok(ServiceQueue::Missing),
                _ => Err(error.to_string()),
            }
        }
    }
}

/// Ends when the events do, or nobody waits for that any more. Not within a declaration: that, amqprs can't bear.
pub(crate) async fn listen(
    connection: Connection,
    queue: EventQueue,
    told: EventsTold,
    mut over: oneshot::Sender<String>,
) {
    let (_channel, mut events) = match hear(&connection, &queue).await {
        Ok(hearing) => hearing,
        Err(error) => return drop(over.send(error.to_string())),
    };
    told.begins();
    loop {
        let message = tokio::select! {
            biased;
            () = over.closed() => return,
            message = events.recv() => message,
        };
        match message {
            Some(message) => told.event(event(message)),
            None => return drop(over.send("the consumer has ended".to_owned())),
        }
    }
}

async fn hear(
    connection: &Connection,
    events: &EventQueue,
) -> Result<(Channel, mpsc::UnboundedReceiver<ConsumerMessage>), Error> {
    let (exchange, queue) = (short(&events.exchange), short(&events.name));
    let (mut channel, last_words) = open(connection).await?;
    let mut declare = ExchangeDeclareArguments::new(exchange, "topic");
    match channel.exchange_declare(declare.durable(true).finish()).await {
        // Declared otherwise: as it is, it serves. (nameko's AUTO_DELETE_EVENT_EXCHANGES.)
        Err(_) if last_words.code() == Some(PRECONDITION_FAILED) => (channel, _) = open(connection).await?,
        declared => declared?,
    }
    let mut declare = QueueDeclareArguments::new(queue);
    channel
        .queue_declare(declare.exclusive(true).auto_delete(true).finish())
        .await?;
    for key in &events.types {
        channel
            .queue_bind(QueueBindArguments::new(queue, exchange, short(key)))
            .await?;
    }
    let mut consume = BasicConsumeArguments::new(queue, "");
    let (_, messages) = channel
        .basic_consume_rx(consume.manual_ack(false).finish())
        .await?;
    Ok((channel, messages))
}

fn event(message: ConsumerMessage) -> Event {
    let properties = message.basic_properties.unwrap_or_default();
    let event_type = message.deliver.map(|deliver| deliver.routing_key().clone());
    Event::new(
        event_type.unwrap_or_default(),
        properties.content_type().cloned(),
        message.content.unwrap_or_default(),
    )
    .with_headers(headers(properties.headers()))
}

/// A channel whose end ends nothing else, with what the broker says at that end.
async fn open(connection: &Connection) -> Result<(Channel, LastWords), Error> {
    let channel = connection.open_channel(None).await?;
    let verdicts = Verdicts::default();
    let last_words = verdicts.last_words.clone();
    channel.register_callback(verdicts).await?;
    Ok((channel, last_words))
}

const NOT_FOUND: u16 = 404;
const PRECONDITION_FAILED: u16 = 406;
