//! Both contracts, of `Transport` and of the wire, over the fake broker on a port: no RabbitMQ is needed.
#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used, reason = "tests")]

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use bytes::Bytes;
use nameko_cachetools::{ConnectionState, EventSource, Events, Heard, Request, Route, Transport};
use nameko_cachetools_testkit::{
    Answer, FakeBroker, WireBroker,
    fault_proxy::{Cut, FaultProxy, Flow},
    transport_conformance,
    wire::{self, Tune},
};
use tokio::{
    task::JoinSet,
    time::{sleep, timeout},
};

use crate::{
    TAKES_UNLIMITED_FRAMES, Tested,
    tested::{Backoff, Builder},
};

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
    Ok(Arc::new(connected(uri).await?))
}

async fn connected(uri: &str) -> Result<Tested, String> {
    builder(uri).connect().await.map_err(|error| error.to_string())
}

fn builder(uri: &str) -> Builder<Tested> {
    let backoff = Backoff {
        first: Duration::from_millis(10),
        refused: Duration::from_millis(500),
        ..Backoff::default()
    };
    let builder = Tested::builder().uri(uri).backoff(backoff);
    builder.heartbeat(Duration::from_secs(4))
}

fn request() -> Request {
    Request::new(
        Route::new("svc", "get").unwrap(),
        r#"{"args": [], "kwargs": {}}"#.to_owned(),
    )
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
///
/// Proves: T1.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_last_reply_is_overtaken_by_its_connections_end() {
    let mut at_once = JoinSet::new();
    for (name, check) in wire::conformance::CHECKS {
        if name.ends_with("loses_no_reply") {
            (0..10).for_each(|_| drop(at_once.spawn(check(Arc::new(Mine)))));
        }
    }
    assert_eq!(at_once.len(), 40);
    for outcome in at_once.join_all().await {
        outcome.expect("a reply");
    }
}

/// The broker takes the connection before for alive, and keeps whatever belongs to it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn events_are_heard_again_before_the_broker_misses_the_lost_connection() {
    let broker = FakeBroker::new();
    let wire = broker.serve().await;
    let proxy = FaultProxy::start(&wire.uri()).await.unwrap();
    let transport = connected(proxy.uri()).await.unwrap();
    let mut listener = transport.listen(Events::of("shop", ["#"]).unwrap());
    let mut heard = async |limit| timeout(Duration::from_secs(limit), listener.next()).await;
    assert!(matches!(heard(5).await, Ok(Some(Heard::Gap))));
    let mut state = transport.state();
    proxy.to_broker(Flow::Lost);
    proxy.to_client(Flow::Lost);
    let lost = |state: &ConnectionState| !state.is_ready();
    timeout(Duration::from_secs(10), state.wait_for(lost))
        .await
        .unwrap()
        .unwrap();
    proxy.heal();
    let again = heard(5).await;
    assert!(matches!(again, Ok(Some(Heard::Gap))), "{again:?}");
}

/// A library that doesn't say when the socket has taken a request learns it by asking.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_wait_for_no_confirms() {
    let broker = FakeBroker::new();
    broker.on("svc.get").reply(Answer::ok(1));
    let wire = broker.serve().await;
    let builder = builder(&wire.uri()).send_timeout(Duration::from_secs(1));
    // Room for one.
    let builder = builder.max_request_bytes(1000).max_unsent_bytes(2000);
    let transport = builder.connect().await.unwrap();
    let _unconfirmed = wire.no_confirms();
    for n in 0..10 {
        let answer = transport.request(request()).await;
        assert!(answer.is_ok(), "call {n}: {answer:?}");
    }
}

/// A broker that answers and never confirms must not fill the memory.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_body_waits_for_its_confirm() {
    let broker = FakeBroker::new();
    broker.on("svc.get").reply(Answer::ok(1));
    let wire = broker.serve().await;
    let _unconfirmed = wire.no_confirms();
    let transport = connected(&wire.uri()).await.unwrap();
    let kept = Arc::new(br#"{"args": [], "kwargs": {}}"#.to_vec());
    for _ in 0..10 {
        let mut request = request();
        request.body = Bytes::from_owner(Kept(kept.clone()));
        transport.request(request).await.unwrap();
    }
    let all_gone = async {
        while Arc::strong_count(&kept) > 1 {
            sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(Duration::from_secs(5), all_gone).await.unwrap();
}

struct Kept(Arc<Vec<u8>>);

impl AsRef<[u8]> for Kept {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

/// Requests and replies take both. Who asked for a third one would be hung up on, with all calls under way.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_channels_are_enough_for_calls() {
    let broker = FakeBroker::new();
    broker.on("svc.get").reply(Answer::ok(1));
    let wire = broker.serve().await;
    let mut limits = Tune::default();
    limits.channel_max = 2;
    let _tuned = wire.tune(limits);
    let proxy = FaultProxy::start(&wire.uri()).await.unwrap();
    let transport = connected(proxy.uri()).await.unwrap();
    let mut state = transport.state();
    proxy.cut(Cut::Reset); // the next link deletes this one's reply queue
    state.wait_for(|state| !state.is_ready()).await.unwrap();
    state.wait_for(ConnectionState::is_ready).await.unwrap();

    let mut listener = transport.listen(Events::of("shop", ["#"]).unwrap());
    let heard = timeout(Duration::from_millis(500), listener.next()).await;
    assert!(heard.is_err(), "{heard:?}");
    assert_eq!(transport.service_queue("svc").await, None);
    transport.request(request()).await.unwrap();
    assert_eq!(proxy.accepted(), 2);
}
