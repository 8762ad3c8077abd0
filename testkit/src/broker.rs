//! The fake broker itself: what a test holds.

use std::{fmt, future::Future, panic::Location, sync::Arc, thread, time::Duration};

use nameko_cachetools::Client;
use tokio::{task::yield_now, time::timeout};

use crate::{
    Calls, FakeTransport, HeldCall, Rule, Violations, fail, hub::Hub, outages::Kind, target::Target,
};

/// A RabbitMQ with nameko services behind it, within the test's own process.
///
/// When it is dropped, it checks that every call was one that a rule is for, and that every rule saw the calls it
/// expects, and panics with a report if not. Keep it in the test itself until its end: without it, its transports are
/// not connected, and a panic in a spawned task would fail no test.
///
/// ```
/// # use nameko_cachetools::{Reply, args};
/// # use nameko_cachetools_testkit::FakeBroker;
/// # use serde_json::{Value, json};
/// # #[tokio::main(flavor = "current_thread", start_paused = true)]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let broker = FakeBroker::new();
/// broker.on("products.get").with(args!["o1"]).expect(1).reply(json!({"title": "The Odyssey"}));
///
/// let product: Reply<Value> = broker.client().service("products").call("get", args!["o1"]).await?;
/// assert_eq!(product["title"], "The Odyssey");
/// # Ok(())
/// # }
/// ```
pub struct FakeBroker {
    pub(crate) hub: Arc<Hub>,
    is_verified: bool,
}

impl FakeBroker {
    /// A broker without rules, whose chance comes from seed 0.
    #[allow(
        clippy::new_without_default,
        reason = "a broker that is made by the way is dropped by the way"
    )]
    pub fn new() -> Self {
        Self::with_seed(0)
    }

    /// A broker whose chance (drawn latencies) comes from `seed`: the same seed, the same test.
    ///
    /// ```
    /// # use nameko_cachetools_testkit::FakeBroker;
    /// let broker = FakeBroker::with_seed(7);
    /// ```
    pub fn with_seed(seed: u64) -> Self {
        Self {
            hub: Arc::new(Hub::new(seed)),
            is_verified: false,
        }
    }

    /// A broker, and its state for somebody who outlives it.
    pub(crate) fn observed(seed: u64) -> (Self, Arc<Hub>) {
        let broker = Self::with_seed(seed);
        let hub = Arc::clone(&broker.hub);
        (broker, hub)
    }

    /// A new rule for all calls of `route`, written `service.method`; the last dot splits, and `*` stands for any
    /// service or method. It counts at once.
    ///
    /// # Panics
    /// If nameko could not route to such a name.
    ///
    /// ```
    /// # use nameko_cachetools_testkit::{Answer, FakeBroker};
    /// # let broker = FakeBroker::new();
    /// broker.on("products.get").reply(Answer::ok(1));
    /// broker.on("stock.*").reply(Answer::error("Closed", "come back tomorrow"));
    /// broker.on("*.ping").reply(Answer::ok("pong"));
    /// ```
    #[track_caller]
    #[must_use = "a rule needs an answer: reply, sequence, reply_with or hold"]
    pub fn on(&self, route: &str) -> Rule<'_> {
        Rule::new(&self.hub, parsed(route), Location::caller())
    }

    /// A new connection to this broker. Each call makes another one, as each process would; clones share one.
    ///
    /// ```
    /// # use nameko_cachetools::Client;
    /// # use nameko_cachetools_testkit::FakeBroker;
    /// # use std::time::Duration;
    /// # let broker = FakeBroker::new();
    /// let client = Client::builder(broker.transport()).call_timeout(Duration::from_secs(2)).build();
    /// assert!(client.is_ready());
    /// ```
    pub fn transport(&self) -> FakeTransport {
        FakeTransport::new(Arc::clone(&self.hub))
    }

    /// A client over a new [`transport`](Self::transport), with a client's defaults.
    ///
    /// ```
    /// # use nameko_cachetools::{Reply, args};
    /// # use nameko_cachetools_testkit::{Answer, FakeBroker};
    /// # #[tokio::main(flavor = "current_thread", start_paused = true)]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let broker = FakeBroker::new();
    /// broker.on("stock.level").with(args!["A1"]).reply(Answer::ok(3));
    /// let level: Reply<u32> = broker.client().service("stock").call("level", args!["A1"]).await?;
    /// assert_eq!(*level, 3);
    /// # Ok(())
    /// # }
    /// ```
    pub fn client(&self) -> Client {
        Client::new(self.transport())
    }

    /// Waits for the next call that a rule with [`hold`](Rule::hold) handed to the test; each comes out once, in order.
    ///
    /// # Panics
    /// If no rule holds calls of `route`, or none comes within an hour of tokio's time: with a paused clock, that is
    /// when nothing else is left to happen.
    ///
    /// ```
    /// # use nameko_cachetools::{Reply, args};
    /// # use nameko_cachetools_testkit::{Answer, FakeBroker};
    /// # #[tokio::main(flavor = "current_thread", start_paused = true)]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let broker = FakeBroker::new();
    /// broker.on("stock.level").hold();
    /// let stock = broker.client().service("stock");
    /// let caller = tokio::spawn(async move { stock.call::<u32, _>("level", args!["A1"]).await });
    ///
    /// let held = broker.next_call("stock.level").await;
    /// assert_eq!((broker.in_flight(), held.args[0].as_str()), (1, Some("A1")));
    /// held.reply(Answer::ok(3));
    /// assert_eq!(*caller.await??, 3);
    /// # Ok(())
    /// # }
    /// ```
    #[track_caller]
    pub fn next_call(&self, route: &str) -> impl Future<Output = HeldCall> + Send + use<'_> {
        let (target, asked_at) = (parsed(route), Location::caller());
        if !self.hub.lock().script.may_hold(&target) {
            fail(format!(
                "no rule holds calls of {target}: add broker.on(\"{target}\").hold()"
            ));
        }
        async move {
            match timeout(HOUR, self.hub.next_held(&target)).await {
                Ok(held) => held,
                Err(_) => fail(format!(
                    "next_call(\"{target}\") at {}:{}: no such call came within an hour\ntimeline:\n{}",
                    asked_at.file(),
                    asked_at.line(),
                    self.timeline()
                )),
            }
        }
    }

    /// Lets all tasks that can go on do so, without moving the clock: afterwards, only time or the test can make
    /// something happen. On a runtime of several threads it can only try.
    ///
    /// # Panics
    /// If they never come to rest: something calls again and again without a pause.
    ///
    /// ```
    /// # use nameko_cachetools_testkit::FakeBroker;
    /// # #[tokio::main(flavor = "current_thread", start_paused = true)]
    /// # async fn main() {
    /// # let broker = FakeBroker::new();
    /// let before = tokio::time::Instant::now();
    /// broker.settle().await;
    /// assert_eq!(tokio::time::Instant::now(), before);
    /// # }
    /// ```
    pub async fn settle(&self) {
        let (mut quiet, mut seen) = (0, self.hub.lock().log.ticks());
        for _ in 0..MOST_YIELDS {
            yield_now().await;
            let now = self.hub.lock().log.ticks();
            quiet = if now == seen { quiet + 1 } else { 0 };
            seen = now;
            if quiet == QUIET_YIELDS {
                return;
            }
        }
        fail("settle(): the calls never come to rest; something calls again and again without a pause")
    }

    /// The calls of `route` so far; `*` stands for any service or method.
    ///
    /// # Panics
    /// If nameko could not route to such a name.
    ///
    /// ```
    /// # use nameko_cachetools_testkit::FakeBroker;
    /// # let broker = FakeBroker::new();
    /// broker.calls("products.get").assert_times(0);
    /// ```
    #[track_caller]
    pub fn calls(&self, route: &str) -> Calls {
        let target = parsed(route);
        let log = &self.hub.lock().log;
        let kept = log
            .calls()
            .filter(|logged| target.covers(&logged.call.route))
            .cloned()
            .collect();
        Calls {
            of: target.to_string(),
            kept,
            total: log.count(|route| target.covers(route)),
        }
    }

    /// All calls so far, of any route.
    ///
    /// ```
    /// # use nameko_cachetools_testkit::FakeBroker;
    /// # let broker = FakeBroker::new();
    /// assert_eq!(broker.all_calls().count(), 0);
    /// ```
    pub fn all_calls(&self) -> Calls {
        let log = &self.hub.lock().log;
        Calls {
            of: "all calls".to_owned(),
            kept: log.calls().cloned().collect(),
            total: log.count_all(),
        }
    }

    /// How many calls wait for their answers now.
    ///
    /// ```
    /// # use nameko_cachetools_testkit::FakeBroker;
    /// # let broker = FakeBroker::new();
    /// assert_eq!(broker.in_flight(), 0);
    /// ```
    pub fn in_flight(&self) -> usize {
        self.hub.lock().waiting.len()
    }

    /// How many calls waited for their answers at once, at most. For one route, or one set of arguments, see
    /// [`Calls::max_in_flight`].
    pub fn max_in_flight(&self) -> usize {
        self.hub.lock().most_waiting
    }

    /// What happened so far, one event a line: the same text in every run, made for snapshot tests.
    ///
    /// Holds the events of the newest 10,000 calls.
    ///
    /// ```
    /// # use nameko_cachetools::args;
    /// # use nameko_cachetools_testkit::{Answer, FakeBroker};
    /// # #[tokio::main(flavor = "current_thread", start_paused = true)]
    /// # async fn main() {
    /// # let broker = FakeBroker::new();
    /// # let after = std::time::Duration::from_millis(20);
    /// broker.on("stock.level").reply(Answer::error("KeyError", "'A1'").after(after));
    /// let _ = broker.client().service("stock").call::<u32, _>("level", args!["A1"]).await;
    /// let expected = [
    ///     r#"       0 ms  #1 stock.level("A1")"#,
    ///     r#"      20 ms  #1   error KeyError 'A1'"#,
    /// ];
    /// assert_eq!(broker.timeline().lines().collect::<Vec<_>>(), expected);
    /// # }
    /// ```
    pub fn timeline(&self) -> String {
        self.hub.lock().log.timeline(usize::MAX)
    }

    /// The timeline from an event on, and where it goes on from there; for what tells of it as it happens. `0` is the
    /// beginning.
    #[doc(hidden)]
    pub fn timeline_since(&self, event: u64) -> (String, u64) {
        let state = self.hub.lock();
        (state.log.timeline_since(event), state.log.ticks())
    }

    /// Checks now what the drop would check, and returns it instead of panicking. Ends the broker.
    ///
    /// # Errors
    /// The report, if there is anything to report.
    ///
    /// ```
    /// # use nameko_cachetools_testkit::{Answer, FakeBroker};
    /// let broker = FakeBroker::new();
    /// broker.on("products.get").expect(1).reply(Answer::ok(1));
    /// let violations = broker.verify().unwrap_err();
    /// assert!(violations.to_string().contains("expected exactly 1 call, saw none"));
    /// ```
    pub fn verify(mut self) -> Result<(), Violations> {
        self.is_verified = true;
        self.violations().map_or(Ok(()), Err)
    }

    fn violations(&self) -> Option<Violations> {
        let state = &mut *self.hub.lock();
        state.findings.report(&state.script, &mut state.log)
    }
}

/// Checks the calls, and cuts the connections.
impl Drop for FakeBroker {
    fn drop(&mut self) {
        let violations = if self.is_verified { None } else { self.violations() };
        self.hub.lock().begin_outage(&Kind::Gone);
        match violations {
            None => {}
            // The test fails already; a second panic would abort the process, and the report may well say why.
            Some(violations) if thread::panicking() => eprintln!("\n{violations}"),
            Some(violations) => fail(violations),
        }
    }
}

impl fmt::Debug for FakeBroker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.hub.lock();
        f.debug_struct("FakeBroker")
            .field("rules", &state.script.rules.len())
            .field("calls", &state.log.total())
            .field("in_flight", &state.waiting.len())
            .finish_non_exhaustive()
    }
}

/// A route or a pattern.
#[track_caller]
pub(crate) fn parsed(text: &str) -> Target {
    match text.parse::<Target>() {
        Ok(target) => target,
        Err(error) => fail(error),
    }
}

/// How long `next_call` waits: longer than any time limit that a test is likely to be about.
const HOUR: Duration = Duration::from_secs(3600);
/// How many times every ready task ran without anything happening at the broker, before calls are held to be at rest.
const QUIET_YIELDS: u32 = 64;
/// When to give up on calls coming to rest.
const MOST_YIELDS: u32 = 20_000;
