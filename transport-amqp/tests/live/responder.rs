//! A service in the shape of nameko's, written with lapin alone, so that it shares no code with what it tests.

use futures_util::StreamExt;
use lapin::{
    BasicProperties, Channel, Connection, ConnectionProperties, ExchangeKind,
    message::Delivery,
    options::{
        BasicAckOptions, BasicConsumeOptions, BasicPublishOptions, ExchangeDeclareOptions, QueueBindOptions,
        QueueDeclareOptions,
    },
    types::FieldTable,
};
use tokio::task::JoinHandle;

/// Answers by method: `echo` (the request's body as result), `properties` (what the broker delivered, as text),
/// `twice`, `garbled_id` and `no_id` (before the right reply), `size_{n}` (n bytes), `silent`.
pub struct Responder {
    pub service: String,
    pub connection: Connection,
    pub channel: Channel,
    task: JoinHandle<()>,
}

impl Responder {
    /// Its queue is exclusive, so that nothing is left behind.
    pub async fn start(uri: &str) -> Self {
        Self::named(uri, super::unique("echo")).await
    }

    pub async fn named(uri: &str, service: String) -> Self {
        let connection = Connection::connect(uri, ConnectionProperties::default())
            .await
            .expect("broker");
        let channel = connection.create_channel().await.expect("channel");
        let durable = ExchangeDeclareOptions {
            durable: true,
            ..Default::default()
        };
        let none = FieldTable::default;
        channel
            .exchange_declare("nameko-rpc".into(), ExchangeKind::Topic, durable, none())
            .await
            .expect("exchange");
        let exclusive = QueueDeclareOptions {
            exclusive: true,
            ..Default::default()
        };
        let queue = format!("rpc-{service}");
        channel
            .queue_declare(queue.as_str().into(), exclusive, none())
            .await
            .expect("queue");
        let (name, key) = (queue.as_str().into(), format!("{service}.*").into());
        channel
            .queue_bind(
                name,
                "nameko-rpc".into(),
                key,
                QueueBindOptions::default(),
                none(),
            )
            .await
            .expect("bind");
        let options = BasicConsumeOptions::default();
        let mut requests = channel
            .basic_consume(queue.as_str().into(), "".into(), options, none())
            .await
            .expect("consume");
        let out = channel.clone();
        let task = tokio::spawn(async move {
            while let Some(Ok(request)) = requests.next().await {
                answer(&out, &request).await;
                request.ack(BasicAckOptions::default()).await.expect("ack");
            }
        });
        Self {
            service,
            connection,
            channel,
            task,
        }
    }
}

impl Drop for Responder {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn answer(channel: &Channel, request: &Delivery) {
    let body = String::from_utf8(request.data.clone()).expect("UTF-8");
    let id = request.properties.correlation_id().clone();
    let reply_to = request.properties.reply_to().clone().expect("a reply_to");
    let method = request
        .routing_key
        .as_str()
        .rsplit('.')
        .next()
        .expect("a method")
        .to_owned();
    let reply = |id: Option<lapin::types::ShortString>, result: String| {
        let mut properties = BasicProperties::default()
            .with_content_type("application/json".into())
            .with_content_encoding("utf-8".into())
            .with_headers(FieldTable::default())
            .with_delivery_mode(2)
            .with_priority(0);
        if let Some(id) = id {
            properties = properties.with_correlation_id(id);
        }
        let (channel, reply_to) = (channel.clone(), reply_to.clone());
        async move {
            let body = format!(r#"{{"result": {result}, "error": null}}"#);
            let options = BasicPublishOptions::default();
            let sent = channel
                .basic_publish(
                    "nameko-rpc".into(),
                    reply_to,
                    options,
                    body.as_bytes(),
                    properties,
                )
                .await;
            drop(sent.expect("published"));
        }
    };
    match method.as_str() {
        "silent" => {}
        "twice" => {
            reply(id.clone(), body.clone()).await;
            reply(id, body).await;
        }
        "garbled_id" => {
            reply(Some("not a uuid".into()), body.clone()).await;
            reply(Some("".into()), body.clone()).await;
            reply(Some(uuid::Uuid::new_v4().to_string().into()), body.clone()).await;
            reply(id, body).await;
        }
        "no_id" => {
            reply(None, body.clone()).await;
            reply(id, body).await;
        }
        "properties" => {
            let shown = format!("{:?}", request.properties);
            reply(id, serde_json::Value::String(shown).to_string()).await;
        }
        other => match other.strip_prefix("size_") {
            Some(bytes) => reply(id, format!("{:?}", "x".repeat(bytes.parse().expect("a number")))).await,
            None => reply(id, body).await,
        },
    }
}
