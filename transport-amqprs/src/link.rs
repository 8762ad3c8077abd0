//! One connection with two channels: one for publishing, one for the reply queue.

use amqprs::{
    BasicProperties, FieldTable, FieldValue,
    channel::{
        BasicConsumeArguments, Channel, ConfirmSelectArguments, ConsumerMessage, ExchangeDeclareArguments,
        QueueBindArguments, QueueDeclareArguments, QueueDeleteArguments,
    },
    connection::Connection,
    error::Error,
};
use async_trait::async_trait;
use nameko_cachetools::{Delivery, Response, ServiceQueue};
use nameko_cachetools_amqp::{
    EventQueue, EventsTold, Link, LinkEvents, OpenError, Outgoing, Plan, REPLY_QUEUE_EXPIRES_MS, Spent,
    Topology,
};
use tokio::{
    sync::{
        mpsc::{self, error::TryRecvError},
        oneshot,
    },
    task::yield_now,
    time::{Duration, timeout},
};

use crate::{
    aside,
    connect::{Home, LastWords, Watch, connect},
    fields::{headers, short},
    publisher::{Publisher, Unconfirmed, Verdicts},
};

type Result<T> = std::result::Result<T, Error>;

/// The outside of a connection's thread.
pub(crate) struct AmqprsLink {
    home: Home,
    handle: Handle,
}

pub(crate) struct Handle {
    messages: mpsc::UnboundedSender<Outgoing>,
    questions: mpsc::UnboundedSender<Question>,
}

/// What the broker must answer. One is asked at a time on a channel, and seen through: amqprs can't bear two at once, nor
/// one that is given up.
enum Question {
    Probe(oneshot::Sender<std::result::Result<u32, String>>),
    ServiceQueue(String, oneshot::Sender<std::result::Result<ServiceQueue, String>>),
    Listen(EventQueue, EventsTold, oneshot::Sender<String>),
    Close(oneshot::Sender<()>),
}

impl AmqprsLink {
    pub(crate) fn new(home: Home, handle: Handle) -> Self {
        Self { home, handle }
    }

    fn ask(&self, question: Question) {
        // The thread is gone: whoever asked is told by the end of the channel to answer through.
        let _ = self.handle.questions.send(question);
    }
}

#[async_trait]
impl Link for AmqprsLink {
    fn publish(&self, message: Outgoing) {
        if let Err(mpsc::error::SendError(message)) = self.handle.messages.send(message) {
            message.ticket.failed(Delivery::NotSent, CLOSED);
        }
    }

    async fn probe(&self) -> std::result::Result<u32, String> {
        let (answer, answered) = oneshot::channel();
        self.ask(Question::Probe(answer));
        answered.await.unwrap_or_else(|_| Err(CLOSED.to_owned()))
    }

    async fn service_queue(&self, name: &str) -> std::result::Result<ServiceQueue, String> {
        let (answer, answered) = oneshot::channel();
        self.ask(Question::ServiceQueue(name.to_owned(), answer));
        answered.await.unwrap_or_else(|_| Err(CLOSED.to_owned()))
    }

    async fn listen(&self, queue: EventQueue, told: EventsTold) -> String {
        let (over, ended) = oneshot::channel();
        self.ask(Question::Listen(queue, told, over));
        ended.await.unwrap_or_else(|_| CLOSED.to_owned())
    }

    async fn close(&self) {
        let (done, closed) = oneshot::channel();
        self.ask(Question::Close(done));
        let _ = closed.await; // or the thread is gone
    }

    fn abort(&self) {
        self.home.cut();
    }
}

pub(crate) const CLOSED: &str = "the connection is closed";

/// The inside: everything of amqprs.
pub(crate) struct Session {
    connection: Connection,
    replies: Channel,
    topology: Topology,
    publisher: Publisher,
    messages: mpsc::UnboundedReceiver<Outgoing>,
    questions: mpsc::UnboundedReceiver<Question>,
}

impl Session {
    /// Declares, binds, consumes: the reply queue is bound before the first request can go out.
    pub(crate) async fn open(
        plan: &Plan,
        events: LinkEvents,
    ) -> std::result::Result<(Self, Handle), OpenError> {
        let connection = connect(plan).await?;
        let last_words = LastWords::default();
        Self::set_up(connection, plan, events, last_words.clone())
            .await
            .map_err(|error| last_words.explain(&error))
    }

    async fn set_up(
        connection: Connection,
        plan: &Plan,
        events: LinkEvents,
        last_words: LastWords,
    ) -> Result<(Self, Handle)> {
        let (ending, ended) = mpsc::unbounded_channel();
        let watch = Watch {
            events: events.clone(),
            ending: ending.clone(),
            last_words: last_words.clone(),
        };
        connection.register_callback(watch).await?;
        let (topology, unconfirmed) = (plan.topology.clone(), Unconfirmed::default());
        let channel = async || {
            let channel = connection.open_channel(None).await?;
            let verdicts = Verdicts {
                events: Some(events.clone()),
                ending: Some(ending.clone()),
                unconfirmed: unconfirmed.clone(),
                last_words: last_words.clone(),
            };
            channel.register_callback(verdicts).await?;
            Ok::<Channel, Error>(channel)
        };
        let replies = channel().await?;
        declare(&replies, &topology).await?;
        let consumer = consume(&replies, &topology).await?;
        tokio::spawn(receive(consumer, ended, events.clone()));
        if let Some(superseded) = &plan.superseded {
            forget(&connection, superseded).await;
        }
        let requests = channel().await?;
        requests.confirm_select(ConfirmSelectArguments::default()).await?;
        let publisher = Publisher {
            channel: requests,
            topology: topology.clone(),
            unconfirmed,
            events: events.clone(),
        };
        let (to_publish, messages) = mpsc::unbounded_channel();
        let (to_ask, questions) = mpsc::unbounded_channel();
        let session = Self {
            connection,
            replies,
            topology,
            publisher,
            messages,
            questions,
        };
        let handle = Handle {
            messages: to_publish,
            questions: to_ask,
        };
        Ok((session, handle))
    }

    /// Ends when it is closed, or nobody holds its handle.
    pub(crate) async fn run(self) {
        let Self {
            connection,
            replies,
            topology,
            publisher,
            messages,
            mut questions,
        } = self;
        let unconfirmed = publisher.unconfirmed.clone();
        let channels = aside::Channels::of(&connection);
        let (looks, listening) = (Spent::on_looks(), Spent::on_listening());
        tokio::spawn(publisher.run(messages));
        while let Some(question) = questions.recv().await {
            match question {
                Question::Probe(answer) => {
                    let mark = unconfirmed.mark();
                    let consumers = consumers(&replies, &topology).await;
                    if consumers.is_ok() {
                        unconfirmed.read_up_to(mark);
                    }
                    // Whoever asked may have given up meanwhile.
                    let _ = answer.send(consumers);
                }
                Question::ServiceQueue(name, answer) => {
                    let look = aside::service_queue(channels.clone(), name, looks.clone());
                    tokio::spawn(async move { answer.send(look.await) });
                }
                Question::Listen(queue, told, over) => {
                    let listening = listening.clone();
                    tokio::spawn(aside::listen(channels.clone(), queue, told, listening, over));
                }
                Question::Close(done) => {
                    close(connection, &replies, &topology).await;
                    let _ = done.send(()); // or nobody waits for it any more
                    return;
                }
            }
        }
    }
}

/// Deletes a queue that nobody needs any more, on a channel that may be closed for it.
async fn forget(connection: &Connection, queue: &str) {
    let deleted = async {
        let channel = connection.open_channel(None).await?;
        channel
            .queue_delete(QueueDeleteArguments::new(short(queue)))
            .await?;
        channel.close().await
    };
    if let Err(error) = deleted.await {
        tracing::debug!(%error, "an old reply queue was not deleted; it expires by itself");
    }
}

async fn declare(channel: &Channel, topology: &Topology) -> Result<()> {
    let (exchange, queue, key) = (
        short(&topology.exchange),
        short(&topology.reply_queue),
        short(&topology.reply_key),
    );
    let mut declare = ExchangeDeclareArguments::new(exchange, "topic");
    channel.exchange_declare(declare.durable(true).finish()).await?;
    let mut arguments = FieldTable::default();
    let expires = "x-expires".try_into().unwrap_or_default();
    arguments.insert(expires, FieldValue::I(REPLY_QUEUE_EXPIRES_MS));
    let mut declare = QueueDeclareArguments::durable_client_named(queue);
    channel
        .queue_declare(declare.arguments(arguments).finish())
        .await?;
    channel
        .queue_bind(QueueBindArguments::new(queue, exchange, key))
        .await
}

/// Without acknowledgements: one per reply costs a quarter of the throughput, and buys nothing, since the call of a
/// reply that is lost with its connection has ended with that connection.
async fn consume(channel: &Channel, topology: &Topology) -> Result<Replies> {
    let mut arguments = BasicConsumeArguments::new(short(&topology.reply_queue), "");
    let (_, replies) = channel
        .basic_consume_rx(arguments.manual_ack(false).finish())
        .await?;
    Ok(replies)
}

/// Why a link is over, from whoever notices: to [`receive`], which has the last word.
pub(crate) type Ending = mpsc::UnboundedSender<String>;

type Replies = mpsc::UnboundedReceiver<ConsumerMessage>;

/// Ends when the connection or the channel is closed, or the broker cancels the consumer (its queue was deleted). What
/// came before the end is handed on before the end is told: a reply is no less one for being a connection's last.
async fn receive(mut replies: Replies, mut ended: mpsc::UnboundedReceiver<String>, events: LinkEvents) {
    let reason = loop {
        tokio::select! {
            biased;
            message = replies.recv() => match message {
                Some(message) => hand_on(message, &events),
                None => break ended.try_recv().ok(),
            },
            Some(reason) = ended.recv() => {
                let _ = timeout(LAST_REPLIES, rest(&mut replies, &events)).await;
                break Some(reason);
            }
        }
    };
    events.lost(reason.unwrap_or_else(|| "the connection or its reply consumer has ended".to_owned()));
}

/// What has come is still with amqprs's tasks, which run on this thread: they get their turns until nothing follows.
async fn rest(replies: &mut Replies, events: &LinkEvents) {
    let mut turns = 0;
    while turns < TURNS {
        match replies.try_recv() {
            Ok(message) => {
                hand_on(message, events);
                turns = 0;
            }
            Err(TryRecvError::Empty) => {
                turns += 1;
                yield_now().await;
            }
            Err(TryRecvError::Disconnected) => return,
        }
    }
}

/// Each task hands on what it has in its own turn, and no more than its share of it: many more than there are tasks.
const TURNS: usize = 50;

/// A broker that goes on replying must not keep a link.
const LAST_REPLIES: Duration = Duration::from_secs(1);

fn hand_on(message: ConsumerMessage, events: &LinkEvents) {
    let properties = message.basic_properties.unwrap_or_default();
    let id = properties.correlation_id().map(String::as_str);
    events.reply(id, response(&properties, message.content.unwrap_or_default()));
}

fn response(properties: &BasicProperties, body: Vec<u8>) -> Response {
    Response::new(properties.content_type().cloned(), body).with_headers(headers(properties.headers()))
}

async fn consumers(replies: &Channel, topology: &Topology) -> std::result::Result<u32, String> {
    let mut declare = QueueDeclareArguments::new(short(&topology.reply_queue));
    match replies.queue_declare(declare.passive(true).finish()).await {
        Ok(Some((_, _, consumers))) => Ok(consumers),
        Ok(None) => Err("the broker did not answer".to_owned()),
        Err(error) => Err(error.to_string()),
    }
}

async fn close(connection: Connection, replies: &Channel, topology: &Topology) {
    let delete = QueueDeleteArguments::new(short(&topology.reply_queue));
    if let Err(error) = replies.queue_delete(delete).await {
        tracing::debug!(%error, "the reply queue was not deleted; it expires by itself");
    }
    if let Err(error) = connection.close().await {
        tracing::debug!(%error, "the connection was not closed in good order");
    }
}
