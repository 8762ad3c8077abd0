//! The names nameko gives to what it declares on a broker, and which refusals are final.

use nameko_cachetools::Events;
use uuid::Uuid;

/// What a link declares; its reply queue is its own, and never another link's.
///
/// | object | name | declared as |
/// |---|---|---|
/// | exchange | `nameko-rpc` unless configured | topic, durable |
/// | reply queue | `rpc.reply-{app}-{uuid}` | durable, `x-expires` = 300,000 ms (AMQP type `I`) |
/// | binding | exchange to reply queue | by the bare uuid, which is also each request's `reply_to` |
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Topology {
    /// The exchange of requests and replies. It must be the one the services are configured with: a service sends its
    /// reply to *its own* exchange.
    pub exchange: String,
    /// The queue replies come to. Not exclusive, as nameko's: it survives a lost connection for
    /// [`REPLY_QUEUE_EXPIRES_MS`], unless the next link deletes it.
    pub reply_queue: String,
    /// Its routing key.
    pub reply_key: String,
}

/// A queue for the events of one listener: exclusive, so that it ends with its connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventQueue {
    /// nameko's `{service}.events`: topic, durable. One that is declared otherwise is taken as it is.
    pub exchange: String,
    /// `evt-{service}--{app}-{uuid}`.
    pub name: String,
    /// Keys to bind it by.
    pub types: Vec<String>,
}

impl EventQueue {
    pub(crate) fn new(app: &str, events: &Events) -> Self {
        let (service, id) = (events.service(), Uuid::new_v4().simple());
        let full = format!("evt-{service}--{app}-{id}");
        Self {
            exchange: events.exchange(),
            name: if full.len() > 255 {
                format!("evt--{app}-{id}")
            } else {
                full
            },
            types: events.types().to_vec(),
        }
    }
}

/// How long RabbitMQ keeps a reply queue that nobody consumes: nameko's 5 minutes.
pub const REPLY_QUEUE_EXPIRES_MS: i32 = 300_000;

impl Topology {
    /// New names; `app` shows in the reply queue's.
    pub(crate) fn new(app: &str, exchange: &str) -> Self {
        let reply_key = Uuid::new_v4().hyphenated().to_string();
        Self {
            exchange: exchange.to_owned(),
            reply_queue: format!("rpc.reply-{app}-{reply_key}"),
            reply_key,
        }
    }
}

/// Whether a broker that closed a channel or a connection with this AMQP reply code will do so again, until somebody
/// changes a configuration: 402 invalid path, 403 access refused (password, permission), 406 precondition failed
/// (declared otherwise), 530 not allowed (no such vhost, or limits).
pub fn is_permanent(reply_code: u16) -> bool {
    matches!(reply_code, 402 | 403 | 406 | 530)
}
