//! The contract of `Transport` over the fake broker on a port: no RabbitMQ is needed.
#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used, reason = "tests")]

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use nameko_cachetools::Transport;
use nameko_cachetools_lapin::{Backoff, LapinTransport};
use nameko_cachetools_testkit::{
    FakeBroker, WireBroker,
    transport_conformance::{self, Harness},
};

struct Fake(WireBroker);

#[async_trait]
impl Harness for Fake {
    async fn transport(&self) -> Arc<dyn Transport> {
        let backoff = Backoff {
            first: Duration::from_millis(10),
            ..Backoff::default()
        };
        let builder = LapinTransport::builder().uri(self.0.uri());
        Arc::new(builder.backoff(backoff).connect().await.unwrap())
    }

    async fn cut(&self) -> bool {
        self.0.reset();
        true
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_keeps_the_contract() {
    let broker = FakeBroker::new();
    transport_conformance::serve(&broker);
    let fake = Fake(broker.serve().await);
    transport_conformance::run_all(&fake).await;
}
