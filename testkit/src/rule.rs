//! The builder that a rule is written with.

use std::{
    fmt,
    panic::Location,
    sync::{Arc, Mutex},
};

use nameko_cachetools::IntoArgs;
use serde::Serialize;
use serde_json::Value;

use crate::{
    Answer, Call, Latency, Times,
    call::{context_key, written},
    fail,
    hub::Hub,
    matcher::Matcher,
    script::{RuleState, Step},
    target::Target,
};

/// One rule of a [`FakeBroker`](crate::FakeBroker): which calls it is for, and what they are answered.
///
/// A rule counts from the moment [`on`](crate::FakeBroker::on) makes it; the methods here refine it, in any order.
/// What it doesn't mention matches anything. It needs an answer: one of [`reply`](Self::reply),
/// [`sequence`](Self::sequence), [`reply_with`](Self::reply_with) and [`hold`](Self::hold).
///
/// If several rules match a call, the first that still [`expect`](Self::expect)s calls answers it. Those for one route
/// come before those for a pattern (`products.*`), and before all of them comes what was
/// [pushed](crate::FakeBroker::push).
pub struct Rule<'a> {
    hub: &'a Hub,
    number: usize,
}

impl<'a> Rule<'a> {
    pub(crate) fn new(hub: &'a Hub, target: Target, at: &'static Location<'static>) -> Self {
        let number = hub.lock().script.add(target, at);
        Self { hub, number }
    }

    /// Only calls with exactly these arguments, positional and keyword: [`args!`](nameko_cachetools::args), a tuple.
    ///
    /// # Panics
    /// If they can't be written as JSON.
    ///
    /// ```
    /// # use nameko_cachetools_testkit::{Answer, FakeBroker};
    /// use nameko_cachetools::args;
    /// # let broker = FakeBroker::new();
    /// broker.on("products.get").with(args!["the_odyssey", currency = "EUR"]).reply(Answer::ok(12.5));
    /// broker.on("products.get").with(("the_iliad",)).reply(Answer::ok(13)); // no keyword arguments
    /// ```
    #[track_caller]
    pub fn with(self, args: impl IntoArgs) -> Self {
        let (args, kwargs) = written(args);
        self.edit(|rule| (rule.matcher.args, rule.matcher.kwargs) = (Some(args), Some(kwargs)))
    }

    /// Only calls with exactly these positional arguments, whatever the keyword arguments: a tuple, a list, `json!([..])`.
    ///
    /// # Panics
    /// If serde doesn't write `args` as a sequence.
    ///
    /// ```
    /// # use nameko_cachetools_testkit::{Answer, FakeBroker};
    /// # use serde_json::json;
    /// # let broker = FakeBroker::new();
    /// broker.on("products.get").args(("the_odyssey",)).reply(Answer::ok(1));
    /// broker.on("products.list").args(json!([{"state": "open"}, 50])).reply(Answer::ok(2));
    /// broker.on("products.count").args(()).reply(Answer::ok(3));
    /// ```
    #[track_caller]
    pub fn args(self, args: impl Serialize) -> Self {
        let args = match serde_json::to_value(args) {
            Ok(Value::Array(args)) => args,
            Ok(Value::Null) => Vec::new(), // `()`
            Ok(other) => fail(format!(
                "args() takes a list of arguments, got {other}; write args(({other},))"
            )),
            Err(error) => fail(format!("args(): these can't be written as JSON: {error}")),
        };
        self.edit(|rule| rule.matcher.args = Some(args))
    }

    /// Only calls with exactly these keyword arguments, whatever the positional ones: a struct, a map, `json!({..})`.
    ///
    /// # Panics
    /// If serde doesn't write `kwargs` as a map.
    ///
    /// ```
    /// # use nameko_cachetools_testkit::{Answer, FakeBroker};
    /// # use serde_json::json;
    /// # let broker = FakeBroker::new();
    /// broker.on("products.get").kwargs(json!({"currency": "EUR"})).reply(Answer::ok(1));
    /// ```
    #[track_caller]
    pub fn kwargs(self, kwargs: impl Serialize) -> Self {
        let kwargs = match serde_json::to_value(kwargs) {
            Ok(Value::Object(kwargs)) => kwargs,
            Ok(other) => fail(format!("kwargs() takes a map of names and values, got {other}")),
            Err(error) => fail(format!("kwargs(): these can't be written as JSON: {error}")),
        };
        self.edit(|rule| rule.matcher.kwargs = Some(kwargs))
    }

    /// Only calls with this positional argument at `position`, from 0, whatever the others.
    ///
    /// # Panics
    /// If `value` can't be written as JSON.
    ///
    /// ```
    /// # use nameko_cachetools_testkit::{Answer, FakeBroker};
    /// # let broker = FakeBroker::new();
    /// broker.on("products.search").arg(0, "odyssey").reply(Answer::ok(["the_odyssey"]));
    /// ```
    #[track_caller]
    pub fn arg(self, position: usize, value: impl Serialize) -> Self {
        let value = json("arg", value);
        self.edit(|rule| drop(rule.matcher.positions.insert(position, value)))
    }

    /// Only calls with this keyword argument, whatever the others.
    ///
    /// # Panics
    /// If `value` can't be written as JSON.
    ///
    /// ```
    /// # use nameko_cachetools_testkit::{Answer, FakeBroker};
    /// # let broker = FakeBroker::new();
    /// broker.on("products.search").kwarg("currency", "EUR").reply(Answer::ok(["the_odyssey"]));
    /// ```
    #[track_caller]
    pub fn kwarg(self, name: &str, value: impl Serialize) -> Self {
        let (name, value) = (name.to_owned(), json("kwarg", value));
        self.edit(|rule| drop(rule.matcher.named.insert(name, value)))
    }

    /// Only calls whose worker context has `key` with exactly this value; other keys don't matter.
    ///
    /// # Panics
    /// If `value` can't be written as JSON.
    ///
    /// ```
    /// # use nameko_cachetools_testkit::{Answer, FakeBroker};
    /// # let broker = FakeBroker::new();
    /// broker.on("products.get").context("language", "sv").reply(Answer::ok("Odysséen"));
    /// ```
    #[track_caller]
    pub fn context(self, key: &str, value: impl Serialize) -> Self {
        let (key, value) = (context_key(key).to_owned(), json("context", value));
        self.edit(|rule| drop(rule.matcher.context.insert(key, value)))
    }

    /// Only calls for which `holds` is true; a panic in it counts as false. The name stands in the report.
    ///
    /// `holds` must not use the broker: it runs while the broker chooses a rule.
    ///
    /// ```
    /// # use nameko_cachetools_testkit::{Answer, FakeBroker};
    /// # let broker = FakeBroker::new();
    /// broker
    ///     .on("products.list")
    ///     .when("the limit is at most 100", |call| call.kwargs["limit"].as_u64() <= Some(100))
    ///     .reply(Answer::ok(1));
    /// ```
    pub fn when(self, name: &str, holds: impl Fn(&Call) -> bool + Send + 'static) -> Self {
        let holds = move |call: &Call| {
            if holds(call) {
                Ok(())
            } else {
                Err("false".to_owned())
            }
        };
        self.on_condition(name.to_owned(), holds)
    }

    /// Only calls for which `holds`; its error says in the report what there was in place of that.
    pub(crate) fn on_condition(
        self,
        name: String,
        holds: impl Fn(&Call) -> Result<(), String> + Send + 'static,
    ) -> Self {
        self.edit(|rule| rule.matcher.conditions.push((name, Box::new(holds))))
    }

    /// How many calls the rule is to see, checked when the broker is dropped: `2`, `1..=3`, `1..`, `0`.
    ///
    /// A rule that has seen its most lets later rules answer. If none can, it answers all the same, and the test
    /// fails at the end.
    ///
    /// ```
    /// # use nameko_cachetools_testkit::{Answer, FakeBroker};
    /// # let broker = FakeBroker::new();
    /// broker.on("products.get").expect(..=1).reply(Answer::ok("once"));
    /// broker.on("products.get").reply(Answer::ok("from then on"));
    /// broker.on("products.delete").expect(0).reply(Answer::ok(()));
    /// ```
    pub fn expect(self, times: impl Into<Times>) -> Self {
        let times = times.into();
        self.edit(|rule| rule.expected = times)
    }

    /// How long each answer takes from the request's arrival, where the answer doesn't say it itself: a `Duration`,
    /// a range of them, or a [`Latency`].
    ///
    /// ```
    /// # use nameko_cachetools_testkit::{Answer, FakeBroker};
    /// # use std::time::Duration;
    /// # let broker = FakeBroker::new();
    /// let ms = Duration::from_millis;
    /// broker.on("products.get").after(ms(20)).reply(Answer::ok(1));
    /// broker.on("stock.level").after(ms(5)..ms(50)).reply(Answer::ok(3));
    /// ```
    pub fn after(self, latency: impl Into<Latency>) -> Self {
        let latency = latency.into();
        self.edit(|rule| rule.latency = Some(latency))
    }

    /// Answers every call like this, until [`then`](Self::then) says otherwise.
    ///
    /// # Panics
    /// If the rule has an answer already.
    ///
    /// ```
    /// # use nameko_cachetools_testkit::{Answer, FakeBroker};
    /// # use serde_json::json;
    /// # let broker = FakeBroker::new();
    /// broker.on("products.get").reply(json!({"title": "The Odyssey"}));
    /// ```
    #[track_caller]
    pub fn reply(self, answer: impl Into<Answer>) -> Self {
        self.first([Step::Answer(answer.into())])
    }

    /// The answer to the next call, and to all after it. The answers before are used once each.
    ///
    /// # Panics
    /// If there is no answer before: the first is [`reply`](Self::reply).
    ///
    /// ```
    /// # use nameko_cachetools_testkit::{Answer, FakeBroker};
    /// # let broker = FakeBroker::new();
    /// broker
    ///     .on("products.get")
    ///     .reply(Answer::ok("first"))
    ///     .then(Answer::error("ValueError", "second"))
    ///     .then(Answer::never()); // third, fourth, ..
    /// ```
    #[track_caller]
    pub fn then(self, answer: impl Into<Answer>) -> Self {
        let answer = answer.into();
        if self.hub.lock().script.rules[self.number].steps.is_empty() {
            fail(
                "then() follows reply(), sequence(), reply_with() or hold(); this rule has no first answer yet",
            );
        }
        self.edit(|rule| rule.steps.push(Step::Answer(answer)))
    }

    /// These answers one after the other; the last one repeats.
    ///
    /// # Panics
    /// If there are none, or the rule has an answer already.
    ///
    /// ```
    /// # use nameko_cachetools_testkit::{Answer, FakeBroker};
    /// # let broker = FakeBroker::new();
    /// broker.on("stock.level").sequence([Answer::ok(3), Answer::ok(2), Answer::never()]);
    /// ```
    #[track_caller]
    pub fn sequence<A: Into<Answer>>(self, answers: impl IntoIterator<Item = A>) -> Self {
        self.first(answers.into_iter().map(|answer| Step::Answer(answer.into())))
    }

    /// Calls `handler` when a call arrives, and answers what it returns. A panic in it is answered as an exception
    /// of the service, and fails the test when the broker is dropped: assertions may stand there.
    ///
    /// # Panics
    /// If the rule has an answer already.
    ///
    /// ```
    /// # use nameko_cachetools_testkit::{Answer, FakeBroker};
    /// # let broker = FakeBroker::new();
    /// let mut stock = 7;
    /// broker.on("stock.take").reply_with(move |call| {
    ///     stock -= call.args[0].as_i64().unwrap_or(1);
    ///     Answer::ok(stock)
    /// });
    /// ```
    #[track_caller]
    pub fn reply_with(self, handler: impl FnMut(&Call) -> Answer + Send + 'static) -> Self {
        self.first([Step::Handler(Arc::new(Mutex::new(handler)))])
    }

    /// Hands every call to the test, which answers it by hand: [`FakeBroker::next_call`](crate::FakeBroker::next_call).
    ///
    /// ```
    /// # use nameko_cachetools_testkit::{Answer, FakeBroker};
    /// # let broker = FakeBroker::new();
    /// broker.on("products.get").hold();
    /// broker.on("stock.level").hold().then(Answer::ok(3)); // only the first call is held
    /// ```
    ///
    /// # Panics
    /// If the rule has an answer already.
    #[track_caller]
    pub fn hold(self) -> Self {
        self.reply(Answer::hold())
    }

    /// Where the rule is written, if that isn't here: for reports.
    #[doc(hidden)]
    pub fn located(self, line: String) -> Self {
        self.edit(|rule| rule.line = Some(line))
    }

    pub(crate) fn number(&self) -> usize {
        self.number
    }

    /// Makes this a rule of a cassette, at `line` of it.
    pub(crate) fn recorded(self, line: String, matcher: Matcher, steps: Vec<Step>, expected: Times) {
        self.edit(|rule| {
            rule.line = Some(line);
            rule.matcher = matcher;
            rule.steps = steps;
            rule.expected = expected;
        });
    }

    #[track_caller]
    fn first(self, steps: impl IntoIterator<Item = Step>) -> Self {
        let steps: Vec<Step> = steps.into_iter().collect();
        if steps.is_empty() {
            fail("a rule needs at least one answer");
        }
        if !self.hub.lock().script.rules[self.number].steps.is_empty() {
            fail("this rule has an answer already; add the next one with then(..)");
        }
        self.edit(|rule| rule.steps = steps)
    }

    fn edit(self, change: impl FnOnce(&mut RuleState)) -> Self {
        change(&mut self.hub.lock().script.rules[self.number]);
        self
    }
}

#[track_caller]
fn json(method: &str, value: impl Serialize) -> Value {
    match serde_json::to_value(value) {
        Ok(value) => value,
        Err(error) => fail(format!("{method}(): this can't be written as JSON: {error}")),
    }
}

impl fmt::Debug for Rule<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Rule({})", self.hub.lock().script.rules[self.number])
    }
}
