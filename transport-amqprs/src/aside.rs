//! What goes on beside requests and replies, each on a channel of its own: a look at a service's queue, and events.

use std::sync::Arc;

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
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};

use crate::{
    connect::LastWords,
    fields::{headers, short},
    publisher::Verdicts,
};

/// A passive declaration. The broker closes the channel if there is no such queue, or it is not ours to see.
pub(crate) async fn service_queue(
    channels: Channels,
    name: String,
    spent: Spent,
) -> Result<ServiceQueue, String> {
    spent.check()?;
    let aside = channels.open().await.map_err(|error| error.to_string())?;
    let mut declare = QueueDeclareArguments::new(short(&name));
    match aside.channel.queue_declare(declare.passive(true).finish()).await {
        Ok(Some((_, waiting, consumers))) => {
            aside.close().await;
            Ok(ServiceQueue::Exists { consumers, waiting })
        }
        Ok(None) => Err("the broker did not answer".to_owned()),
        Err(error) => {
            spent.one();
            match aside.last_words.code() {
                Some(NOT_FOUND) => Ok(ServiceQueue::Missing),
                _ => Err(error.to_string()),
            }
        }
    }
}

/// Ends when the events do, or nobody waits for that any more. Not within a declaration: that, amqprs can't bear.
pub(crate) async fn listen(
    channels: Channels,
    queue: EventQueue,
    told: EventsTold,
    spent: Spent,
    mut over: oneshot::Sender<String>,
) {
    let (aside, mut events) = match hear(&channels, &queue, &spent).await {
        Ok(hearing) => hearing,
        Err(reason) => return drop(over.send(reason)),
    };
    told.begins();
    loop {
        let message = tokio::select! {
            biased;
            () = over.closed() => return aside.close().await,
            message = events.recv() => message,
        };
        match message {
            Some(message) => told.event(event(message)),
            None => {
                aside.close().await;
                return drop(over.send("the consumer has ended".to_owned()));
            }
        }
    }
}

type Hearing = (Aside, mpsc::UnboundedReceiver<ConsumerMessage>);

async fn hear(channels: &Channels, events: &EventQueue, spent: &Spent) -> Result<Hearing, String> {
    spent.check()?;
    consume(channels, events, spent).await.map_err(|error| {
        spent.one();
        error.to_string()
    })
}

async fn consume(channels: &Channels, events: &EventQueue, spent: &Spent) -> Result<Hearing, Error> {
    let (exchange, queue) = (short(&events.exchange), short(&events.name));
    let mut aside = channels.open().await?;
    let mut declare = ExchangeDeclareArguments::new(exchange, "topic");
    match aside
        .channel
        .exchange_declare(declare.durable(true).finish())
        .await
    {
        // Declared otherwise: as it is, it serves. (nameko's AUTO_DELETE_EVENT_EXCHANGES.)
        Err(_) if aside.last_words.code() == Some(PRECONDITION_FAILED) => {
            spent.one();
            aside = channels.open().await?;
        }
        declared => declared?,
    }
    let channel = &aside.channel;
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
    Ok((aside, messages))
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

/// Channels of a connection beside those for requests and replies. amqprs doesn't mind how many the broker allows, which
/// ends the connection over one too many.
#[derive(Clone)]
pub(crate) struct Channels {
    connection: Connection,
    free: Arc<Semaphore>,
}

impl Channels {
    pub(crate) fn of(connection: &Connection) -> Self {
        let most = match connection.channel_max() {
            0 => u16::MAX,
            most => most,
        };
        Self {
            connection: connection.clone(),
            free: Arc::new(Semaphore::new(usize::from(most.saturating_sub(2)))),
        }
    }

    async fn open(&self) -> Result<Aside, Error> {
        let none = |_| Error::ChannelOpenError("the broker allows no more channels".to_owned());
        let place = self.free.clone().try_acquire_owned().map_err(none)?;
        let verdicts = Verdicts::default();
        let aside = Aside {
            channel: self.connection.open_channel(None).await?,
            last_words: verdicts.last_words.clone(),
            place: Some(place),
        };
        aside.channel.register_callback(verdicts).await?;
        Ok(aside)
    }
}

/// A channel whose end ends nothing else, with what the broker says at that end.
struct Aside {
    channel: Channel,
    last_words: LastWords,
    place: Option<OwnedSemaphorePermit>,
}

impl Aside {
    /// Its place is free when the broker has closed it.
    async fn close(self) {
        let _ = self.channel.clone().close().await; // or the connection is closed
    }
}

impl Drop for Aside {
    fn drop(&mut self) {
        // The number of a channel that the broker closed is never free again.
        if self.last_words.code().is_some()
            && let Some(place) = self.place.take()
        {
            place.forget();
        }
    }
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
        let channels = Channels::of(&connection);
        let refused = async |service: &str| hear(&channels, &events_of(service), &spent).await.err();
        for _ in 0..2 {
            let reason = refused("amq").await.unwrap(); // a name that is the broker's own
            assert!(!reason.contains("closed 2 channels"), "{reason}");
        }
        for service in ["amq", "shop"] {
            let reason = refused(service).await.unwrap();
            assert!(reason.contains("closed 2 channels"), "{reason}");
        }
        let others = Spent::at_most(1);
        assert!(hear(&channels, &events_of("shop"), &others).await.is_ok());
        assert!(others.check().is_ok(), "what is granted costs nothing");
    }
}
