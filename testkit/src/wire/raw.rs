//! A client that shows each frame, and says whatever it is told to.

use std::{io, time::Duration};

use amq_protocol::{
    frame::{AMQPContentHeader, AMQPFrame},
    protocol::{AMQPClass, basic::AMQPProperties, connection},
    types::{AMQPValue, FieldTable},
};
use bytes::BytesMut;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

use super::{
    command::{self, Said},
    frames::{decode, encode},
    transcript,
};
use crate::fail;

/// A client without manners: it sends what it is told to and shows what comes back, frame by frame as text. For tests
/// of a broker, and to see what a fault looks like on the wire.
///
/// It knows the commands of [`say`](Self::say). It answers nothing by itself: no heartbeat, no close.
///
/// ```
/// # use nameko_cachetools_testkit::{FakeBroker, wire::RawClient};
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> std::io::Result<()> {
/// # let broker = FakeBroker::new();
/// # let wire = broker.serve().await;
/// let mut client = RawClient::connect(&wire.uri()).await?;
/// client.say("1 channel.open").await;
/// assert_eq!(client.hear().await, "1 channel.open-ok");
/// client.say("1 queue.declare nobody passive").await;
/// assert_eq!(
///     client.hear().await,
///     "1 channel.close 404 NOT_FOUND - no queue 'nobody' in vhost '/' (50.10)"
/// );
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct RawClient {
    stream: TcpStream,
    buffer: BytesMut,
    frame_max: usize,
}

impl RawClient {
    /// Connects and agrees to everything, up to `connection.open-ok`. `uri` as [`WireBroker::uri`](super::WireBroker)
    /// gives it: `amqp://user:password@host:port/vhost`, where `%2f` is the vhost `/`.
    ///
    /// # Errors
    /// Those of the socket; or, as text, the frame that came instead of the expected one.
    pub async fn connect(uri: &str) -> io::Result<Self> {
        let mut client = Self::tcp(uri).await?;
        let (user, password, vhost) = account(uri);
        client.send(b"AMQP\x00\x00\x09\x01").await;
        client.expect("connection.start").await?;
        client.write(&start_ok(&user, &password)).await;
        let tune = client.expect("connection.tune").await?;
        client.write(&tune_ok(&tune)).await;
        let open = connection::Open {
            virtual_host: vhost.as_str().into(),
        };
        client
            .write(&method(
                0,
                AMQPClass::Connection(connection::AMQPMethod::Open(open)),
            ))
            .await;
        client.expect("connection.open-ok").await?;
        Ok(client)
    }

    /// Connects, and says nothing.
    ///
    /// # Errors
    /// Those of the socket.
    pub async fn tcp(uri: &str) -> io::Result<Self> {
        let authority = uri
            .split("://")
            .last()
            .unwrap_or(uri)
            .split('/')
            .next()
            .unwrap_or_default();
        let address = authority.rsplit('@').next().unwrap_or_default();
        Ok(Self {
            stream: TcpStream::connect(address).await?,
            buffer: BytesMut::new(),
            frame_max: usize::try_from(FRAME_MAX).unwrap_or(usize::MAX),
        })
    }

    /// Connected, with channel 1 open and its messages confirmed.
    ///
    /// # Errors
    /// As [`connect`](Self::connect).
    pub async fn publisher(uri: &str) -> io::Result<Self> {
        let mut client = Self::connect(uri).await?;
        client.say("1 channel.open").await;
        client.expect("1 channel.open-ok").await?;
        client.say("1 confirm.select").await;
        client.expect("1 confirm.select-ok").await?;
        Ok(client)
    }

    /// Connected, with a durable queue declared and consumed on channel 1, by the consumer tag `c`.
    ///
    /// # Errors
    /// As [`connect`](Self::connect).
    pub async fn consumer(uri: &str, queue: &str) -> io::Result<Self> {
        let mut client = Self::connect(uri).await?;
        client.say("1 channel.open").await;
        client.expect("1 channel.open-ok").await?;
        client.say(&format!("1 queue.declare {queue} durable")).await;
        client.expect("1 queue.declare-ok").await?;
        client.say(&format!("1 basic.consume {queue} c")).await;
        client.expect("1 basic.consume-ok").await?;
        Ok(client)
    }

    /// Sends a method, written as its channel, its name and what is in it; words at the end are flags that are set. A
    /// dash stands for an empty name.
    ///
    /// | command | flags |
    /// |---|---|
    /// | `channel.open`, `channel.close`, `confirm.select`, `connection.close` (on channel 0) | |
    /// | `exchange.declare NAME TYPE` | `durable`, `auto-delete`, `internal`, `passive` |
    /// | `exchange.delete NAME` | `if-unused` |
    /// | `exchange.bind TO FROM KEY` | |
    /// | `queue.declare NAME` | `durable`, `exclusive`, `auto-delete`, `passive`, `x-expires=MS`, `x-message-ttl=MS` |
    /// | `queue.bind NAME EXCHANGE KEY`, `queue.unbind NAME EXCHANGE KEY`, `queue.purge NAME` | |
    /// | `queue.delete NAME` | `if-unused`, `if-empty` |
    /// | `basic.qos COUNT` | `global` |
    /// | `basic.consume QUEUE TAG` | `no-ack`, `exclusive` |
    /// | `basic.cancel TAG`, `basic.recover` | |
    /// | `basic.get QUEUE` | `no-ack` |
    /// | `basic.ack NUMBER` | `multiple` |
    /// | `basic.nack NUMBER`, `basic.reject NUMBER` | `multiple`, `requeue` |
    /// | `basic.publish EXCHANGE KEY` | `mandatory`, `immediate`, `expiration=MS`, `correlation_id=ID`, `reply_to=KEY`, and last `body=TEXT` |
    ///
    /// # Panics
    /// If it is none of these.
    pub async fn say(&mut self, command: &str) {
        let Some(Said {
            channel,
            method: said,
            content,
        }) = command::parse(command)
        else {
            fail(format!("{command:?} is no command of RawClient::say"));
        };
        self.write(&method(channel, said)).await;
        if let Some((properties, body)) = content {
            self.content(channel, properties, &body).await;
        }
    }

    /// Sends a request as nameko does: to `nameko-rpc`, mandatory, JSON, to be answered to `reply_to`.
    pub async fn call(&mut self, channel: u16, route: &str, reply_to: &str, body: &str) {
        self.say_publish(channel, &format!("nameko-rpc {route} mandatory"))
            .await;
        let properties = AMQPProperties::default()
            .with_content_type("application/json".into())
            .with_content_encoding("utf-8".into())
            .with_headers(FieldTable::default())
            .with_delivery_mode(2)
            .with_priority(0)
            .with_correlation_id("1".into())
            .with_reply_to(reply_to.into());
        self.content(channel, properties, body).await;
    }

    /// Sends octets, whatever they are. What the broker doesn't take any more is lost.
    pub async fn send(&mut self, octets: &[u8]) {
        let _ = self.stream.write_all(octets).await;
    }

    /// The next frame as a line: its channel (if that isn't 0), its name, and what is in it. Or how the connection
    /// ended: `closed`, `reset`, `garbage: ..`; or `silence`, after five seconds.
    pub async fn hear(&mut self) -> String {
        self.hear_within(PATIENCE).await
    }

    /// The same, with another limit.
    pub async fn hear_within(&mut self, limit: Duration) -> String {
        timeout(limit, self.next_line())
            .await
            .unwrap_or_else(|_| "silence".to_owned())
    }

    /// Whether nothing comes, and the connection doesn't end, for so long.
    pub async fn hears_nothing_for(&mut self, time: Duration) -> bool {
        self.hear_within(time).await == "silence"
    }

    async fn say_publish(&mut self, channel: u16, command: &str) {
        if let Some(said) = command::parse(&format!("{channel} basic.publish {command}")) {
            self.write(&method(channel, said.method)).await;
        }
    }

    async fn content(&mut self, channel: u16, properties: AMQPProperties, body: &str) {
        let (class_id, body_size) = (60, body.len() as u64);
        let header = AMQPContentHeader {
            class_id,
            body_size,
            properties,
        };
        self.write(&AMQPFrame::Header(channel, header)).await;
        for part in body.as_bytes().chunks(self.frame_max - 8) {
            self.write(&AMQPFrame::Body(channel, part.to_vec())).await;
        }
    }

    async fn write(&mut self, frame: &AMQPFrame) {
        let mut octets = Vec::new();
        encode(frame, &mut octets);
        self.send(&octets).await;
    }

    async fn next_line(&mut self) -> String {
        loop {
            match decode(&mut self.buffer, self.frame_max) {
                Ok(Some(frame)) => return transcript::line(&frame),
                Ok(None) => {}
                Err(garbage) => return format!("garbage: {garbage:?}"),
            }
            match self.stream.read_buf(&mut self.buffer).await {
                Ok(0) => return "closed".to_owned(),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::ConnectionReset => return "reset".to_owned(),
                Err(error) => return error.to_string(),
            }
        }
    }

    async fn expect(&mut self, line: &str) -> io::Result<String> {
        let heard = self.hear().await;
        if heard.starts_with(line) {
            return Ok(heard);
        }
        Err(io::Error::other(heard))
    }
}

fn method(channel: u16, method: AMQPClass) -> AMQPFrame {
    AMQPFrame::Method(channel, method)
}

fn account(uri: &str) -> (String, String, String) {
    let rest = uri.split("://").last().unwrap_or(uri);
    let (authority, vhost) = rest.split_once('/').unwrap_or((rest, ""));
    let (user, password) = authority
        .rsplit_once('@')
        .and_then(|(account, _)| account.split_once(':'))
        .unwrap_or(("guest", "guest"));
    let vhost = if vhost.is_empty() {
        "/".to_owned()
    } else {
        vhost.replace("%2f", "/").replace("%2F", "/")
    };
    (user.to_owned(), password.to_owned(), vhost)
}

fn start_ok(user: &str, password: &str) -> AMQPFrame {
    let mut capabilities = FieldTable::default();
    for name in [
        "authentication_failure_close",
        "basic.nack",
        "connection.blocked",
        "consumer_cancel_notify",
        "publisher_confirms",
    ] {
        capabilities.insert(name.into(), AMQPValue::Boolean(true));
    }
    let mut client_properties = FieldTable::default();
    client_properties.insert("capabilities".into(), AMQPValue::FieldTable(capabilities));
    let ok = connection::StartOk {
        client_properties,
        mechanism: "PLAIN".into(),
        response: format!("\0{user}\0{password}").into(),
        locale: "en_US".into(),
    };
    method(0, AMQPClass::Connection(connection::AMQPMethod::StartOk(ok)))
}

/// Agrees to what a line `connection.tune ..` proposes.
fn tune_ok(tune: &str) -> AMQPFrame {
    let value = |name: &str| {
        let words = tune.split(' ').filter_map(|word| word.split_once('='));
        words
            .filter(|(own, _)| *own == name)
            .find_map(|(_, value)| value.parse::<u32>().ok())
            .unwrap_or(0)
    };
    let small = |name| u16::try_from(value(name)).unwrap_or(u16::MAX);
    let ok = connection::TuneOk {
        channel_max: small("channel_max"),
        frame_max: value("frame_max"),
        heartbeat: small("heartbeat"),
    };
    method(0, AMQPClass::Connection(connection::AMQPMethod::TuneOk(ok)))
}

const FRAME_MAX: u32 = 131_072;
const PATIENCE: Duration = Duration::from_secs(5);
