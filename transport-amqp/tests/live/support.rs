//! A broker to test against, and a responder that answers on it.
#![allow(
    dead_code,
    unreachable_pub,
    unused_imports,
    reason = "each test program uses a part of it"
)]
#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "only tests use it"
)]

#[path = "responder.rs"]
pub mod responder;

use std::{future::Future, io::Write as _, net::SocketAddr, time::Duration};

use nameko_cachetools::{Request, Route, Transport};
use nameko_cachetools_testkit::fault_proxy::FaultProxy;
use tokio::{
    net::TcpListener,
    task::JoinHandle,
    time::{Instant, sleep, timeout},
};

pub use responder::Responder;

use crate::{Tested, tested::Address};

/// The broker's URI, or `None` after a loud notice. With `CI_LIVE=1` a missing broker fails the test.
pub async fn broker() -> Option<String> {
    let uri =
        std::env::var("AMQP_URI").unwrap_or_else(|_| "amqp://guest:guest@127.0.0.1:5672/%2f".to_owned());
    let address = Address::parse(&uri).expect("AMQP_URI").remove(0);
    let connect = tokio::net::TcpStream::connect((address.host.as_str(), address.port));
    if matches!(timeout(Duration::from_secs(2), connect).await, Ok(Ok(_))) {
        return Some(uri);
    }
    assert!(
        std::env::var("CI_LIVE").as_deref() != Ok("1"),
        "no broker answers at {address}"
    );
    // Past the test harness's capture: a suite that did not run must say so.
    let notice =
        format!("\n*** SKIPPED: no broker answers at {address}; set AMQP_URI to run the live tests ***\n");
    std::io::stderr().write_all(notice.as_bytes()).expect("stderr");
    None
}

/// Skips the test if there is no broker.
macro_rules! live {
    () => {
        match support::broker().await {
            Some(uri) => uri,
            None => return,
        }
    };
}
pub(crate) use live;

/// A request to `method` of `service` with an argument to tell it by.
pub fn request(service: &str, method: &str, argument: &str) -> Request {
    let body = serde_json::json!({"args": [argument], "kwargs": {}}).to_string();
    Request::new(Route::new(service, method).expect("route"), body)
}

/// Calls `method` with `argument` and checks that the reply is its own.
pub async fn echo(transport: &Tested, service: &str, argument: &str) {
    let response = transport
        .request(request(service, "echo", argument))
        .await
        .expect("a reply");
    let body: serde_json::Value = serde_json::from_slice(&response.body).expect("JSON");
    assert_eq!(body["result"]["args"][0], argument);
}

/// Calls `echo` until it works; how long that took.
pub async fn recovered(transport: &Tested, service: &str) -> Duration {
    let start = Instant::now();
    let works = async {
        while transport
            .request(request(service, "echo", "again"))
            .await
            .is_err()
        {
            sleep(Duration::from_millis(10)).await;
        }
    };
    within(10, works).await;
    start.elapsed()
}

/// Waits for `f`, and fails the test after `seconds`.
pub async fn within<F: Future>(seconds: u64, f: F) -> F::Output {
    timeout(Duration::from_secs(seconds), f).await.expect("in time")
}

/// Waits until `condition` holds.
pub async fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    for _ in 0..500 {
        if condition() {
            return;
        }
        sleep(Duration::from_millis(10)).await;
    }
    panic!("{what}: not within 5 s");
}

/// A proxy to the broker.
pub async fn proxy(uri: &str) -> FaultProxy {
    FaultProxy::start(uri).await.expect("a port")
}

/// A port that accepts and never says a word.
pub async fn silent_port() -> (SocketAddr, JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("address");
    let task = tokio::spawn(async move {
        let mut held = Vec::new();
        while let Ok((connection, _)) = listener.accept().await {
            held.push(connection);
        }
    });
    (address, task)
}

/// Name of a service that nothing else uses.
pub fn unique(prefix: &str) -> String {
    format!("{prefix}-{}", uuid::Uuid::new_v4().simple())
}
