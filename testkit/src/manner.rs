//! How a reply is delivered, beside what it says.

use std::fmt;

use crate::{Answer, act::Act, fail};

/// When the connection is lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum When {
    /// Before the request is written: no service has it.
    BeforeSend,
    /// After the request is written, before the broker confirms it: the service may have executed it, but its reply
    /// is lost.
    AfterSend,
    /// When the reply was due: the broker confirmed the request and the service executed it, but its reply is lost.
    BeforeReply,
}

/// The correlation id that a reply carries, by which its caller knows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Correlation {
    /// The request's own, as it should be.
    Own,
    /// A well-formed one that nobody waits for.
    Unknown,
    /// An empty one.
    Empty,
    /// None at all.
    Missing,
    /// That of another call, which waits on the same connection: of several, the one that has waited longest. If there
    /// is none, it is nobody's.
    ///
    /// AMQP has nothing else by which a reply is known, so every client takes it for the other call's: that one ends
    /// with a wrong answer, and its own comes too late. A cache keeps the wrong answer as it would the right one. What
    /// has to hold is that nobody gets two, and that the call without a reply ends by its limit.
    Another,
    /// Bytes that are no UTF-8. Client libraries give up the whole connection for it, so that all calls that wait on
    /// it fail.
    NotUtf8,
}

impl Correlation {
    /// Every kind but [`Own`](Self::Own).
    pub const WRONG: &[Self] = &[
        Self::Unknown,
        Self::Empty,
        Self::Missing,
        Self::Another,
        Self::NotUtf8,
    ];
}

/// What becomes of a reply that has it, for the timeline.
impl fmt::Display for Correlation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Own => "under the request's correlation id",
            Self::Unknown => "lost, its correlation id is nobody's",
            Self::Empty => "lost, its correlation id is empty",
            Self::Missing => "lost, it has no correlation id",
            Self::Another => "under another call's correlation id",
            Self::NotUtf8 => "lost with the connection, its correlation id is no UTF-8",
        })
    }
}

/// What may be odd about a reply's delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Manner {
    /// How often the reply is sent; at least once.
    pub(crate) copies: u32,
    pub(crate) correlation: Correlation,
    /// Whether the connection is lost right after it.
    pub(crate) hangs_up: bool,
}

impl Default for Manner {
    fn default() -> Self {
        Self {
            copies: 1,
            correlation: Correlation::Own,
            hangs_up: false,
        }
    }
}

/// # Replies delivered oddly
impl Answer {
    /// The same reply so many times, as after a redelivered request. Only the first can reach the caller; what the
    /// others must not do is end another call, or be taken for a newer answer.
    ///
    /// # Panics
    /// If `copies` is 0, or the answer is no reply.
    ///
    /// ```
    /// # use nameko_cachetools_testkit::{Answer, FakeBroker};
    /// # let broker = FakeBroker::new();
    /// broker.on("products.get").reply(Answer::ok(1).copies(2));
    /// ```
    #[must_use]
    #[track_caller]
    pub fn copies(self, copies: u32) -> Self {
        if copies == 0 {
            fail("copies(0) is no answer: write Answer::never()");
        }
        self.sent("copies", |manner| manner.copies = copies)
    }

    /// The same reply under another correlation id: its caller never gets it.
    ///
    /// # Panics
    /// If the answer is no reply.
    ///
    /// ```
    /// # use nameko_cachetools_testkit::{Answer, Correlation, FakeBroker};
    /// # let broker = FakeBroker::new();
    /// let strays = Correlation::WRONG.iter().map(|id| Answer::ok("not yours").correlation(*id));
    /// broker.on("products.get").sequence(strays);
    /// ```
    ///
    /// A service that mixes its callers up:
    ///
    /// ```
    /// # use nameko_cachetools_testkit::{Answer, Correlation, FakeBroker};
    /// # use std::time::Duration;
    /// # #[tokio::main(flavor = "current_thread", start_paused = true)]
    /// # async fn main() {
    /// # let broker = FakeBroker::new();
    /// broker.on("users.name").with((1,)).reply(Answer::never());
    /// broker.on("users.name").with((2,)).reply(Answer::ok("Bea").correlation(Correlation::Another));
    /// let users = broker.client().service("users");
    /// let name = |id: u32| users.call::<String, _>("name", (id,)).timeout(Duration::from_secs(1));
    /// let (first, second) = tokio::join!(name(1), name(2));
    /// assert_eq!(*first.unwrap(), "Bea"); // nothing tells that it isn't Ann
    /// assert!(second.unwrap_err().is_timeout());
    /// # }
    /// ```
    #[must_use]
    #[track_caller]
    pub fn correlation(self, correlation: Correlation) -> Self {
        self.sent("correlation", |manner| manner.correlation = correlation)
    }

    /// The same reply, and then the connection is lost: this caller has its answer, all others that wait on the
    /// connection fail. It is back at once.
    ///
    /// # Panics
    /// If the answer is no reply.
    ///
    /// ```
    /// # use nameko_cachetools_testkit::{Answer, FakeBroker};
    /// # let broker = FakeBroker::new();
    /// broker.on("products.get").reply(Answer::ok(1).hang_up());
    /// ```
    #[must_use]
    #[track_caller]
    pub fn hang_up(self) -> Self {
        self.sent("hang_up", |manner| manner.hangs_up = true)
    }

    #[track_caller]
    fn sent(mut self, how: &str, change: impl FnOnce(&mut Manner)) -> Self {
        if !matches!(self.act, Act::Reply(_)) {
            fail(format!(
                "Answer::{how}: only a reply is delivered, and this is none: {}",
                self.act.summary()
            ));
        }
        change(&mut self.manner);
        self
    }
}
