//! The thinnest possible RPC over amqprs: one connection, two channels, a map of who waits.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
};

use amqprs::{
    Ack, BasicProperties, Cancel, CloseChannel, FieldTable, Nack, Return,
    callbacks::ChannelCallback,
    channel::{
        BasicConsumeArguments, BasicPublishArguments, Channel, ConfirmSelectArguments, ConsumerMessage,
        ExchangeDeclareArguments, QueueBindArguments, QueueDeclareArguments,
    },
    connection::{Connection, OpenConnectionArguments},
    error::Error,
};
use async_trait::async_trait;
use bytes::Bytes;
use nameko_cachetools_amqprs::Address;
use tokio::sync::{mpsc, oneshot};
use uuid::Uuid;

use super::{Caller, SERVICE};

type Waiting = Arc<Mutex<HashMap<Uuid, oneshot::Sender<usize>>>>;

pub(crate) struct RawAmqprs {
    requests: Channel,
    route: String,
    reply_to: String,
    waiting: Waiting,
    _replies: Channel,
    _connection: Connection,
}

impl RawAmqprs {
    pub(crate) async fn connect(uri: &str) -> Result<Self, Box<dyn std::error::Error>> {
        let address = Address::parse(uri)?.remove(0);
        let arguments =
            OpenConnectionArguments::new(&address.host, address.port, &address.user, &address.password);
        let connection = Connection::open(&arguments).await?;
        let (replies, requests) = (
            connection.open_channel(None).await?,
            connection.open_channel(None).await?,
        );
        requests.register_callback(Unheard).await?;
        let key = Uuid::new_v4().to_string();
        let mut exchange = ExchangeDeclareArguments::new("nameko-rpc", "topic");
        replies.exchange_declare(exchange.durable(true).finish()).await?;
        let mut queue = QueueDeclareArguments::new(&key);
        replies.queue_declare(queue.exclusive(true).finish()).await?;
        replies
            .queue_bind(QueueBindArguments::new(&key, "nameko-rpc", &key))
            .await?;
        let mut consume = BasicConsumeArguments::new(&key, "");
        let (_, consumer) = replies
            .basic_consume_rx(consume.manual_ack(false).finish())
            .await?;
        requests.confirm_select(ConfirmSelectArguments::default()).await?;
        let waiting = Waiting::default();
        tokio::spawn(receive(consumer, waiting.clone()));
        Ok(Self {
            requests,
            route: format!("{SERVICE}.echo"),
            reply_to: key,
            waiting,
            _replies: replies,
            _connection: connection,
        })
    }
}

#[async_trait]
impl Caller for RawAmqprs {
    async fn call(&self, body: &Bytes) -> usize {
        let (sender, reply) = oneshot::channel();
        self.publish(body, sender).await;
        reply.await.expect("a reply")
    }
}

impl RawAmqprs {
    async fn publish(&self, body: &Bytes, sender: oneshot::Sender<usize>) {
        let id = Uuid::new_v4();
        self.waiting.lock().expect("no panics").insert(id, sender);
        let mut properties = BasicProperties::default();
        properties
            .with_content_type("application/json")
            .with_content_encoding("utf-8")
            .with_headers(FieldTable::default())
            .with_delivery_mode(2)
            .with_priority(0)
            .with_correlation_id(&id.to_string())
            .with_reply_to(&self.reply_to);
        let mut arguments = BasicPublishArguments::new("nameko-rpc", &self.route);
        arguments.mandatory(true);
        let published = self
            .requests
            .basic_publish(properties, body.to_vec(), arguments)
            .await;
        published.expect("published");
    }
}

/// The same on a thread of its own, where ours lives: so much of what ours costs is not ours to save.
pub(crate) struct Apart(mpsc::UnboundedSender<(Bytes, oneshot::Sender<usize>)>);

impl Apart {
    pub(crate) fn connect(uri: &str) -> std::io::Result<Self> {
        let (calls, mut called) = mpsc::unbounded_channel::<(Bytes, oneshot::Sender<usize>)>();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let uri = uri.to_owned();
        std::thread::spawn(move || {
            runtime.block_on(async {
                let loops = RawAmqprs::connect(&uri).await.expect("a connection");
                while let Some((body, reply)) = called.recv().await {
                    loops.publish(&body, reply).await;
                }
            });
        });
        Ok(Self(calls))
    }
}

#[async_trait]
impl Caller for Apart {
    async fn call(&self, body: &Bytes) -> usize {
        let (sender, reply) = oneshot::channel();
        self.0.send((body.clone(), sender)).expect("its thread runs");
        reply.await.expect("a reply")
    }
}

async fn receive(mut replies: mpsc::UnboundedReceiver<ConsumerMessage>, waiting: Waiting) {
    while let Some(reply) = replies.recv().await {
        let properties = reply.basic_properties.unwrap_or_default();
        let id = properties
            .correlation_id()
            .and_then(|id| Uuid::parse_str(id).ok());
        let sender = id.and_then(|id| waiting.lock().expect("no panics").remove(&id));
        if let Some(sender) = sender {
            let _ = sender.send(reply.content.map_or(0, |body| body.len()));
        }
    }
}

/// Confirms come, and nobody looks at them.
struct Unheard;

#[async_trait]
impl ChannelCallback for Unheard {
    async fn close(&mut self, _: &Channel, _: CloseChannel) -> Result<(), Error> {
        Ok(())
    }

    async fn cancel(&mut self, _: &Channel, _: Cancel) -> Result<(), Error> {
        Ok(())
    }

    async fn flow(&mut self, _: &Channel, active: bool) -> Result<bool, Error> {
        Ok(active)
    }

    async fn publish_ack(&mut self, _: &Channel, _: Ack) {}

    async fn publish_nack(&mut self, _: &Channel, _: Nack) {}

    async fn publish_return(&mut self, _: &Channel, _: Return, _: BasicProperties, _: Vec<u8>) {}
}
