//! What goes on beside requests and replies, each on a channel of its own: a look at a service's queue, and events.

use amqprs::{
    channel::{
        BasicConsumeArguments, Channel, ConsumerMessage, ExchangeDeclareArguments, QueueBindArguments,
        QueueDeclareArguments,
    },
    connection::Connection,
    error::Error,
};
use nameko_cachetools::{Event, ServiceQueue};
use nameko_cachetools_amqp::{EventQueue, EventsTold, Spent};
use tokio::sync::{mpsc, oneshot};

use crate::{
    connect::LastWords,
    fields::{headers, short},
    publisher::Verdicts,
};

/// A passive declaration. The broker closes the channel if there is no such queue, or it is not ours to see.
pub(crate) async fn service_queue(
    connection: Connection,
    name: String,
    spent: Spent,
) -> Result<ServiceQueue, String> {
    spent.check()?;
    let (channel, last_words) = open(&connection).await.map_err(|error| error.to_string())?;
    let mut declare = QueueDeclareArguments::new(short(&name));
    match channel.queue_declare(declare.passive(true).finish()).await {
        Ok(Some((_, waiting, consumers))) => {
            let _ = channel.close().await; // or the connection is closed
            Ok(ServiceQueue::Exists { consumers, waiting })
        }
        Ok(None) => Err("the broker did not answer".to_owned()),
        Err(error) => {
            spent.one();
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
    spent: Spent,
    mut over: oneshot::Sender<String>,
) {
    let (_channel, mut events) = match hear(&connection, &queue, &spent).await {
        Ok(hearing) => hearing,
        Err(reason) => return drop(over.send(reason)),
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

type Hearing = (Channel, mpsc::UnboundedReceiver<ConsumerMessage>);

async fn hear(connection: &Connection, events: &EventQueue, spent: &Spent) -> Result<Hearing, String> {
    spent.check()?;
    consume(connection, events, spent).await.map_err(|error| {
        spent.one();
        error.to_string()
    })
}

async fn consume(connection: &Connection, events: &EventQueue, spent: &Spent) -> Result<Hearing, Error> {
    let (exchange, queue) = (short(&events.exchange), short(&events.name));
    let (mut channel, last_words) = open(connection).await?;
    let mut declare = ExchangeDeclareArguments::new(exchange, "topic");
    match channel.exchange_declare(declare.durable(true).finish()).await {
        // Declared otherwise: as it is, it serves. (nameko's AUTO_DELETE_EVENT_EXCHANGES.)
        Err(_) if last_words.code() == Some(PRECONDITION_FAILED) => {
            spent.one();
            (channel, _) = open(connection).await?;
        }
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
    let mut arguments = BasicConsumeArguments::new(queue, "");
    let (_, messages) = channel
        .basic_consume_rx(arguments.manual_ack(false).finish())
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

#[cfg(test)]
mod tests {
    use amqprs::connection::OpenConnectionArguments;
    use nameko_cachetools_amqp::Address;
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
        let Address {
            host,
            port,
            user,
            password,
            ..
        } = &Address::parse(&wire.uri()).unwrap()[0];
        let arguments = OpenConnectionArguments::new(host, *port, user, password);
        let (connection, spent) = (Connection::open(&arguments).await.unwrap(), Spent::at_most(2));
        let refused = async |service: &str| hear(&connection, &events_of(service), &spent).await.err();
        for _ in 0..2 {
            let reason = refused("amq").await.unwrap(); // a name that is the broker's own
            assert!(!reason.contains("closed 2 channels"), "{reason}");
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
