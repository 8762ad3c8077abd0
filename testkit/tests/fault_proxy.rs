//! The proxy that breaks connections: what each side sees. Over loopback, in real time.

#![allow(clippy::expect_used, clippy::unwrap_used, reason = "tests")]

use std::{io::ErrorKind, time::Duration};

use nameko_cachetools_testkit::fault_proxy::{Cut, FaultProxy, Flow, Frame};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    time::{Instant, sleep, timeout},
};

/// A proxy, and what listens behind it.
struct Bench {
    proxy: FaultProxy,
    upstream: TcpListener,
}

impl Bench {
    async fn new() -> Self {
        let upstream = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let uri = format!("tcp://{}", upstream.local_addr().unwrap());
        Self {
            proxy: FaultProxy::start(&uri).await.unwrap(),
            upstream,
        }
    }

    /// Both ends of a new connection: the client's and the broker's.
    async fn connect(&self) -> (TcpStream, TcpStream) {
        let client = TcpStream::connect(&self.proxy.uri()[6..]).await.unwrap();
        (client, within(self.upstream.accept()).await.unwrap().0)
    }
}

async fn within<F: Future>(f: F) -> F::Output {
    timeout(Duration::from_secs(5), f).await.expect("in time")
}

async fn passes(from: &mut TcpStream, to: &mut TcpStream, text: &str) {
    from.write_all(text.as_bytes()).await.unwrap();
    assert_eq!(read(to, text.len()).await, text.as_bytes());
}

async fn read(from: &mut TcpStream, bytes: usize) -> Vec<u8> {
    let mut seen = vec![0; bytes];
    within(from.read_exact(&mut seen)).await.unwrap();
    seen
}

/// Nothing comes for a while: neither bytes nor an end.
async fn is_silent(stream: &mut TcpStream) -> bool {
    let mut byte = [0];
    timeout(Duration::from_millis(50), stream.read(&mut byte))
        .await
        .is_err()
}

#[tokio::test]
async fn bytes_pass_both_ways_and_are_counted() {
    let bench = Bench::new().await;
    let (mut client, mut broker) = bench.connect().await;
    passes(&mut client, &mut broker, "request").await;
    passes(&mut broker, &mut client, "reply").await;
    assert_eq!((bench.proxy.accepted(), bench.proxy.open()), (1, 1));
    drop(client);
    assert_eq!(within(broker.read(&mut [0])).await.unwrap(), 0);
    assert_eq!(bench.proxy.bytes_to_broker(), 7);
}

#[tokio::test]
async fn a_cut_is_a_reset_or_a_fin_to_both_sides() {
    let bench = Bench::new().await;
    for cut in [Cut::Reset, Cut::Fin] {
        let (mut client, mut broker) = bench.connect().await;
        passes(&mut client, &mut broker, "x").await;
        bench.proxy.cut(cut);
        for side in [&mut client, &mut broker] {
            let end = within(side.read(&mut [0])).await;
            match cut {
                Cut::Reset => assert_eq!(end.unwrap_err().kind(), ErrorKind::ConnectionReset),
                Cut::Fin => assert_eq!(end.unwrap(), 0),
            }
        }
    }
    let (mut client, mut broker) = bench.connect().await;
    passes(&mut client, &mut broker, "the next one works").await;
}

#[tokio::test]
async fn what_is_stalled_comes_later() {
    let bench = Bench::new().await;
    let (mut client, mut broker) = bench.connect().await;
    bench.proxy.to_broker(Flow::Stalled);
    client.write_all(b"x").await.unwrap();
    drop(client);
    assert!(is_silent(&mut broker).await);
    bench.proxy.heal();
    assert_eq!(read(&mut broker, 1).await, b"x");
    assert_eq!(within(broker.read(&mut [0])).await.unwrap(), 0);
}

#[tokio::test]
async fn what_is_lost_never_comes_and_neither_does_what_follows() {
    let bench = Bench::new().await;
    let (mut client, mut broker) = bench.connect().await;
    bench.proxy.to_broker(Flow::Lost);
    client.write_all(b"lost").await.unwrap();
    passes(&mut broker, &mut client, "the other direction passes").await;
    bench.proxy.heal();
    client.write_all(b"too").await.unwrap();
    drop(client); // nor does the end
    assert!(is_silent(&mut broker).await);
    broker.write_all(b"to nobody").await.unwrap();
    assert!(is_silent(&mut broker).await);
    let (mut client, mut broker) = bench.connect().await;
    passes(&mut client, &mut broker, "the next one works").await;
}

#[tokio::test]
async fn slow_and_late_bytes_arrive_whole() {
    let bench = Bench::new().await;
    let every = Duration::from_millis(10);
    for flow in [Flow::Slow { bytes: 10, every }, Flow::Late(10 * every)] {
        bench.proxy.to_client(flow);
        let (mut client, mut broker) = bench.connect().await;
        let start = Instant::now();
        passes(&mut broker, &mut client, &"x".repeat(100)).await;
        assert!(
            start.elapsed() >= 9 * every,
            "{flow:?} took {:?}",
            start.elapsed()
        );
    }
}

#[tokio::test]
async fn refused_connections_end_at_once() {
    let bench = Bench::new().await;
    bench.proxy.refuse(true);
    let mut client = TcpStream::connect(&bench.proxy.uri()[6..]).await.unwrap();
    assert_eq!(within(client.read(&mut [0])).await.unwrap_or(0), 0);
    assert_eq!((bench.proxy.accepted(), bench.proxy.open()), (1, 0));
    bench.proxy.heal();
    bench.connect().await;
}

#[tokio::test]
async fn frames_are_rewritten_and_injected_between_others() {
    const ACK: (u16, u16) = (60, 80);
    const NACK: (u16, u16) = (60, 120);
    let bench = Bench::new().await;
    let (mut client, mut broker) = bench.connect().await;
    bench.proxy.rewrite(|frame| match frame.method() {
        Some(ACK) => vec![Frame::of_method(frame.channel, NACK, frame.arguments())],
        Some(_) => vec![],
        None => vec![frame],
    });
    let ack = Frame::of_method(3, ACK, &[0, 0, 0, 0, 0, 0, 0, 1, 0]).to_bytes();
    let other = Frame::of_method(3, (20, 11), &[0; 4]).to_bytes();
    let nack = Frame::of_method(3, NACK, &[0, 0, 0, 0, 0, 0, 0, 1, 0]).to_bytes();
    broker.write_all(&ack[..5]).await.unwrap();
    assert!(is_silent(&mut client).await, "half of a frame waits for the rest");
    bench.proxy.inject("between");
    assert_eq!(read(&mut client, 7).await, b"between");
    broker.write_all(&[&ack[5..], &other].concat()).await.unwrap();
    assert_eq!(read(&mut client, nack.len()).await, nack);
    bench.proxy.heal();
    broker.write_all(&other).await.unwrap();
    assert_eq!(read(&mut client, other.len()).await, other);
}

/// What is said to one that is gone is lost; the end of who said it isn't.
#[tokio::test]
async fn a_connection_whose_both_sides_are_gone_is_over() {
    let bench = Bench::new().await;
    let (client, mut broker) = bench.connect().await;
    drop(client);
    assert_eq!(within(broker.read(&mut [0])).await.unwrap(), 0);
    for _ in 0..3 {
        broker.write_all(b"too late").await.unwrap();
        sleep(Duration::from_millis(20)).await;
    }
    drop(broker);
    within(async {
        while bench.proxy.open() > 0 {
            sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
}
