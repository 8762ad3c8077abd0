//! The fake broker says what RabbitMQ says: the same dialogues and the same calls, on both, give the same transcripts.
#![expect(clippy::unwrap_used, reason = "a test's helpers may fail it")]

mod calls;
mod dialogue;
mod dialogues;
mod subject;

use nameko_cachetools_interop::live;

/// One test, because a node takes its time to start.
#[test]
fn the_fake_is_as_the_real() {
    live::private_broker(async |rabbitmq| {
        dialogues::are_the_same(rabbitmq.uri()).await;
        calls::are_the_same(rabbitmq.uri()).await;
    });
}
