//! Both contracts, of `Transport` and of the wire, over the fake broker on a port: no RabbitMQ is needed.
#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used, reason = "tests")]

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use nameko_cachetools::Transport;
use nameko_cachetools_testkit::{FakeBroker, WireBroker, transport_conformance, wire};
use tokio::task::JoinSet;

use crate::{TAKES_UNLIMITED_FRAMES, Tested, tested::Backoff};

struct Fake(WireBroker);

#[async_trait]
impl transport_conformance::Harness for Fake {
    async fn transport(&self) -> Arc<dyn Transport> {
        connect(&self.0.uri()).await.unwrap()
    }

    async fn cut(&self) -> bool {
        self.0.reset();
        true
    }
}

struct Mine;

#[async_trait]
impl wire::conformance::Harness for Mine {
    async fn connect(&self, uri: &str) -> Result<Arc<dyn Transport>, String> {
        connect(uri).await
    }

    fn takes_unlimited_frames(&self) -> bool {
        TAKES_UNLIMITED_FRAMES
    }
}

async fn connect(uri: &str) -> Result<Arc<dyn Transport>, String> {
    let backoff = Backoff {
        first: Duration::from_millis(10),
        refused: Duration::from_millis(500),
        ..Backoff::default()
    };
    let builder = Tested::builder().uri(uri).backoff(backoff);
    let builder = builder.heartbeat(Duration::from_secs(4));
    match builder.connect().await {
        Ok(transport) => Ok(Arc::new(transport)),
        Err(error) => Err(error.to_string()),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_keeps_the_contract() {
    let broker = FakeBroker::new();
    transport_conformance::serve(&broker);
    let fake = Fake(broker.serve().await);
    transport_conformance::run_all(&fake).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_survives_the_wire() {
    wire::conformance::run_all(Arc::new(Mine)).await;
}

/// Whoever tells that the connection has ended runs beside whoever hands its replies on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_last_reply_is_overtaken_by_its_connections_end() {
    let (_, check) = wire::conformance::CHECKS
        .iter()
        .find(|(name, _)| name.ends_with("a_connection_lost_after_a_reply_loses_no_reply"))
        .expect("a check of this name");
    let mut at_once = JoinSet::new();
    for _ in 0..100 {
        at_once.spawn(check(Arc::new(Mine)));
    }
    for outcome in at_once.join_all().await {
        outcome.expect("a reply");
    }
}
