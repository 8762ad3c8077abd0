//! A service in the shape of nameko's, in Rust and by lapin alone: for what Python is too slow or too well-behaved for.

use std::{fmt, future::Future, pin::Pin, sync::Arc};

use futures_util::{StreamExt, stream::FuturesUnordered};
use lapin::{
    BasicProperties, Channel, Connection, ConnectionProperties, ExchangeKind,
    message::Delivery,
    options::{
        BasicConsumeOptions, BasicPublishOptions, ExchangeDeclareOptions, QueueBindOptions,
        QueueDeclareOptions,
    },
    types::{FieldTable, ShortString},
};
use tokio::{sync::mpsc, task::JoinHandle};

/// Answers the requests of one service. Its queue is exclusive: it goes with the connection, and that when this is
/// dropped. Requests are not acknowledged, and replies neither confirmed nor persistent.
pub struct Responder {
    channel: Channel,
    exchange: ShortString,
    connection: Connection,
    task: JoinHandle<()>,
}

/// One request.
#[derive(Debug, Clone)]
pub struct Asked {
    /// The method's name.
    pub method: String,
    /// The body, JSON if nameko sent it.
    pub body: Vec<u8>,
    /// Where the reply goes to.
    pub reply_to: String,
    /// By which the caller knows the reply.
    pub correlation_id: String,
}

/// Sends replies. Cheap to clone; nothing waits.
#[derive(Debug, Clone)]
pub struct Replies(mpsc::UnboundedSender<Reply>);

#[derive(Debug)]
struct Reply {
    to: ShortString,
    id: Option<ShortString>,
    body: Vec<u8>,
}

impl Responder {
    /// Serves `service` (at most 200 bytes) on `exchange`; `answer` is called with each request, in the order of
    /// their coming.
    ///
    /// # Errors
    /// What the broker or the socket said.
    pub async fn start(
        uri: &str,
        exchange: &str,
        service: &str,
        answer: impl Fn(Asked, &Replies) + Send + Sync + 'static,
    ) -> lapin::Result<Self> {
        let connection = Connection::connect(uri, ConnectionProperties::default()).await?;
        let channel = connection.create_channel().await?;
        let exchange = ShortString::from(exchange);
        let requests = consume(&channel, &exchange, service).await?;
        let task = tokio::spawn(serve(channel.clone(), exchange.clone(), requests, answer));
        Ok(Self {
            channel,
            exchange,
            connection,
            task,
        })
    }

    /// Deletes the exchange, as an operator might. Who publishes to it next, loses the channel.
    ///
    /// # Errors
    /// What the broker said.
    pub async fn delete_exchange(&self) -> lapin::Result<()> {
        self.channel
            .exchange_delete(self.exchange.clone(), Default::default())
            .await
    }

    /// Deletes a queue, as an operator might.
    ///
    /// # Errors
    /// What the broker said.
    pub async fn delete_queue(&self, queue: &str) -> lapin::Result<()> {
        self.channel
            .queue_delete(queue.into(), Default::default())
            .await
            .map(drop)
    }

    /// Whether its connection lives.
    pub fn is_connected(&self) -> bool {
        self.connection.status().connected()
    }
}

impl Replies {
    /// Replies to `asked` with a body.
    pub fn send(&self, asked: &Asked, body: impl Into<Vec<u8>>) {
        self.send_as(asked, Some(&asked.correlation_id), body);
    }

    /// Replies where `asked` wants it, under another correlation id (at most 255 bytes), or none.
    pub fn send_as(&self, asked: &Asked, id: Option<&str>, body: impl Into<Vec<u8>>) {
        let reply = Reply {
            to: asked.reply_to.as_str().into(),
            id: id.map(Into::into),
            body: body.into(),
        };
        let _ = self.0.send(reply); // nobody replies once the service is gone
    }
}

impl Drop for Responder {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl fmt::Debug for Responder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Responder")
            .field("exchange", &self.exchange)
            .finish_non_exhaustive()
    }
}

async fn consume(channel: &Channel, exchange: &ShortString, service: &str) -> lapin::Result<lapin::Consumer> {
    let none = FieldTable::default;
    let durable = ExchangeDeclareOptions {
        durable: true,
        ..ExchangeDeclareOptions::default()
    };
    let exclusive = QueueDeclareOptions {
        exclusive: true,
        ..QueueDeclareOptions::default()
    };
    let no_ack = BasicConsumeOptions {
        no_ack: true,
        ..BasicConsumeOptions::default()
    };
    let key = format!("{service}.*");
    channel
        .exchange_declare(exchange.clone(), ExchangeKind::Topic, durable, none())
        .await?;
    // Named by the broker: another one's of the same name may not be gone yet.
    let queue = channel.queue_declare("".into(), exclusive, none()).await?;
    let queue = queue.name().clone();
    channel
        .queue_bind(
            queue.clone(),
            exchange.clone(),
            key.into(),
            QueueBindOptions::default(),
            none(),
        )
        .await?;
    channel.basic_consume(queue, "".into(), no_ack, none()).await
}

/// Replies are written while requests are read: neither waits for the other.
async fn serve(
    channel: Channel,
    exchange: ShortString,
    mut requests: lapin::Consumer,
    answer: impl Fn(Asked, &Replies),
) {
    let (replies, mut sent) = mpsc::unbounded_channel();
    let replies = Replies(replies);
    let channel = Arc::new(channel);
    let mut writing: FuturesUnordered<Pin<Box<dyn Future<Output = ()> + Send>>> = FuturesUnordered::new();
    loop {
        tokio::select! {
            request = requests.next() => match request {
                Some(Ok(request)) => answer(asked(&request), &replies),
                _ => return,
            },
            Some(reply) = sent.recv() => writing.push(Box::pin(write(channel.clone(), exchange.clone(), reply))),
            Some(()) = writing.next() => {}
        }
    }
}

async fn write(channel: Arc<Channel>, exchange: ShortString, Reply { to, id, body }: Reply) {
    let mut properties = BasicProperties::default()
        .with_content_type("application/json".into())
        .with_content_encoding("utf-8".into())
        .with_headers(FieldTable::default());
    if let Some(id) = id {
        properties = properties.with_correlation_id(id);
    }
    let options = BasicPublishOptions::default();
    // Lost with the connection, which `serve` notices.
    drop(
        channel
            .basic_publish(exchange, to, options, &body, properties)
            .await,
    );
}

fn asked(request: &Delivery) -> Asked {
    let text = |text: &Option<ShortString>| text.as_ref().map(ToString::to_string).unwrap_or_default();
    let route = request.routing_key.as_str();
    Asked {
        method: route.rsplit('.').next().unwrap_or_default().to_owned(),
        body: request.data.clone(),
        reply_to: text(request.properties.reply_to()),
        correlation_id: text(request.properties.correlation_id()),
    }
}
