//! Faults that happen at once.

use super::{
    WireBroker,
    frames::short,
    refusal::Refusal,
    vhost::{At, Vhost},
};

/// How a frame is broken.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Damage {
    /// Only its first so many octets are sent, and then nothing more on this connection.
    Truncated(usize),
    /// The octet behind it isn't the frame end, 0xCE.
    WrongEnd,
    /// Its type is none that AMQP knows.
    UnknownType,
    /// It claims another size than it has.
    Length(u32),
    /// It isn't sent.
    Lost,
    /// These octets are sent instead.
    Replaced(Vec<u8>),
}

/// Faults that happen at once, to all connections that are open.
impl WireBroker {
    /// All connections are reset (TCP RST).
    ///
    /// ```
    /// # use nameko_cachetools_testkit::{FakeBroker, wire::RawClient};
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> std::io::Result<()> {
    /// # let broker = FakeBroker::new();
    /// # let wire = broker.serve().await;
    /// let mut client = RawClient::connect(&wire.uri()).await?;
    /// wire.reset();
    /// assert_eq!(client.hear().await, "reset");
    /// # Ok(())
    /// # }
    /// ```
    pub fn reset(&self) {
        self.note("reset");
        self.shared
            .lock()
            .sessions
            .values()
            .for_each(|session| session.cut());
    }

    /// All connections are closed (TCP FIN), without a word of AMQP.
    ///
    /// ```
    /// # use nameko_cachetools_testkit::{FakeBroker, wire::RawClient};
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> std::io::Result<()> {
    /// # let broker = FakeBroker::new();
    /// # let wire = broker.serve().await;
    /// let mut client = RawClient::connect(&wire.uri()).await?;
    /// wire.fin();
    /// assert_eq!(client.hear().await, "closed");
    /// # Ok(())
    /// # }
    /// ```
    pub fn fin(&self) {
        self.note("closed");
        self.shared
            .lock()
            .sessions
            .values()
            .for_each(|session| session.end());
    }

    /// The broker closes all connections: 320 `CONNECTION_FORCED` is what a restart looks like.
    ///
    /// ```
    /// # use nameko_cachetools_testkit::{FakeBroker, wire::RawClient};
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> std::io::Result<()> {
    /// # let broker = FakeBroker::new();
    /// # let wire = broker.serve().await;
    /// let mut client = RawClient::connect(&wire.uri()).await?;
    /// wire.close_connections(320, "CONNECTION_FORCED - broker forced connection closure with reason 'shutdown'");
    /// assert!(client.hear().await.starts_with("connection.close 320 CONNECTION_FORCED"));
    /// # Ok(())
    /// # }
    /// ```
    pub fn close_connections(&self, code: u16, text: &str) {
        self.note(&format!("connections closed: {code} {text}"));
        let refusal = refusal(code, text);
        self.shared.with(|vhost| {
            for id in vhost.sessions.keys().copied().collect::<Vec<_>>() {
                vhost.refuse(id, &refusal, (0, 0));
            }
        });
    }

    /// The broker closes all channels: 404 and 406 are what it says of exchanges and queues.
    ///
    /// ```
    /// # use nameko_cachetools_testkit::{FakeBroker, wire::RawClient};
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> std::io::Result<()> {
    /// # let broker = FakeBroker::new();
    /// # let wire = broker.serve().await;
    /// let mut client = RawClient::publisher(&wire.uri()).await?;
    /// wire.close_channels(404, "NOT_FOUND - no exchange 'nameko-rpc' in vhost '/'");
    /// assert!(client.hear().await.starts_with("1 channel.close 404 NOT_FOUND"));
    /// # Ok(())
    /// # }
    /// ```
    pub fn close_channels(&self, code: u16, text: &str) {
        self.note(&format!("channels closed: {code} {text}"));
        let refusal = refusal(code, text);
        self.shared.with(|vhost| {
            for at in vhost.channels() {
                vhost.close_channel(at, &refusal, (0, 0));
            }
        });
    }

    /// The broker cancels the consumers of all queues whose names begin like this; the queues stay.
    ///
    /// ```
    /// # use nameko_cachetools_testkit::{FakeBroker, wire::RawClient};
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> std::io::Result<()> {
    /// # let broker = FakeBroker::new();
    /// # let wire = broker.serve().await;
    /// let mut client = RawClient::consumer(&wire.uri(), "rpc.reply-me").await?; // consumes it on channel 1
    /// wire.cancel_consumers("rpc.reply-");
    /// assert_eq!(client.hear().await, "1 basic.cancel c");
    /// # Ok(())
    /// # }
    /// ```
    pub fn cancel_consumers(&self, queues: &str) {
        self.note(&format!("consumers of {queues}.. cancelled"));
        let names = self.queues_like(queues);
        self.shared.with(|vhost| {
            for name in names {
                let Some(queue) = vhost.queues.find(&name) else {
                    continue;
                };
                let consumers: Vec<_> = queue.consumers.iter().cloned().collect();
                queue.remove_consumers(|_| true); // an auto-delete queue stays, too
                for consumer in consumers {
                    if let Some(session) = vhost.sessions.get_mut(&consumer.connection) {
                        session.cancel(consumer.channel, &consumer.tag);
                    }
                }
            }
        });
    }

    /// Somebody deletes all queues whose names begin like this: with their messages, and their consumers are cancelled.
    ///
    /// ```
    /// # use nameko_cachetools_testkit::{FakeBroker, wire::RawClient};
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> std::io::Result<()> {
    /// # let broker = FakeBroker::new();
    /// # let wire = broker.serve().await;
    /// let mut client = RawClient::consumer(&wire.uri(), "rpc.reply-me").await?;
    /// wire.delete_queues("rpc.reply-");
    /// assert_eq!(client.hear().await, "1 basic.cancel c");
    /// assert!(wire.queues().is_empty());
    /// # Ok(())
    /// # }
    /// ```
    pub fn delete_queues(&self, like: &str) {
        self.note(&format!("queues {like}.. deleted"));
        let names = self.queues_like(like);
        self.shared
            .with(|vhost| names.iter().for_each(|name| drop(vhost.delete_queue(name))));
    }

    /// The next frame of this name is broken, on whichever connection it is sent: `basic.deliver`, `basic.ack`,
    /// `header`, `body`, `heartbeat`, `connection.tune`, `queue.declare-ok`, ..
    ///
    /// ```
    /// # use nameko_cachetools_testkit::{FakeBroker, wire::{Damage, RawClient}};
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> std::io::Result<()> {
    /// # let broker = FakeBroker::new();
    /// # let wire = broker.serve().await;
    /// let mut client = RawClient::connect(&wire.uri()).await?;
    /// wire.damage("channel.open-ok", Damage::WrongEnd);
    /// client.say("1 channel.open").await;
    /// assert_eq!(client.hear().await, "garbage: Malformed");
    ///
    /// let mut client = RawClient::connect(&wire.uri()).await?;
    /// wire.damage("channel.open-ok", Damage::Length(u32::MAX));
    /// client.say("1 channel.open").await;
    /// assert_eq!(client.hear().await, "garbage: TooLarge");
    ///
    /// let mut client = RawClient::connect(&wire.uri()).await?;
    /// wire.damage("channel.open-ok", Damage::Truncated(10));
    /// client.say("1 channel.open").await;
    /// assert!(client.hears_nothing_for(std::time::Duration::from_millis(20)).await);
    ///
    /// let mut client = RawClient::connect(&wire.uri()).await?;
    /// wire.damage("channel.open-ok", Damage::UnknownType);
    /// client.say("1 channel.open").await;
    /// assert_eq!(client.hear().await, "garbage: NoAmqp");
    ///
    /// let mut client = RawClient::connect(&wire.uri()).await?;
    /// wire.damage("channel.open-ok", Damage::Lost);
    /// client.say("1 channel.open").await;
    /// client.say("2 channel.open").await;
    /// assert_eq!(client.hear().await, "2 channel.open-ok");
    /// wire.damage("channel.open-ok", Damage::Replaced(b"\x08\0\0\0\0\0\0\xCE".to_vec()));
    /// client.say("3 channel.open").await;
    /// assert_eq!(client.hear().await, "heartbeat");
    /// # Ok(())
    /// # }
    /// ```
    pub fn damage(&self, frame: &str, damage: Damage) {
        self.note(&format!("the next {frame}: {damage:?}"));
        self.shared.damages.add(frame, damage);
    }

    /// Sends these octets on all connections, whatever they are.
    ///
    /// ```
    /// # use nameko_cachetools_testkit::{FakeBroker, wire::RawClient};
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> std::io::Result<()> {
    /// # let broker = FakeBroker::new();
    /// # let wire = broker.serve().await;
    /// let mut client = RawClient::connect(&wire.uri()).await?;
    /// wire.send_raw(b"HTTP/1.1 400 Bad Request\r\n\r\n");
    /// assert_eq!(client.hear().await, "garbage: NoAmqp");
    /// # Ok(())
    /// # }
    /// ```
    pub fn send_raw(&self, octets: &[u8]) {
        self.note(&format!("{} octets sent raw", octets.len()));
        self.shared
            .lock()
            .sessions
            .values()
            .for_each(|session| session.peer.outbox.raw(octets));
    }

    fn queues_like(&self, prefix: &str) -> Vec<String> {
        let vhost = self.shared.lock();
        let names = vhost.queues.iter().map(|(name, _)| name);
        names.filter(|name| name.starts_with(prefix)).cloned().collect()
    }

    fn note(&self, what: &str) {
        self.shared.hub.lock().log.of_broker(format!("wire: {what}"));
    }
}

impl Vhost {
    /// All that are open.
    pub(super) fn channels(&self) -> Vec<At> {
        let sessions = self.sessions.iter();
        sessions
            .flat_map(|(id, session)| session.channels.keys().map(|channel| (*id, *channel)))
            .map(|(connection, channel)| At { connection, channel })
            .collect()
    }
}

fn refusal(code: u16, text: &str) -> Refusal {
    let text = short(text).to_string();
    Refusal {
        code,
        text,
        is_hard: false,
    }
}
