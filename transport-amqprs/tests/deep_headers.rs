//! A header nested as deep as a frame has room for is read on a thread with the stack that it takes.
#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used, reason = "tests")]

use nameko_cachetools::Request;
use nameko_cachetools::{Route, Transport};
use nameko_cachetools_amqprs::AmqprsTransport;
use nameko_cachetools_testkit::{Answer, FakeBroker};

/// Of a frame, by RabbitMQ's proposal.
const FRAME_MAX: usize = 128 * 1024;

#[tokio::test]
async fn deep_headers_end_no_process() {
    let broker = FakeBroker::new();
    broker.on("shop.get").reply(Answer::ok(1));
    let wire = broker.serve().await;
    let transport = AmqprsTransport::connect(&wire.uri()).await.unwrap();
    for kind in [b'A', b'F'] {
        wire.send_raw(&delivery(&nested(kind)));
        let request = Request::new(
            Route::new("shop", "get").unwrap(),
            r#"{"args": [], "kwargs": {}}"#,
        );
        // The connection may have ended with it, but no more than that.
        let answered = match transport.request(request.clone()).await {
            Ok(_) => true,
            Err(_) => {
                let mut state = transport.state();
                state.wait_for(|state| state.is_ready()).await.unwrap();
                transport.request(request).await.is_ok()
            }
        };
        assert!(answered);
    }
}

/// Lists (`A`) or tables (`F`) in each other: a field table, as deep as a frame allows.
fn nested(kind: u8) -> Vec<u8> {
    let name: &[u8] = if kind == b'F' { b"\x01x" } else { b"" };
    let per_level = name.len() + 5;
    let levels = (FRAME_MAX - 100) / per_level;
    let mut octets = Vec::new();
    for level in (0..levels).rev() {
        octets.push(kind);
        octets.extend(u32::try_from(level * per_level).unwrap().to_be_bytes());
        if level > 0 {
            octets.extend(name);
        }
    }
    let mut table = Vec::new();
    let entry = [b"\x01h".as_slice(), &octets].concat();
    table.extend(u32::try_from(entry.len()).unwrap().to_be_bytes());
    table.extend(entry);
    table
}

/// `basic.deliver` and a content header with this table, without a body.
fn delivery(headers: &[u8]) -> Vec<u8> {
    let deliver = [
        [0, 60, 0, 60].as_slice(), // class, method
        b"\x01t",                  // consumer tag
        &[0; 8],                   // delivery tag
        &[0],                      // not redelivered
        b"\0",                     // exchange
        b"\x01r",                  // routing key
    ]
    .concat();
    let header = [
        [0, 60, 0, 0].as_slice(), // class, weight
        &[0; 8],                  // size of the body
        &[0x20, 0],               // properties: headers only
        headers,
    ]
    .concat();
    [frame(1, &deliver), frame(2, &header)].concat()
}

fn frame(kind: u8, payload: &[u8]) -> Vec<u8> {
    let size = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&[kind, 0, 1], size.as_slice(), payload, &[0xce]].concat()
}
