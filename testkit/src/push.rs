//! Answers for the next calls, whatever the rules say.

use std::{collections::VecDeque, fmt, panic::Location};

use nameko_cachetools::Route;

use crate::{Answer, FakeBroker, broker::parsed, latency::Dice, target::Target};

/// # Answers for the next calls
impl FakeBroker {
    /// The next calls of `route` are answered like this, one each, whatever the rules say; then the rules are back.
    /// Made for faults: what is pushed while earlier answers wait comes after them. `*` stands for any service or
    /// method.
    ///
    /// No rule sees these calls. What is left when the broker is dropped fails the test: what it is about has not
    /// happened.
    ///
    /// # Panics
    /// If nameko could not route to such a name.
    ///
    /// ```
    /// # use nameko_cachetools_testkit::{Answer, FakeBroker, When};
    /// # #[tokio::main(flavor = "current_thread", start_paused = true)]
    /// # async fn main() {
    /// let broker = FakeBroker::new();
    /// broker.on("stock.level").reply(Answer::ok(3));
    /// broker.push("stock.level", [Answer::disconnect(When::AfterSend), Answer::error("Timeout", "db")]);
    ///
    /// let stock = broker.client().service("stock");
    /// let level = async || stock.call::<u32, _>("level", ()).await;
    /// assert!(level().await.is_err());
    /// assert!(level().await.is_err());
    /// assert_eq!(*level().await.unwrap(), 3);
    /// # }
    /// ```
    #[track_caller]
    pub fn push<A: Into<Answer>>(&self, route: &str, answers: impl IntoIterator<Item = A>) {
        let push = Push {
            at: Location::caller(),
            target: parsed(route),
            answers: answers.into_iter().map(Into::into).collect(),
        };
        self.hub.lock().script.pushed.waiting.push_back(push);
    }
}

/// All that was pushed and not used yet, in order.
#[derive(Debug)]
pub(crate) struct Pushed {
    pub(crate) waiting: VecDeque<Push>,
    pub(crate) dice: Dice,
}

/// What one line of the test pushed.
#[derive(Debug)]
pub(crate) struct Push {
    at: &'static Location<'static>,
    target: Target,
    answers: VecDeque<Answer>,
}

impl Pushed {
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            waiting: VecDeque::new(),
            dice: Dice::new(seed, STREAM),
        }
    }

    /// The answer to a call of `route`, if one was pushed.
    pub(crate) fn take(&mut self, route: &Route) -> Option<Answer> {
        let next = self.waiting.iter().position(|push| push.target.covers(route))?;
        let answer = self.waiting[next].answers.pop_front();
        if self.waiting[next].answers.is_empty() {
            self.waiting.remove(next);
        }
        answer
    }

    #[cfg(feature = "wire")]
    pub(crate) fn has(&self, route: &Route) -> bool {
        self.waiting.iter().any(|push| push.target.covers(route))
    }

    pub(crate) fn may_hold(&self, target: &Target) -> bool {
        let mut meeting = self.waiting.iter().filter(|push| push.target.meets(target));
        meeting.any(|push| push.answers.iter().any(Answer::is_hold))
    }
}

/// As it reads in a report.
impl fmt::Display for Push {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (left, at) = (self.answers.len(), self.at);
        let answers = if left == 1 { "answer" } else { "answers" };
        let (target, file, line) = (&self.target, at.file(), at.line());
        write!(
            f,
            "{left} {answers} pushed for {target} ({file}:{line}) never used"
        )
    }
}

/// The stream of chance that latencies of pushed answers are drawn from; no rule's.
const STREAM: u64 = 1 << 62;
