//! What goes on beside requests and replies, each on a channel of its own: a look at a service's queue, and events.

use std::sync::{
    Arc,
    atomic::{AtomicU32, Ordering},
};

use futures_util::StreamExt;
use lapin::{
    Connection, Consumer, Error, ErrorKind, ExchangeKind, Result,
    message::Delivery,
    options::{BasicConsumeOptions, ExchangeDeclareOptions, QueueBindOptions, QueueDeclareOptions},
    types::FieldTable,
};
use nameko_cachetools::{Event, ServiceQueue};
use nameko_cachetools_amqp::{EventQueue, EventsTold};

use crate::fields::{headers, short};

/// How many channels of a connection the broker closed over a look at a queue.
#[derive(Clone, Default)]
pub(crate) struct Spent(Arc<AtomicU32>);

/// lapin never uses a channel's number again that the broker closed.
const MAX_SPENT: u32 = 100;

/// A passive declaration. The broker closes the channel if there is no such queue, or it is not ours to see. To be seen
/// through, so that this is counted.
pub(crate) async fn service_queue(
    connection: Arc<Connection>,
    name: String,
    spent: Spent,
) -> std::result::Result<ServiceQueue, String> {
    if spent.0.load(Ordering::Relaxed) >= MAX_SPENT {
        return Err(format!("{MAX_SPENT} looks were in vain: each costs a channel"));
    }
    let channel = connection
        .create_channel()
        .await
        .map_err(|error| error.to_string())?;
    let passive = QueueDeclareOptions {
        passive: true,
        ..QueueDeclareOptions::default()
    };
    match channel
        .queue_declare(short(&name), passive, FieldTable::default())
        .await
    {
        Ok(queue) => {
            let _ = channel.close(200, short("done")).await; // or the connection is closed
            Ok(ServiceQueue::Exists {
                consumers: queue.consumer_count(),
                waiting: queue.message_count(),
            })
        }
        Err(error) => {
            spent.0.fetch_add(1, Ordering::Relaxed);
            match reply_code(&error) {
                Some(NOT_FOUND) => Ok(ServiceQueue::Missing),
                _ => Err(error.to_string()),
            }
        }
    }
}

/// Ends when the events do, and says why.
pub(crate) async fn listen(connection: &Connection, queue: EventQueue, told: EventsTold) -> String {
    let mut events = match hear(connection, &queue).await {
        Ok(events) => events,
        Err(error) => return error.to_string(),
    };
    told.begins();
    while let Some(delivery) = events.next().await {
        match delivery {
            Ok(delivery) => told.event(event(delivery)),
            Err(error) => return error.to_string(),
        }
    }
    "the consumer has ended".to_owned()
}

/// The consumer keeps its channel open, until it is dropped.
async fn hear(connection: &Connection, events: &EventQueue) -> Result<Consumer> {
    let (exchange, queue, none) = (short(&events.exchange), short(&events.name), FieldTable::default);
    let durable = ExchangeDeclareOptions {
        durable: true,
        ..ExchangeDeclareOptions::default()
    };
    let mut channel = connection.create_channel().await?;
    let declared = channel.exchange_declare(exchange.clone(), ExchangeKind::Topic, durable, none());
    match declared.await {
        // Declared otherwise: as it is, it serves. (nameko's AUTO_DELETE_EVENT_EXCHANGES.)
        Err(error) if reply_code(&error) == Some(PRECONDITION_FAILED) => {
            channel = connection.create_channel().await?;
        }
        declared => declared?,
    }
    let exclusive = QueueDeclareOptions {
        exclusive: true,
        auto_delete: true,
        ..QueueDeclareOptions::default()
    };
    channel.queue_declare(queue.clone(), exclusive, none()).await?;
    for key in &events.types {
        let (queue, key, options) = (queue.clone(), short(key), QueueBindOptions::default());
        channel
            .queue_bind(queue, exchange.clone(), key, options, none())
            .await?;
    }
    let no_ack = BasicConsumeOptions {
        no_ack: true,
        ..BasicConsumeOptions::default()
    };
    channel.basic_consume(queue, short(""), no_ack, none()).await
}

fn event(delivery: Delivery) -> Event {
    let properties = &delivery.properties;
    let content_type = properties.content_type().as_ref().map(ToString::to_string);
    let headers = headers(properties.headers().as_ref());
    Event::new(delivery.routing_key.to_string(), content_type, delivery.data).with_headers(headers)
}

fn reply_code(error: &Error) -> Option<u16> {
    match error.kind() {
        ErrorKind::ProtocolError(protocol) => Some(protocol.get_id()),
        _ => None,
    }
}

const NOT_FOUND: u16 = 404;
const PRECONDITION_FAILED: u16 = 406;
