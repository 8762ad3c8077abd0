//! What a link reports: about the connection through [`LinkEvents`], about one request through its [`Ticket`].

use std::{fmt, sync::Arc};

use nameko_cachetools::{Delivery, Response, TransportError};
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use uuid::Uuid;

use crate::calls::{Answer, Calls};

/// Where a link reports what the broker says. Cheap to clone; nothing here waits.
#[derive(Clone)]
pub struct LinkEvents {
    pub(crate) calls: Arc<Calls>,
    pub(crate) news: mpsc::UnboundedSender<News>,
    pub(crate) max_reply_bytes: usize,
}

/// What the supervisor must know about a link.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum News {
    Blocked(String),
    Unblocked,
    Lost(String),
    /// A caller left whose request lies unread in the buffers of a blocked broker.
    GivenUpUnread,
}

impl LinkEvents {
    /// A message came to the reply queue, with this correlation id if it had one.
    ///
    /// One that nobody waits for (late, duplicate, without or with a foreign id) is counted and forgotten.
    pub fn reply(&self, correlation_id: Option<&str>, response: Response) {
        self.calls.hear_reply();
        let bytes = response.body.len();
        let answer = if bytes > self.max_reply_bytes {
            Answer::Failed(TransportError::ReplyTooLarge {
                bytes,
                limit: self.max_reply_bytes,
            })
        } else {
            Answer::Reply(response)
        };
        if !self.end(correlation_id, answer) {
            self.calls.count_unmatched();
            tracing::debug!(bytes, "a reply that nobody waits for");
        }
    }

    /// The broker returned a message (312 `NO_ROUTE`). Give the *returned message's own* correlation id: which confirm
    /// brought it may be any one's.
    pub fn returned(&self, correlation_id: Option<&str>) {
        self.calls.hear();
        self.end(correlation_id, Answer::Failed(TransportError::UnknownService));
    }

    /// The broker stopped reading from this connection.
    pub fn blocked(&self, reason: impl Into<String>) {
        self.tell(News::Blocked(reason.into()));
    }

    /// The broker reads again.
    pub fn unblocked(&self) {
        self.tell(News::Unblocked);
    }

    /// The link is over: connection or channel closed, consumer cancelled, reply queue deleted. Reporting more than
    /// once does no harm.
    pub fn lost(&self, reason: impl Into<String>) {
        self.tell(News::Lost(reason.into()));
    }

    fn end(&self, correlation_id: Option<&str>, answer: Answer) -> bool {
        let id = correlation_id.and_then(|text| Uuid::try_parse(text).ok());
        id.is_some_and(|id| self.calls.answer(id, answer))
    }

    fn tell(&self, news: News) {
        self.calls.hear();
        // Nobody listens to a link that was given up.
        let _ = self.news.send(news);
    }
}

impl fmt::Debug for LinkEvents {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LinkEvents(..)")
    }
}

/// Through which a link reports what became of one request. Dropping it reports nothing: the request goes on waiting.
pub struct Ticket {
    pub(crate) calls: Arc<Calls>,
    pub(crate) id: Uuid,
    /// Room among the unsent bytes, given back when the request is written.
    pub(crate) room: Option<OwnedSemaphorePermit>,
}

impl Ticket {
    /// The socket took the whole request.
    pub fn written(&mut self) {
        self.room = None;
        self.calls.written(self.id);
    }

    /// The broker confirmed the request.
    pub fn confirmed(self) {
        self.calls.hear();
        self.calls.confirmed(self.id);
    }

    /// The broker refused the request (`basic.nack`).
    pub fn rejected(self) {
        self.calls.hear();
        self.calls
            .answer(self.id, Answer::Failed(TransportError::Rejected));
    }

    /// The library could not send the request.
    pub fn failed(self, delivery: Delivery, reason: impl Into<String>) {
        let error = TransportError::Disconnected {
            delivery,
            reason: reason.into(),
        };
        self.calls.answer(self.id, Answer::Failed(error));
    }
}

impl fmt::Debug for Ticket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Ticket({})", self.id)
    }
}
