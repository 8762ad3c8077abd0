//! Faults that last.

use std::time::Duration;

use super::{
    Tune, WireBroker, WireFault,
    fault::{Confirming, Fault},
};

/// Faults that last as long as the guard they return.
impl WireBroker {
    /// Nothing is read from any connection and nothing written, and nobody is told: the cable is out, or the broker's
    /// machine hangs. What was sent meanwhile passes afterwards. New connections are made, and stay silent.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use nameko_cachetools_testkit::{FakeBroker, wire::RawClient};
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> std::io::Result<()> {
    /// # let broker = FakeBroker::new();
    /// # let wire = broker.serve().await;
    /// let mut client = RawClient::connect(&wire.uri()).await?;
    /// let silence = wire.half_open();
    /// client.say("1 channel.open").await;
    /// assert!(client.hears_nothing_for(Duration::from_millis(20)).await);
    /// silence.end();
    /// assert_eq!(client.hear().await, "1 channel.open-ok");
    /// # Ok(())
    /// # }
    /// ```
    pub fn half_open(&self) -> WireFault {
        self.begin(Fault::HalfOpen)
    }

    /// Every octet takes its time.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use nameko_cachetools_testkit::{FakeBroker, wire::RawClient};
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> std::io::Result<()> {
    /// # let broker = FakeBroker::new();
    /// # let wire = broker.serve().await;
    /// let mut client = RawClient::connect(&wire.uri()).await?;
    /// let _slow = wire.slow(Duration::from_millis(2));
    /// let start = tokio::time::Instant::now();
    /// client.say("1 channel.open").await;
    /// assert_eq!(client.hear().await, "1 channel.open-ok"); // 16 octets
    /// assert!(start.elapsed() >= Duration::from_millis(32));
    /// # Ok(())
    /// # }
    /// ```
    pub fn slow(&self, per_octet: Duration) -> WireFault {
        self.begin(Fault::Slow(per_octet))
    }

    /// The broker sends no heartbeats.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use nameko_cachetools_testkit::{FakeBroker, wire::{RawClient, Tune}};
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> std::io::Result<()> {
    /// # let broker = FakeBroker::new();
    /// # let wire = broker.serve().await;
    /// # let mut every_second = Tune::default();
    /// # every_second.heartbeat = 1;
    /// # let _tune = wire.tune(every_second);
    /// let mut client = RawClient::connect(&wire.uri()).await?; // agrees to a heartbeat of 1 s
    /// assert_eq!(client.hear().await, "heartbeat");
    /// let _heartless = wire.no_heartbeats();
    /// assert!(client.hears_nothing_for(Duration::from_millis(600)).await);
    /// # Ok(())
    /// # }
    /// ```
    pub fn no_heartbeats(&self) -> WireFault {
        self.begin(Fault::NoHeartbeats)
    }

    /// The broker takes new connections, and then never says a word.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use nameko_cachetools_testkit::{FakeBroker, wire::RawClient};
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> std::io::Result<()> {
    /// # let broker = FakeBroker::new();
    /// # let wire = broker.serve().await;
    /// let _silent = wire.silent_handshake();
    /// let mut client = RawClient::tcp(&wire.uri()).await?;
    /// client.send(b"AMQP\x00\x00\x09\x01").await;
    /// assert!(client.hears_nothing_for(Duration::from_millis(20)).await);
    /// # Ok(())
    /// # }
    /// ```
    pub fn silent_handshake(&self) -> WireFault {
        self.begin(Fault::SilentHandshake)
    }

    /// No user name and password is right: 403 `ACCESS_REFUSED`, or just the end for clients that don't announce
    /// `authentication_failure_close`.
    ///
    /// ```
    /// # use nameko_cachetools_testkit::{FakeBroker, wire::RawClient};
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// # let broker = FakeBroker::new();
    /// # let wire = broker.serve().await;
    /// let _refused = wire.refuse_logins();
    /// let refusal = RawClient::connect(&wire.uri()).await.unwrap_err();
    /// assert!(refusal.to_string().starts_with("connection.close 403 ACCESS_REFUSED - Login was refused"));
    /// # }
    /// ```
    pub fn refuse_logins(&self) -> WireFault {
        self.begin(Fault::RefusedLogins)
    }

    /// There is no vhost of any name: 530 `NOT_ALLOWED`.
    ///
    /// ```
    /// # use nameko_cachetools_testkit::{FakeBroker, wire::RawClient};
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// # let broker = FakeBroker::new();
    /// # let wire = broker.serve().await;
    /// let _refused = wire.refuse_vhosts();
    /// let refusal = RawClient::connect(&wire.uri()).await.unwrap_err();
    /// assert_eq!(refusal.to_string(), "connection.close 530 NOT_ALLOWED - vhost / not found");
    /// # }
    /// ```
    pub fn refuse_vhosts(&self) -> WireFault {
        self.begin(Fault::RefusedVhosts)
    }

    /// New connections are proposed other limits than RabbitMQ's: the extremes are 0 and 1.
    ///
    /// ```
    /// # use nameko_cachetools_testkit::{FakeBroker, wire::{RawClient, Tune}};
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> std::io::Result<()> {
    /// # let broker = FakeBroker::new();
    /// # let wire = broker.serve().await;
    /// let mut limits = Tune::default();
    /// limits.channel_max = 1;
    /// let _tuned = wire.tune(limits);
    /// let mut client = RawClient::connect(&wire.uri()).await?;
    /// client.say("2 channel.open").await;
    /// assert!(client.hear().await.starts_with("connection.close 530 NOT_ALLOWED"));
    /// # Ok(())
    /// # }
    /// ```
    pub fn tune(&self, limits: Tune) -> WireFault {
        self.begin(Fault::Tuned(limits))
    }

    /// The broker refuses every message (`basic.nack`) that it routes.
    ///
    /// ```
    /// # use nameko_cachetools_testkit::{Answer, FakeBroker, wire::RawClient};
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> std::io::Result<()> {
    /// # let broker = FakeBroker::new();
    /// # broker.on("stock.level").reply(Answer::ok(3));
    /// # let wire = broker.serve().await;
    /// let mut client = RawClient::publisher(&wire.uri()).await?; // channel 1 is open and confirms
    /// let _refusing = wire.nack();
    /// client.call(1, "stock.level", "me", r#"{"args": [], "kwargs": {}}"#).await;
    /// assert_eq!(client.hear().await, "1 basic.nack 1");
    /// # Ok(())
    /// # }
    /// ```
    pub fn nack(&self) -> WireFault {
        self.begin(Fault::Confirms(Confirming::Refused))
    }

    /// No message is ever confirmed.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use nameko_cachetools_testkit::{Answer, FakeBroker, wire::RawClient};
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> std::io::Result<()> {
    /// # let broker = FakeBroker::new();
    /// # broker.on("stock.level").reply(Answer::ok(3));
    /// # let wire = broker.serve().await;
    /// let mut client = RawClient::publisher(&wire.uri()).await?;
    /// let _unconfirmed = wire.no_confirms();
    /// client.call(1, "stock.level", "me", r#"{"args": [], "kwargs": {}}"#).await;
    /// assert!(client.hears_nothing_for(Duration::from_millis(20)).await);
    /// # Ok(())
    /// # }
    /// ```
    pub fn no_confirms(&self) -> WireFault {
        self.begin(Fault::Confirms(Confirming::Never))
    }

    /// Confirms come so much later: after the reply, for most.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use nameko_cachetools_testkit::{Answer, FakeBroker, wire::RawClient};
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> std::io::Result<()> {
    /// # let broker = FakeBroker::new();
    /// # broker.on("stock.level").reply(Answer::ok(3));
    /// # let wire = broker.serve().await;
    /// let mut client = RawClient::publisher(&wire.uri()).await?;
    /// let _late = wire.confirm_after(Duration::from_millis(30));
    /// client.call(1, "stock.level", "me", r#"{"args": [], "kwargs": {}}"#).await;
    /// assert!(client.hears_nothing_for(Duration::from_millis(20)).await);
    /// assert_eq!(client.hear().await, "1 basic.ack 1");
    /// # Ok(())
    /// # }
    /// ```
    pub fn confirm_after(&self, delay: Duration) -> WireFault {
        self.begin(Fault::Confirms(Confirming::Late(delay)))
    }

    /// Confirms come together, so many at once with `multiple`, as RabbitMQ's do under load; but 50 ms after the
    /// first of them at the latest.
    ///
    /// ```
    /// # use nameko_cachetools_testkit::{Answer, FakeBroker, wire::RawClient};
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> std::io::Result<()> {
    /// # let broker = FakeBroker::new();
    /// # broker.on("stock.level").reply(Answer::ok(3));
    /// # let wire = broker.serve().await;
    /// let mut client = RawClient::publisher(&wire.uri()).await?;
    /// let _batches = wire.confirm_in_batches(3);
    /// for _ in 0..3 {
    ///     client.call(1, "stock.level", "me", r#"{"args": [], "kwargs": {}}"#).await;
    /// }
    /// assert_eq!(client.hear().await, "1 basic.ack 3 multiple");
    /// # Ok(())
    /// # }
    /// ```
    pub fn confirm_in_batches(&self, most: usize) -> WireFault {
        self.begin(Fault::Confirms(Confirming::Batches(most)))
    }

    /// Every message that is to come back if it can't be routed (`mandatory`: requests) comes back, 312 `NO_ROUTE`.
    ///
    /// ```
    /// # use nameko_cachetools_testkit::{Answer, FakeBroker, wire::RawClient};
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> std::io::Result<()> {
    /// # let broker = FakeBroker::new();
    /// # broker.on("stock.level").reply(Answer::ok(3));
    /// # let wire = broker.serve().await;
    /// let mut client = RawClient::publisher(&wire.uri()).await?;
    /// let _lost = wire.return_all();
    /// client.call(1, "stock.level", "me", r#"{"args": [], "kwargs": {}}"#).await;
    /// assert_eq!(client.hear().await, "1 basic.return 312 NO_ROUTE nameko-rpc stock.level");
    /// # Ok(())
    /// # }
    /// ```
    pub fn return_all(&self) -> WireFault {
        self.begin(Fault::Returns)
    }

    fn begin(&self, fault: Fault) -> WireFault {
        WireFault::begin(&self.shared, fault)
    }
}
