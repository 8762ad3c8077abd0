//! The contract of `Transport`, checked over a live RabbitMQ.
use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use futures_util::StreamExt;
use lapin::{
    BasicProperties, Channel, Connection, ConnectionProperties, ExchangeKind,
    message::Delivery,
    options::{BasicConsumeOptions, BasicPublishOptions, ExchangeDeclareOptions, QueueDeclareOptions},
    types::{AMQPValue, FieldTable, ShortString},
};
use nameko_cachetools::{Request, Route, Transport};
use nameko_cachetools_testkit::{
    fault_proxy::{Cut, FaultProxy},
    transport_conformance::{self, Harness, SERVICE, answer},
};
use serde_json::Value;

use super::support::{self, live, proxy, unique};
use crate::{Tested, tested::Backoff};

/// On an exchange of its own: the suite's service has the same name wherever it runs.
struct Live {
    proxy: FaultProxy,
    exchange: String,
    service: Connection,
}

#[async_trait]
impl Harness for Live {
    async fn transport(&self) -> Arc<dyn Transport> {
        let backoff = Backoff {
            first: Duration::from_millis(10),
            ..Backoff::default()
        };
        let builder = Tested::builder()
            .uri(self.proxy.uri())
            .rpc_exchange(&self.exchange);
        Arc::new(builder.backoff(backoff).connect().await.unwrap())
    }

    async fn cut(&self) -> bool {
        self.proxy.cut(Cut::Reset);
        true
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_keeps_the_contract() {
    let uri = live!();
    let exchange = unique("rpc-conformance");
    let live = Live {
        proxy: proxy(&uri).await,
        service: serve(&uri, &exchange).await,
        exchange,
    };
    transport_conformance::run_all(&live).await;
    let channel = live.service.create_channel().await.unwrap();
    channel
        .exchange_delete(live.exchange.as_str().into(), Default::default())
        .await
        .unwrap();
}

/// The suite's service. Its queue goes with the connection.
async fn serve(uri: &str, exchange: &str) -> Connection {
    let connection = Connection::connect(uri, ConnectionProperties::default())
        .await
        .unwrap();
    let channel = connection.create_channel().await.unwrap();
    let none = FieldTable::default;
    let durable = ExchangeDeclareOptions {
        durable: true,
        ..ExchangeDeclareOptions::default()
    };
    let exclusive = QueueDeclareOptions {
        exclusive: true,
        ..QueueDeclareOptions::default()
    };
    let (name, queue) = (ShortString::from(exchange), ShortString::from(unique("rpc")));
    channel
        .exchange_declare(name.clone(), ExchangeKind::Topic, durable, none())
        .await
        .unwrap();
    channel
        .queue_declare(queue.clone(), exclusive, none())
        .await
        .unwrap();
    let key = format!("{SERVICE}.*").into();
    channel
        .queue_bind(queue.clone(), name.clone(), key, Default::default(), none())
        .await
        .unwrap();
    let no_ack = BasicConsumeOptions {
        no_ack: true,
        ..BasicConsumeOptions::default()
    };
    let mut requests = channel
        .basic_consume(queue, "".into(), no_ack, none())
        .await
        .unwrap();
    tokio::spawn(async move {
        while let Some(Ok(delivery)) = requests.next().await {
            tokio::spawn(reply(channel.clone(), name.clone(), delivery));
        }
    });
    connection
}

async fn reply(channel: Channel, exchange: ShortString, delivery: Delivery) {
    let (properties, route) = (&delivery.properties, delivery.routing_key.as_str());
    let (service, method) = route.rsplit_once('.').unwrap();
    let mut request = Request::new(Route::new(service, method).unwrap(), delivery.data.clone());
    let headers = properties.headers().clone().unwrap_or_default();
    request.headers = headers
        .into_iter()
        .map(|(name, value)| (name.to_string().into(), json(value)))
        .collect();
    let Some((response, after)) = answer(&request) else {
        return;
    };
    tokio::time::sleep(after).await;
    let mut headers = FieldTable::default();
    for (name, value) in response.headers {
        headers.insert(name.as_ref().into(), field(&value));
    }
    let mut reply = BasicProperties::default().with_headers(headers);
    if let Some(id) = properties.correlation_id() {
        reply = reply.with_correlation_id(id.clone());
    }
    if let Some(content_type) = response.content_type {
        reply = reply.with_content_type(content_type.into());
    }
    let (to, options) = (
        properties.reply_to().clone().unwrap(),
        BasicPublishOptions::default(),
    );
    channel
        .basic_publish(exchange, to, options, &response.body, reply)
        .await
        .unwrap();
}

fn json(value: &AMQPValue) -> Value {
    match value {
        AMQPValue::Boolean(value) => (*value).into(),
        AMQPValue::LongInt(value) => (*value).into(),
        AMQPValue::LongLongInt(value) => (*value).into(),
        AMQPValue::Double(value) => (*value).into(),
        AMQPValue::LongString(text) => text.to_string().into(),
        AMQPValue::FieldArray(items) => items.as_slice().iter().map(json).collect(),
        AMQPValue::FieldTable(table) => table
            .into_iter()
            .map(|(name, value)| (name.to_string(), json(value)))
            .collect(),
        other => panic!("a header of type {:?}", other.get_type()),
    }
}

/// The types that py-amqp would write.
fn field(value: &Value) -> AMQPValue {
    match value {
        Value::Bool(value) => AMQPValue::Boolean(*value),
        Value::Number(number) => match number.as_i64() {
            Some(whole) => {
                i32::try_from(whole).map_or_else(|_| AMQPValue::LongLongInt(whole), AMQPValue::LongInt)
            }
            None => AMQPValue::Double(number.as_f64().unwrap()),
        },
        Value::String(text) => AMQPValue::LongString(text.as_str().into()),
        Value::Array(items) => AMQPValue::FieldArray(items.iter().map(field).collect::<Vec<_>>().into()),
        Value::Object(map) => {
            let mut table = FieldTable::default();
            for (name, value) in map {
                table.insert(name.as_str().into(), field(value));
            }
            AMQPValue::FieldTable(table)
        }
        Value::Null => AMQPValue::Void,
    }
}
