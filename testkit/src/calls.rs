//! The calls a test looks at afterwards.

use std::fmt;

use nameko_cachetools::IntoArgs;

use crate::{
    Call, Times,
    call::{Arguments, written},
    fail,
    log::{Logged, MAX_CALLS},
    times::calls,
};

/// Calls that reached the broker, in order: a copy, taken when [`FakeBroker::calls`](crate::FakeBroker::calls) was
/// called. The assertions return it, so that they chain, and show the calls when they fail.
///
/// Calls that were never sent (the broker was down or blocked, the service unknown) aren't among them.
#[derive(Clone)]
pub struct Calls {
    pub(crate) of: String,
    pub(crate) kept: Vec<Logged>,
    pub(crate) total: u64,
}

impl Calls {
    /// How many there were: exact, also beyond the 10,000 that the log keeps.
    pub fn count(&self) -> u64 {
        self.total
    }

    /// The calls, oldest first. Of more than 10,000, or of more than 64 MiB, the oldest are missing.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = &Call> {
        self.kept.iter().map(|logged| &*logged.call)
    }

    /// The first call that is kept.
    pub fn first(&self) -> Option<&Call> {
        self.iter().next()
    }

    /// The newest call.
    pub fn last(&self) -> Option<&Call> {
        self.iter().next_back()
    }

    /// Only those with exactly these arguments, positional and keyword.
    ///
    /// # Panics
    /// If older calls are forgotten.
    ///
    /// ```
    /// # use nameko_cachetools_testkit::FakeBroker;
    /// # let broker = FakeBroker::new();
    /// assert_eq!(broker.calls("products.get").with(("o1",)).max_in_flight(), 0);
    /// ```
    #[must_use]
    #[track_caller]
    pub fn with(self, args: impl IntoArgs) -> Self {
        let (args, kwargs) = written(args);
        self.only(|call| call.args == args && call.kwargs == kwargs)
    }

    /// Only those that `keep` is true for.
    ///
    /// # Panics
    /// If older calls are forgotten.
    ///
    /// ```
    /// # use nameko_cachetools_testkit::FakeBroker;
    /// # let broker = FakeBroker::new();
    /// let swedish = broker.calls("products.get").only(|call| call.context.get("language").is_some_and(|l| l == "sv"));
    /// swedish.assert_times(0);
    /// ```
    #[must_use]
    #[track_caller]
    pub fn only(self, keep: impl Fn(&Call) -> bool) -> Self {
        self.assert_complete();
        let kept: Vec<Logged> = self
            .kept
            .into_iter()
            .filter(|logged| keep(&logged.call))
            .collect();
        Self {
            of: format!("{} (filtered)", self.of),
            total: kept.len() as u64,
            kept,
        }
    }

    /// How many of them were in flight at once, at most: from a request's arrival to its answer or its caller's end.
    pub fn max_in_flight(&self) -> usize {
        let mut changes: Vec<(u64, bool)> = Vec::new();
        for logged in &self.kept {
            changes.push((logged.began, true));
            changes.extend(logged.ended.map(|ended| (ended, false)));
        }
        changes.sort_unstable();
        let (mut now, mut most) = (0_usize, 0);
        for (_, begins) in changes {
            now = if begins { now + 1 } else { now - 1 };
            most = most.max(now);
        }
        most
    }

    /// Asserts how many there were: `2`, `1..=3`, `1..`.
    ///
    /// # Panics
    /// If it were others, showing them.
    ///
    /// ```
    /// # use nameko_cachetools_testkit::FakeBroker;
    /// # let broker = FakeBroker::new();
    /// broker.calls("products.get").assert_times(0);
    /// ```
    #[track_caller]
    pub fn assert_times(&self, expected: impl Into<Times>) -> &Self {
        let expected = expected.into();
        if !expected.contains(self.total) {
            fail(format!("{}: expected {expected}, saw {}", self.of, calls(self.total)) + &self.listing());
        }
        self
    }

    /// Asserts that each of them has exactly these arguments, positional and keyword, and that there is one at least.
    ///
    /// # Panics
    /// If there is none, or one has others.
    ///
    /// ```should_panic
    /// # use nameko_cachetools_testkit::FakeBroker;
    /// use nameko_cachetools::args;
    /// # let broker = FakeBroker::new();
    /// broker.calls("products.get").assert_args(args!["o1", currency = "EUR"]); // there was none
    /// ```
    #[track_caller]
    pub fn assert_args(&self, args: impl IntoArgs) -> &Self {
        let (args, kwargs) = written(args);
        let what = format!("with ({})", Arguments(&args, &kwargs));
        self.assert_each(&what, |call| call.args == args && call.kwargs == kwargs)
    }

    /// Asserts that `holds` for each of them, and that there is one at least. `what` says it in the message.
    ///
    /// # Panics
    /// If there is none, or it doesn't hold for one.
    ///
    /// ```should_panic
    /// # use nameko_cachetools_testkit::FakeBroker;
    /// # let broker = FakeBroker::new();
    /// broker.calls("products.get").assert_each("persistent", |call| call.request.persistent); // there was none
    /// ```
    #[track_caller]
    pub fn assert_each(&self, what: &str, holds: impl Fn(&Call) -> bool) -> &Self {
        self.assert_complete();
        match self.iter().find(|call| !holds(call)) {
            Some(call) => fail(
                format!(
                    "{}: expected each call {what}, but not so #{} {call}",
                    self.of, call.number
                ) + &self.listing(),
            ),
            None if self.kept.is_empty() => fail(format!("{}: expected calls {what}, saw none", self.of)),
            None => self,
        }
    }

    /// What is asserted of each call can't be said of calls that are forgotten.
    #[track_caller]
    fn assert_complete(&self) {
        if self.total > self.kept.len() as u64 {
            fail(format!(
                "{}: only the newest {} of {} are kept (at most {MAX_CALLS}, and 64 MiB); \
                 only `count` and `assert_times` know of the others",
                self.of,
                self.kept.len(),
                calls(self.total)
            ));
        }
    }

    fn listing(&self) -> String {
        let mut text = String::new();
        let newest = self.kept.len().saturating_sub(SHOWN_CALLS);
        if newest > 0 {
            text.push_str(&format!("\n  .. {newest} before"));
        }
        for call in self.iter().skip(newest) {
            text.push_str(&format!(
                "\n  #{} {call} at {} ms",
                call.number,
                call.at.as_millis()
            ));
        }
        text
    }
}

/// How many calls an assertion's message shows.
const SHOWN_CALLS: usize = 20;

impl fmt::Debug for Calls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Calls({}: {}){}", self.of, self.total, self.listing())
    }
}
