//! The fake broker on a port.
#![allow(clippy::unwrap_used, reason = "tests")]

mod departures;
mod events;
mod hostile;
mod rules;

use nameko_cachetools_testkit::{WireBroker, wire::RawClient};

const REQUEST: &str = r#"{"args": ["A1"], "kwargs": {}}"#;

/// A client whose replies come to it on channel 1, where it also publishes.
async fn caller(wire: &WireBroker) -> RawClient {
    let mut client = RawClient::consumer(&wire.uri(), "rpc.reply-me").await.unwrap();
    client.say("1 queue.bind rpc.reply-me nameko-rpc me").await;
    assert_eq!(client.hear().await, "1 queue.bind-ok");
    client
}

/// The body of the next reply.
async fn reply(client: &mut RawClient) -> String {
    let deliver = client.hear().await;
    assert!(deliver.starts_with("1 basic.deliver c "), "{deliver}");
    client.hear().await;
    client.hear().await
}
