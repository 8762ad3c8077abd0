//! Frames that no client should send: each is refused in RabbitMQ's words, and none costs more than its connection.

use std::time::Duration;

use nameko_cachetools_testkit::{FakeBroker, wire::RawClient};
use tokio::time::{sleep, timeout};

#[tokio::test]
async fn what_cannot_be_read_ends_the_connection() {
    for octets in [
        frame(7, 1, b"an unknown type"),
        frame(1, 1, &[0, 99, 0, 10]),
        frame(1, 1, &[0, 50, 0, 10, 0]),
        [frame(8, 0, &[]).split_last().unwrap().1, &[0]].concat(),
        vec![3, 0, 1, 0xFF, 0xFF, 0xFF, 0xFF],
        [publish(), header(60, 0, &tables(20_000))].concat(),
    ] {
        let broker = FakeBroker::new();
        let wire = broker.serve().await;
        let mut client = RawClient::publisher(&wire.uri()).await.unwrap();
        client.send(&octets).await;
        let heard = client.hear().await;
        assert!(heard.starts_with("connection.close 501 FRAME_ERROR"), "{heard}");
        drop(client);
        let gone = async {
            while wire.connections() > 0 {
                sleep(Duration::from_millis(5)).await;
            }
        };
        timeout(Duration::from_secs(5), gone).await.unwrap();
    }
}

#[tokio::test]
async fn what_is_out_of_place_is_refused() {
    for (octets, refusal) in [
        (
            [publish(), publish()].concat(),
            "505 UNEXPECTED_FRAME - expected content header for class 60",
        ),
        (
            [publish(), header(50, 0, &[])].concat(),
            "505 UNEXPECTED_FRAME - expected content header for class 60, got",
        ),
        (
            [publish(), header(60, 1, &[]), publish()].concat(),
            "505 UNEXPECTED_FRAME - expected content body",
        ),
        (
            frame(3, 1, b"a body"),
            "505 UNEXPECTED_FRAME - expected method frame",
        ),
        (
            [publish(), header(60, 1, &[]), frame(3, 1, b"two")].concat(),
            "501 FRAME_ERROR - the body is longer",
        ),
        (frame(8, 1, &[]), "505 UNEXPECTED_FRAME"),
        (
            frame(1, 0, &[0, 50, 0, 31, 0, 0, 0, 0]),
            "504 CHANNEL_ERROR - unexpected method in connection state running",
        ),
        (
            frame(1, 1, &[0, 60, 0, 21, 1, b'c']),
            "503 COMMAND_INVALID - unimplemented method",
        ),
    ] {
        let broker = FakeBroker::new();
        let wire = broker.serve().await;
        let mut client = RawClient::publisher(&wire.uri()).await.unwrap();
        client.send(&octets).await;
        let heard = client.hear().await;
        assert!(
            heard.starts_with(&format!("connection.close {refusal}")),
            "{refusal}: {heard}"
        );
    }
}

/// Not even a body that is announced takes memory.
#[tokio::test]
async fn a_message_has_a_longest_size() {
    let broker = FakeBroker::new();
    let wire = broker.serve().await;
    let mut client = RawClient::publisher(&wire.uri()).await.unwrap();
    client
        .send(&[publish(), header(60, u64::MAX, &[])].concat())
        .await;
    assert_eq!(
        client.hear().await,
        "1 channel.close 406 PRECONDITION_FAILED - message size 18446744073709551615 is larger than configured max size \
         134217728 (60.40)"
    );
}

#[tokio::test]
async fn who_does_not_begin_with_the_header_is_shown_it() {
    for octets in [
        frame(8, 0, &[]),
        frame(1, 0, &[0, 10, 0, 50, 0, 200, 0, 0, 0, 0, 0]),
        b"GET / HTTP/1.1\r\n\r\n".to_vec(),
    ] {
        let broker = FakeBroker::new();
        let wire = broker.serve().await;
        let mut client = RawClient::tcp(&wire.uri()).await.unwrap();
        client.send(&octets).await;
        assert!(client.hear().await.starts_with("protocol"));
        let end = client.hear().await;
        assert!(["closed", "reset"].contains(&end.as_str()), "{end}");
    }
}

/// As RabbitMQ: 0 is more than any limit, and a frame holds 4096 octets.
#[tokio::test]
async fn limits_beyond_those_proposed_are_not_agreed_on() {
    for (channels, octets, is_fine) in [
        (2047, 131_072, true),
        (1, 4096, true),
        (0, 131_072, false),
        (2048, 131_072, false),
        (2047, 0, false),
        (2047, u32::MAX, false),
        (2047, 1, false),
    ] {
        let broker = FakeBroker::new();
        let wire = broker.serve().await;
        let mut client = RawClient::tcp(&wire.uri()).await.unwrap();
        client.send(b"AMQP\x00\x00\x09\x01").await;
        let login = [
            &[0, 10, 0, 11, 0, 0, 0, 0, 5][..],
            b"PLAIN",
            &[0, 0, 0, 12],
            b"\0guest\0guest",
            b"\x05en_US",
        ];
        client.send(&frame(1, 0, &login.concat())).await;
        client.hear().await;
        assert!(client.hear().await.starts_with("connection.tune"));
        let limits = [
            &u16::to_be_bytes(channels)[..],
            &u32::to_be_bytes(octets),
            &[0, 0],
        ]
        .concat();
        client
            .send(&frame(1, 0, &[&[0, 10, 0, 31][..], &limits].concat()))
            .await;
        client.send(&frame(1, 0, &[0, 10, 0, 40, 1, b'/', 0, 0])).await;
        let expected = if is_fine { "connection.open-ok" } else { "reset" };
        assert_eq!(client.hear().await, expected, "{channels} {octets}");
    }
}

/// What comes behind a goodbye is neither done nor answered.
#[tokio::test]
async fn nothing_counts_after_goodbye() {
    let broker = FakeBroker::new();
    let wire = broker.serve().await;
    let mut client = RawClient::publisher(&wire.uri()).await.unwrap();
    let goodbye = frame(1, 0, &[0, 10, 0, 50, 0, 200, 0, 0, 0, 0, 0]);
    let declare = [&[0, 50, 0, 10, 0, 0, 4][..], b"late", &[2, 0, 0, 0, 0]].concat();
    client
        .send(&[goodbye, frame(1, 1, &[0, 20, 0, 10, 0]), frame(1, 1, &declare)].concat())
        .await;
    assert_eq!(client.hear().await, "connection.close-ok");
    assert!(client.hears_nothing_for(Duration::from_millis(30)).await);
    assert!(wire.queues().is_empty());
}

fn frame(kind: u8, channel: u8, payload: &[u8]) -> Vec<u8> {
    let size = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&[kind, 0, channel][..], &size, payload, &[0xCE]].concat()
}

/// `basic.publish` to nobody.
fn publish() -> Vec<u8> {
    frame(1, 1, &[0, 60, 0, 40, 0, 0, 0, 1, b'q', 0])
}

fn header(class: u8, size: u64, headers: &[u8]) -> Vec<u8> {
    let flags = if headers.is_empty() { [0, 0] } else { [0x20, 0] };
    frame(
        2,
        1,
        &[&[0, class, 0, 0][..], &size.to_be_bytes(), &flags, headers].concat(),
    )
}

/// Headers with so many arrays within each other.
fn tables(levels: usize) -> Vec<u8> {
    let within = |inner: Vec<u8>, _| {
        let size = u32::try_from(inner.len()).unwrap().to_be_bytes();
        [&b"A"[..], &size, &inner].concat()
    };
    let entry = [&b"\x01h"[..], &(0..levels).fold(Vec::new(), within)].concat();
    [&u32::try_from(entry.len()).unwrap().to_be_bytes()[..], &entry].concat()
}
