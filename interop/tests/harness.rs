//! The harness itself: what it starts can be called, broken and mended, and leaves nothing behind.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test's helpers may fail it")]

use std::time::Duration;

use nameko_cachetools_interop::{Interop, Packages, PrivateBroker, live};
use tokio::time::{Instant, sleep};

#[test]
fn every_set_of_packages_serves_a_call() {
    live::run(async {
        for packages in [Packages::Nameko2, Packages::OldKombu, Packages::Nameko3] {
            let Some(nameko) = live::require(Interop::builder().packages(packages).start().await) else {
                return;
            };
            assert_eq!(echo(&nameko).await, OK, "{packages:?}");
            nameko.close().await;
        }
    });
}

#[test]
fn services_are_stopped_killed_and_restarted() {
    live::alone(Interop::builder(), async |nameko| {
        nameko.stop().await.unwrap();
        assert_eq!(echo(nameko).await, TIMEOUT, "stopped");
        assert!(nameko.stop().await.is_err(), "not running");
        nameko.restart().await.unwrap();
        assert_eq!(echo(nameko).await, OK, "restarted after a stop");

        nameko.kill().await.unwrap();
        assert_eq!(echo(nameko).await, TIMEOUT, "killed");
        nameko.restart().await.unwrap();
        nameko.restart().await.unwrap();
        assert_eq!(echo(nameko).await, OK, "restarted while running");
    });
}

#[test]
fn hung_services_are_silent_until_they_are_resumed() {
    live::alone(Interop::builder(), async |nameko| {
        nameko.hang().unwrap();
        assert_eq!(echo(nameko).await, TIMEOUT, "hung");
        nameko.resume().unwrap();
        assert_eq!(echo(nameko).await, OK, "resumed");
        nameko.hang().unwrap();
        nameko.stop().await.expect("a hung one can be stopped too");
    });
}

#[test]
fn nothing_is_left_on_the_broker() {
    live::run(async {
        let Some(keeper) = live::require(Interop::start().await) else {
            return;
        };
        let Some(other) = live::require(Interop::start().await) else {
            return;
        };
        let name = other.service("interop");
        other.close().await;
        assert_eq!(call(&keeper, &name).await, UNKNOWN, "closed");

        let Some(other) = live::require(Interop::start().await) else {
            return;
        };
        let name = other.service("interop");
        drop(other);
        let deadline = Instant::now() + Duration::from_secs(30);
        while call(&keeper, &name).await != UNKNOWN {
            assert!(
                Instant::now() < deadline,
                "dropped, its queues are deleted in the background"
            );
            sleep(Duration::from_millis(100)).await;
        }
        keeper.close().await;
    });
}

#[test]
fn a_private_broker_is_killed_and_keeps_what_is_durable() {
    live::private_broker(async |broker| {
        let Some(mut nameko) = live::require(Interop::builder().uri(broker.uri()).start().await) else {
            return;
        };
        assert_eq!(echo(&nameko).await, OK);
        nameko.kill().await.unwrap();

        broker.kill().await.unwrap();
        assert!(!live_at(broker).await, "killed");
        broker.restart().await.unwrap();
        let queues = broker.ctl(&["list_queues", "name"]).await.unwrap();
        assert!(
            queues.contains(&format!("rpc-{}interop\n", nameko.prefix())),
            "{queues}"
        );

        nameko.restart().await.unwrap();
        assert_eq!(echo(&nameko).await, OK, "after the broker's restart");
        nameko.close().await;
        broker.stop().await.unwrap();
        assert!(!live_at(broker).await, "stopped");
    });
}

const OK: &str = "ok";
const TIMEOUT: &str = "RpcTimeout";
const UNKNOWN: &str = "UnknownService";

async fn echo(nameko: &Interop) -> String {
    call(nameko, &nameko.service("interop")).await
}

/// What a Python caller gets from `service.echo()`: "ok", or the class of the error.
async fn call(nameko: &Interop, service: &str) -> String {
    let output = nameko
        .script("nk_call.py")
        .args([&format!("{service}.echo"), "--timeout", "1"])
        .output()
        .await
        .unwrap();
    let line = String::from_utf8(output.stdout).unwrap();
    if line.starts_with(r#"{"ok""#) {
        return OK.into();
    }
    let class = line
        .strip_prefix(r#"{"error": {"class": ""#)
        .and_then(|rest| rest.split('"').next());
    class
        .unwrap_or_else(|| panic!("{line}{}", String::from_utf8_lossy(&output.stderr)))
        .into()
}

async fn live_at(broker: &PrivateBroker) -> bool {
    Interop::builder().uri(broker.uri()).start().await.is_ok()
}
