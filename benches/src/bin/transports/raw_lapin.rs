//! The thinnest possible RPC over lapin: one connection, two channels, a map of who waits.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
};

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::StreamExt;
use lapin::{
    BasicProperties, Channel, Confirmation, Connection, ConnectionProperties, Consumer, ExchangeKind,
    PublisherConfirm,
    options::{
        BasicConsumeOptions, BasicPublishOptions, ConfirmSelectOptions, ExchangeDeclareOptions,
        QueueBindOptions, QueueDeclareOptions,
    },
    types::{FieldTable, ShortString},
};
use tokio::sync::{mpsc, oneshot};
use uuid::Uuid;

use super::{Caller, SERVICE};

type Waiting = Arc<Mutex<HashMap<Uuid, oneshot::Sender<usize>>>>;

pub(crate) struct RawLapin {
    requests: Channel,
    exchange: ShortString,
    route: ShortString,
    reply_to: ShortString,
    waiting: Waiting,
    confirms: mpsc::UnboundedSender<PublisherConfirm>,
    _connection: Connection,
}

impl RawLapin {
    pub(crate) async fn connect(uri: &str) -> lapin::Result<Self> {
        let connection = Connection::connect(uri, ConnectionProperties::default()).await?;
        let (replies, requests) = (
            connection.create_channel().await?,
            connection.create_channel().await?,
        );
        let (exchange, key) = (
            ShortString::from("nameko-rpc"),
            ShortString::from(Uuid::new_v4().to_string()),
        );
        let none = FieldTable::default;
        let durable = ExchangeDeclareOptions {
            durable: true,
            ..Default::default()
        };
        replies
            .exchange_declare(exchange.clone(), ExchangeKind::Topic, durable, none())
            .await?;
        let exclusive = QueueDeclareOptions {
            exclusive: true,
            ..Default::default()
        };
        replies.queue_declare(key.clone(), exclusive, none()).await?;
        let bound = QueueBindOptions::default();
        replies
            .queue_bind(key.clone(), exchange.clone(), key.clone(), bound, none())
            .await?;
        let no_ack = BasicConsumeOptions {
            no_ack: true,
            ..Default::default()
        };
        let consumer = replies
            .basic_consume(key.clone(), "".into(), no_ack, none())
            .await?;
        requests.confirm_select(ConfirmSelectOptions::default()).await?;
        let (waiting, (confirms, confirmed)) = (Waiting::default(), mpsc::unbounded_channel());
        tokio::spawn(receive(consumer, waiting.clone()));
        tokio::spawn(drain(confirmed));
        Ok(Self {
            requests,
            exchange,
            route: format!("{SERVICE}.echo").into(),
            reply_to: key,
            waiting,
            confirms,
            _connection: connection,
        })
    }
}

impl RawLapin {
    pub(crate) async fn delete(&self, queue: &str) -> lapin::Result<()> {
        let deleted = self.requests.queue_delete(queue.into(), Default::default());
        deleted.await.map(drop)
    }
}

#[async_trait]
impl Caller for RawLapin {
    async fn call(&self, body: &Bytes) -> usize {
        let (id, (sender, reply)) = (Uuid::new_v4(), oneshot::channel());
        self.waiting.lock().expect("no panics").insert(id, sender);
        let properties = BasicProperties::default()
            .with_content_type("application/json".into())
            .with_content_encoding("utf-8".into())
            .with_headers(FieldTable::default())
            .with_delivery_mode(2)
            .with_priority(0)
            .with_correlation_id(id.to_string().into())
            .with_reply_to(self.reply_to.clone());
        let mandatory = BasicPublishOptions {
            mandatory: true,
            ..Default::default()
        };
        let (exchange, route) = (self.exchange.clone(), self.route.clone());
        let published = self
            .requests
            .basic_publish(exchange, route, mandatory, body, properties)
            .await;
        let _ = self.confirms.send(published.expect("published"));
        reply.await.expect("a reply")
    }
}

async fn receive(mut replies: Consumer, waiting: Waiting) {
    while let Some(Ok(reply)) = replies.next().await {
        let id = reply
            .properties
            .correlation_id()
            .as_ref()
            .and_then(|id| Uuid::parse_str(id.as_str()).ok());
        let sender = id.and_then(|id| waiting.lock().expect("no panics").remove(&id));
        if let Some(sender) = sender {
            let _ = sender.send(reply.data.len());
        }
    }
}

async fn drain(mut confirms: mpsc::UnboundedReceiver<PublisherConfirm>) {
    while let Some(confirm) = confirms.recv().await {
        assert!(matches!(confirm.await, Ok(Confirmation::Ack(None))), "confirmed");
    }
}
