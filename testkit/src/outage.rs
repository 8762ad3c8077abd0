//! Outages that last as long as their guard.

use std::{fmt, sync::Arc, time::Duration};

use crate::{FakeBroker, Latency, brown_out::BrownOut, fail, flapping::Flapping, hub::Hub, outages::Kind};

/// An outage of the broker or of one service. It ends when this guard is dropped, or by [`end`](Self::end).
///
/// Outages of the same kind may overlap: the last one to end ends it.
///
/// ```
/// # use nameko_cachetools_testkit::{Answer, FakeBroker};
/// # let broker = FakeBroker::new();
/// {
///     let _outage = broker.down();
///     // here every request fails: not connected
/// }
/// // here they are answered again
/// ```
#[must_use = "the outage ends when this guard is dropped"]
pub struct Outage(What);

enum What {
    Lasting { hub: Arc<Hub>, kind: Kind },
    Flapping(Flapping),
}

impl Outage {
    pub(crate) fn begin(hub: &Arc<Hub>, kind: Kind) -> Self {
        hub.lock().begin_outage(&kind);
        let hub = Arc::clone(hub);
        Self(What::Lasting { hub, kind })
    }

    /// Ends the outage. The same as dropping the guard, for tests that want to say it.
    pub fn end(self) {}
}

impl Drop for Outage {
    fn drop(&mut self) {
        match &mut self.0 {
            What::Lasting { hub, kind } => hub.end_outage(kind),
            What::Flapping(flapping) => flapping.end(),
        }
    }
}

impl fmt::Debug for Outage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            What::Lasting { kind, .. } => write!(f, "Outage({kind})"),
            What::Flapping(_) => f.write_str("Outage(broker flapping)"),
        }
    }
}

/// # Outages
impl FakeBroker {
    /// No connection to the broker, until the guard is dropped: waiting calls fail as disconnected, new ones as not
    /// connected.
    ///
    /// ```
    /// # use nameko_cachetools::{Transport};
    /// # use nameko_cachetools_testkit::FakeBroker;
    /// # let broker = FakeBroker::new();
    /// # let transport = broker.transport();
    /// let outage = broker.down();
    /// assert!(!transport.state().borrow().is_ready());
    /// outage.end();
    /// assert!(transport.state().borrow().is_ready());
    /// ```
    pub fn down(&self) -> Outage {
        Outage::begin(&self.hub, Kind::Down)
    }

    /// The broker takes no requests (RabbitMQ's memory or disk alarm), until the guard is dropped: new calls fail as
    /// blocked. Replies to earlier ones still come.
    ///
    /// ```
    /// # use nameko_cachetools_testkit::FakeBroker;
    /// # let broker = FakeBroker::new();
    /// let _alarm = broker.blocked();
    /// ```
    pub fn blocked(&self) -> Outage {
        Outage::begin(&self.hub, Kind::Blocked)
    }

    /// No queue is bound for `service`, until the guard is dropped: calls to it fail as unknown service. So a service
    /// looks that has never run; for one that is stopped see [`silent`](Self::silent).
    ///
    /// ```
    /// # use nameko_cachetools_testkit::FakeBroker;
    /// # let broker = FakeBroker::new();
    /// let _never_deployed = broker.unknown("products");
    /// ```
    pub fn unknown(&self, service: &str) -> Outage {
        Outage::begin(&self.hub, Kind::Unknown(service.to_owned()))
    }

    /// `service` is stopped or hangs, until the guard is dropped: requests wait in its durable queue. Then, as
    /// soon as other tasks run, it answers them, oldest first: as a real service does, also those whose callers have
    /// given up, but not those whose `expiration` has passed.
    ///
    /// ```
    /// # use nameko_cachetools_testkit::FakeBroker;
    /// # let broker = FakeBroker::new();
    /// let _stopped = broker.silent("products");
    /// ```
    pub fn silent(&self, service: &str) -> Outage {
        Outage::begin(&self.hub, Kind::Silent(service.to_owned()))
    }

    /// The broker goes down at once, for `down`, is back for `up`, and so on, until the guard is dropped.
    ///
    /// # Panics
    /// Outside of a tokio runtime, whose time it goes by; and if both times are zero.
    ///
    /// ```
    /// # use nameko_cachetools_testkit::FakeBroker;
    /// # use std::time::Duration;
    /// # #[tokio::main(flavor = "current_thread", start_paused = true)]
    /// # async fn main() {
    /// # let broker = FakeBroker::new();
    /// let client = broker.client();
    /// let _flapping = broker.flapping(Duration::from_secs(1), Duration::from_secs(9));
    /// assert!(!client.is_ready());
    /// tokio::time::sleep(Duration::from_millis(1001)).await;
    /// assert!(client.is_ready());
    /// # }
    /// ```
    #[track_caller]
    pub fn flapping(&self, down: Duration, up: Duration) -> Outage {
        Outage(What::Flapping(Flapping::begin(&self.hub, down, up)))
    }

    /// `service` struggles, until the guard is dropped: each of its answers takes `latency` longer than it would, and
    /// of `error_rate` of the calls (0.0 to 1.0) the answer is an exception, `TimeoutError`. Both are drawn from the
    /// broker's seed. Calls that the test [holds](crate::Rule::hold) are spared.
    ///
    /// # Panics
    /// If `error_rate` is not from 0.0 to 1.0.
    ///
    /// ```
    /// # use nameko_cachetools_testkit::{FakeBroker, Latency};
    /// # use std::time::Duration;
    /// # let broker = FakeBroker::new();
    /// let overload = Latency::lognormal(Duration::from_millis(400), Duration::from_secs(4));
    /// let _struggling = broker.brown_out("products", overload, 0.3);
    /// ```
    #[track_caller]
    pub fn brown_out(&self, service: &str, latency: impl Into<Latency>, error_rate: f64) -> Outage {
        if !(0.0..=1.0).contains(&error_rate) {
            fail(format!(
                "brown_out: the error rate is a share, from 0.0 to 1.0, not {error_rate}"
            ));
        }
        let brown_out = BrownOut::new(service, latency.into(), error_rate);
        let kind = self.hub.lock().add_brown_out(brown_out);
        Outage::begin(&self.hub, kind)
    }

    /// Replies overtake each other, until the guard is dropped: those that are ready within `window` of the first come
    /// at its end, one a millisecond, in an order drawn from the broker's seed, which is never the order they had.
    ///
    /// ```
    /// # use nameko_cachetools_testkit::FakeBroker;
    /// # use std::time::Duration;
    /// # let broker = FakeBroker::new();
    /// let _shuffled = broker.reordered(Duration::from_millis(10));
    /// ```
    pub fn reordered(&self, window: Duration) -> Outage {
        Outage::begin(&self.hub, Kind::Reordered(window))
    }
}
