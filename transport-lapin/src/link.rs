//! One connection with two channels: one for publishing, one for the reply queue.

use std::sync::Arc;

use async_trait::async_trait;
use futures_util::StreamExt;
use lapin::{
    BasicProperties, Channel, Connection, ConnectionStatus, Consumer, Event, ExchangeKind, Result, message,
    options::{
        BasicConsumeOptions, ConfirmSelectOptions, ExchangeDeclareOptions, QueueBindOptions,
        QueueDeclareOptions, QueueDeleteOptions,
    },
    types::{AMQPValue, FieldTable, ShortString},
};
use nameko_cachetools::{Delivery, Response, ServiceQueue};
use nameko_cachetools_amqp::{
    EventQueue, EventsTold, Link, LinkEvents, Outgoing, Plan, REPLY_QUEUE_EXPIRES_MS, Spent, Topology,
};
use tokio::{sync::mpsc, task::JoinSet};

use crate::{
    aside,
    connect::Socket,
    fields::{headers, short},
    publisher::Publisher,
};

pub(crate) struct LapinLink {
    socket: Socket,
    messages: mpsc::UnboundedSender<Outgoing>,
    replies: Channel,
    topology: Topology,
    connection: Arc<Connection>,
    looks: Spent,
    listening: Spent,
    /// Ends with the link.
    _tasks: JoinSet<()>,
}

impl LapinLink {
    /// Declares, binds, consumes: the reply queue is bound before the first request can go out.
    pub(crate) async fn open(
        connection: Connection,
        socket: Socket,
        plan: &Plan,
        events: LinkEvents,
    ) -> Result<Self> {
        let connection = Arc::new(connection);
        let mut tasks = JoinSet::new();
        let news = connection.events_listener();
        let topology = plan.topology.clone();
        let replies = connection.create_channel().await?;
        declare(&replies, &topology).await?;
        let consumer = consume(&replies, &topology).await?;
        let (ending, ended) = mpsc::unbounded_channel();
        tasks.spawn(receive(consumer, ended, events.clone()));
        let requests = connection.create_channel().await?;
        requests.confirm_select(ConfirmSelectOptions::default()).await?;
        // Last: lapin counts a closed channel for a while, and the broker may allow only two.
        if let Some(superseded) = &plan.superseded {
            forget(&connection, superseded).await;
        }
        let channels = [replies.clone(), requests.clone()];
        let status = connection.status().clone();
        tasks.spawn(watch(news, status, channels, ending.clone(), events.clone()));
        let (messages, to_publish) = mpsc::unbounded_channel();
        tasks.spawn(Publisher::new(requests, &topology, ending, events).run(to_publish));
        Ok(Self {
            messages,
            socket,
            replies,
            topology,
            connection,
            looks: Spent::on_looks(),
            listening: Spent::on_listening(),
            _tasks: tasks,
        })
    }
}

#[async_trait]
impl Link for LapinLink {
    fn publish(&self, message: Outgoing) {
        if let Err(mpsc::error::SendError(message)) = self.messages.send(message) {
            message.ticket.failed(Delivery::NotSent, CLOSED);
        }
    }

    async fn probe(&self) -> std::result::Result<u32, String> {
        let options = QueueDeclareOptions {
            passive: true,
            ..QueueDeclareOptions::default()
        };
        let asked =
            self.replies
                .queue_declare(short(&self.topology.reply_queue), options, FieldTable::default());
        asked
            .await
            .map(|queue| queue.consumer_count())
            .map_err(|error| error.to_string())
    }

    async fn service_queue(&self, name: &str) -> std::result::Result<ServiceQueue, String> {
        let look = aside::service_queue(self.connection.clone(), name.to_owned(), self.looks.clone());
        tokio::spawn(look)
            .await
            .unwrap_or_else(|error| Err(error.to_string()))
    }

    async fn listen(&self, queue: EventQueue, told: EventsTold) -> String {
        aside::listen(&self.connection, queue, told, &self.listening).await
    }

    async fn close(&self) {
        let options = QueueDeleteOptions::default();
        let deleted = self
            .replies
            .queue_delete(short(&self.topology.reply_queue), options)
            .await;
        if let Err(error) = deleted {
            tracing::debug!(%error, "the reply queue was not deleted; it expires by itself");
        }
        if let Err(error) = self.connection.close(200, short("closed by its owner")).await {
            tracing::debug!(%error, "the connection was not closed in good order");
        }
    }

    fn abort(&self) {
        self.socket.cut();
    }
}

pub(crate) const CLOSED: &str = "the connection is closed";

/// Deletes a queue that nobody needs any more, on a channel that may be closed for it.
async fn forget(connection: &Connection, queue: &str) {
    let deleted = async {
        let channel = connection.create_channel().await?;
        channel
            .queue_delete(short(queue), QueueDeleteOptions::default())
            .await?;
        channel.close(200, short("done")).await
    };
    if let Err(error) = deleted.await {
        tracing::debug!(%error, "an old reply queue was not deleted; it expires by itself");
    }
}

async fn declare(channel: &Channel, topology: &Topology) -> Result<()> {
    let exchange = ExchangeDeclareOptions {
        durable: true,
        ..ExchangeDeclareOptions::default()
    };
    let queue = QueueDeclareOptions {
        durable: true,
        ..QueueDeclareOptions::default()
    };
    let mut arguments = FieldTable::default();
    arguments.insert("x-expires".into(), AMQPValue::LongInt(REPLY_QUEUE_EXPIRES_MS));
    let (name, none) = (short(&topology.exchange), FieldTable::default);
    channel
        .exchange_declare(name.clone(), ExchangeKind::Topic, exchange, none())
        .await?;
    channel
        .queue_declare(short(&topology.reply_queue), queue, arguments)
        .await?;
    let (queue, key) = (short(&topology.reply_queue), short(&topology.reply_key));
    channel
        .queue_bind(queue, name, key, QueueBindOptions::default(), none())
        .await
}

/// Without acknowledgements: one per reply costs more than half of the throughput, and buys nothing, since the call
/// of a reply that is lost with its connection has ended with that connection.
async fn consume(channel: &Channel, topology: &Topology) -> Result<Consumer> {
    let options = BasicConsumeOptions {
        no_ack: true,
        ..BasicConsumeOptions::default()
    };
    channel
        .basic_consume(
            short(&topology.reply_queue),
            short(""),
            options,
            FieldTable::default(),
        )
        .await
}

/// Why a link is over, from whoever notices: to [`receive`], which has the last word.
pub(crate) type Ending = mpsc::UnboundedSender<String>;

/// Ends when the connection or the channel is closed, or the broker cancels the consumer (its queue was deleted). What
/// came before the end is handed on before the end is told: a reply is no less one for being a connection's last.
async fn receive(mut consumer: Consumer, mut ended: mpsc::UnboundedReceiver<String>, events: LinkEvents) {
    let reason = loop {
        tokio::select! {
            biased;
            delivery = consumer.next() => match delivery {
                Some(Ok(message::Delivery { properties, data, .. })) => {
                    let id = properties.correlation_id().as_ref().map(ShortString::as_str);
                    events.reply(id, response(&properties, data));
                }
                Some(Err(error)) => break error.to_string(),
                None => break "the broker cancelled the reply consumer".to_owned(),
            },
            Some(reason) = ended.recv() => break reason,
        }
    };
    events.lost(reason);
}

fn response(properties: &BasicProperties, body: Vec<u8>) -> Response {
    let content_type = properties.content_type().as_ref();
    Response::new(content_type.map(|text| text.as_str().to_owned()), body)
        .with_headers(headers(properties.headers().as_ref()))
}

/// Ends with the connection. The end of a channel is the link's, unless it is one that is opened for a while.
async fn watch(
    news: impl futures_util::Stream<Item = Event>,
    connection: ConnectionStatus,
    channels: [Channel; 2],
    ending: Ending,
    events: LinkEvents,
) {
    let mut news = std::pin::pin!(news);
    let is_whole = || connection.connected() && channels.iter().all(|channel| channel.status().connected());
    while let Some(event) = news.next().await {
        match event {
            Event::ConnectionBlocked(reason) => events.blocked(reason),
            Event::ConnectionUnblocked => events.unblocked(),
            Event::Error(error) if !is_whole() => {
                let _ = ending.send(error.to_string()); // or another was first
            }
            _ => {}
        }
    }
}
