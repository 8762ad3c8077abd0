//! Whom the transport trusts, over the fake broker with TLS.
#![cfg(feature = "tls")]
#![allow(clippy::expect_used, clippy::unwrap_used, reason = "tests")]

use std::{env, path::PathBuf, time::Duration};

use nameko_cachetools::{Request, Route, Transport};
use nameko_cachetools_lapin::LapinTransport;
use nameko_cachetools_testkit::{Answer, FakeBroker, wire::Certificate};
use tokio::{process::Command, time::timeout};

/// Proves: R14.
#[tokio::test]
async fn only_a_good_certificate_of_a_known_authority_is_trusted() {
    let broker = FakeBroker::new();
    broker.on("svc.method").reply(Answer::ok("trusted"));
    for (certificate, is_trusted) in [
        (Certificate::Good, true),
        (Certificate::Expired, false),
        (Certificate::OtherHost, false),
        (Certificate::UnknownAuthority, false),
    ] {
        let wire = broker.serve_tls(certificate).await;
        let ca = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("{certificate:?}.pem"));
        std::fs::write(&ca, wire.ca()).unwrap();
        // In a process of its own: the authorities a process trusts are read from its environment, once.
        let client = Command::new(env::current_exe().unwrap())
            .args(["--exact", "a_client_of_its_own", "--nocapture"])
            .env("SSL_CERT_FILE", ca)
            .env(URI, wire.uri())
            .output();
        let client = timeout(LIMIT, client).await.unwrap().unwrap();
        let said = String::from_utf8_lossy(&client.stdout).into_owned();
        assert_eq!(client.status.success(), is_trusted, "{certificate:?}: {said}");
    }
    broker.calls("svc.method").assert_times(1);
}

/// Run by the test above; by itself, it has nothing to do.
#[tokio::test]
async fn a_client_of_its_own() {
    let Ok(uri) = env::var(URI) else {
        return;
    };
    let transport = LapinTransport::connect(&uri).await.expect("trust");
    let request = Request::new(
        Route::new("svc", "method").unwrap(),
        r#"{"args": [], "kwargs": {}}"#,
    );
    transport.request(request).await.expect("a reply");
    transport.close(Duration::from_secs(1)).await;
}

const URI: &str = "TLS_OVER_THE_FAKE_URI";
const LIMIT: Duration = Duration::from_secs(60);
