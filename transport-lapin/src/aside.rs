//! What goes on beside requests and replies, each on a channel of its own: a look at a service's queue, and events.

use std::sync::Arc;

use futures_util::StreamExt;
use lapin::{
    Connection, Consumer, Error, ErrorKind, ExchangeKind, Result,
    message::Delivery,
    options::{BasicConsumeOptions, ExchangeDeclareOptions, QueueBindOptions, QueueDeclareOptions},
    types::FieldTable,
};
use nameko_cachetools::{Event, ServiceQueue};
use nameko_cachetools_amqp::{EventQueue, EventsTold, Spent};

use crate::fields::{headers, short};

/// A passive declaration. The broker closes the channel if there is no such queue, or it is not ours to see. To be seen
/// through, so that this is counted.
pub(crate) async fn service_queue(
    connection: Arc<Connection>,
    name: String,
    spent: Spent,
) -> std::result::Result<ServiceQueue, String> {
    spent.check()?;
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
            spent.one();
            match reply_code(&error) {
                Some(NOT_FOUND) => Ok(ServiceQueue::Missing),
                _ => Err(error.to_string()),
            }
        }
    }
}

/// Ends when the events do, and says why.
pub(crate) async fn listen(
    connection: &Connection,
    queue: EventQueue,
    told: EventsTold,
    spent: &Spent,
) -> String {
    let mut events = match hear(connection, &queue, spent).await {
        Ok(events) => events,
        Err(reason) => return reason,
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

async fn hear(
    connection: &Connection,
    events: &EventQueue,
    spent: &Spent,
) -> std::result::Result<Consumer, String> {
    spent.check()?;
    consume(connection, events, spent).await.map_err(|error| {
        spent.one();
        error.to_string()
    })
}

/// The consumer keeps its channel open, until it is dropped.
async fn consume(connection: &Connection, events: &EventQueue, spent: &Spent) -> Result<Consumer> {
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
            spent.one();
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

#[cfg(test)]
mod tests {
    use lapin::ConnectionProperties;
    use nameko_cachetools_testkit::FakeBroker;

    use super::*;

    fn events_of(service: &str) -> EventQueue {
        EventQueue {
            exchange: format!("{service}.events"),
            name: format!("evt-{service}"),
            types: vec!["#".to_owned()],
        }
    }

    #[tokio::test]
    async fn listening_that_is_refused_costs_only_so_many_channels() {
        let broker = FakeBroker::new();
        let wire = broker.serve().await;
        let connected = Connection::connect(&wire.uri(), ConnectionProperties::default()).await;
        let (connection, spent) = (connected.unwrap(), Spent::at_most(2));
        let refused = async |service: &str| hear(&connection, &events_of(service), &spent).await.err();
        for _ in 0..2 {
            let reason = refused("amq").await.unwrap(); // a name that is the broker's own
            assert!(reason.contains("reserved prefix"), "{reason}");
        }
        for service in ["amq", "shop"] {
            let reason = refused(service).await.unwrap();
            assert!(reason.contains("closed 2 channels"), "{reason}");
        }
        let others = Spent::at_most(1);
        assert!(hear(&connection, &events_of("shop"), &others).await.is_ok());
        assert!(others.check().is_ok(), "what is granted costs nothing");
    }
}
