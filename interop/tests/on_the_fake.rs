//! Real nameko on the fake broker: service containers, a `ClusterRpcProxy`, and the original's nameko-cachetools. No
//! RabbitMQ is needed.
#![expect(clippy::unwrap_used, reason = "a test's helpers may fail it")]

use std::time::Duration;

use nameko_cachetools::{CallError, Client, Reply, args};
use nameko_cachetools_interop::{Interop, InteropBuilder, Packages, live};
use nameko_cachetools_lapin::LapinTransport;
use nameko_cachetools_testkit::{Answer, FakeBroker, WireBroker};
use serde_json::{Value, json};
use tokio::{task::JoinSet, time::Instant};

/// Our client, the fake broker, a real service: requests, replies, exceptions, nested calls.
#[test]
fn a_service_container_runs_over_it() {
    for packages in [Packages::Nameko2, Packages::OldKombu, Packages::Nameko3] {
        on_the_fake(
            Interop::builder().packages(packages),
            async |nameko, broker, _| {
                let client = client(nameko.uri()).await;
                let interop = client.service(nameko.service("interop"));
                let echo: Reply<Value> = interop.call("echo", args![1, "two", three = 3]).await.unwrap();
                assert_eq!(
                    *echo,
                    json!({"args": [1, "two"], "kwargs": {"three": 3}}),
                    "{packages:?}"
                );
                let big: Reply<String> = interop.call("big", (300_000,)).await.unwrap();
                assert_eq!(big.len(), 300_000);

                let mut calls = JoinSet::new();
                for n in 0..50 {
                    let call = interop.call::<u32, _>("ident", (n,)).into_future();
                    calls.spawn(async move { assert_eq!(*call.await.unwrap(), n) });
                }
                calls.join_all().await;

                let error = interop
                    .call::<Value, _>("raise_custom", ("x",))
                    .await
                    .unwrap_err();
                assert_eq!(error.remote().unwrap().exc_type, "CustomError");
                let error = interop.call::<Value, _>("nope", ()).await.unwrap_err();
                assert_eq!(error.remote().unwrap().exc_type, "MethodNotFound");

                // A service that calls a service: its own reply queue, its own publishing connections.
                let relay = client.service(nameko.service("interop_relay"));
                let nested: Reply<Value> = relay.call("call", ("ident", [7])).await.unwrap();
                assert_eq!(*nested, json!(7));
                let many: Reply<Value> = relay.call("call_many", ("ident", [[1], [2], [3]])).await.unwrap();
                assert_eq!(*many, json!([1, 2, 3]));
                let error = relay.call::<Value, _>("call_missing", ()).await.unwrap_err();
                assert_eq!(error.remote().unwrap().exc_type, "UnknownService");

                assert_eq!(
                    broker
                        .calls(&format!("{}.echo", nameko.service("interop")))
                        .count(),
                    0,
                    "the real service has its requests"
                );
            },
        );
    }
}

/// Exchanges and queues of events are nameko's own business; the broker only has to be one.
#[test]
fn events_run_over_it() {
    on_the_fake(Interop::builder(), async |nameko, _, _| {
        let client = client(nameko.uri()).await;
        let (interop, events) = (
            client.service(nameko.service("interop")),
            client.service(nameko.service("interop_events")),
        );
        for kind in ["pool", "single", "broadcast", "unreliable"] {
            interop.call::<bool, _>("emit", (kind, 1)).await.unwrap();
            let deadline = Instant::now() + LIMIT;
            while *events.call::<Value, _>("received", (kind,)).await.unwrap() != json!([1]) {
                assert!(Instant::now() < deadline, "no event {kind}");
            }
        }
    });
}

/// A killed service's requests wait in its durable queue, and the next one executes them.
#[test]
fn a_killed_service_leaves_its_requests_to_the_next() {
    on_the_fake(Interop::builder(), async |nameko, _, wire| {
        let interop = client(nameko.uri()).await.service(nameko.service("interop"));
        let hung = tokio::spawn(interop.call::<Value, _>("sleep", (0.5, "late")).into_future());
        while wire.queues().iter().all(|queue| queue.consumers == 0) {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        nameko.kill().await.unwrap();
        let waiting = tokio::spawn(interop.call::<Value, _>("ident", ("kept",)).into_future());
        nameko.restart().await.unwrap();
        assert_eq!(*waiting.await.unwrap().unwrap(), json!("kept"));
        assert_eq!(*hung.await.unwrap().unwrap(), json!("late"), "redelivered");
    });
}

/// A Python caller without a Python service: the rules answer.
#[test]
fn a_cluster_rpc_proxy_calls_the_rules() {
    for packages in [Packages::Nameko2, Packages::OldKombu, Packages::Nameko3] {
        let builder = Interop::builder().packages(packages).module("nk_catalog");
        on_the_fake(builder, async |nameko, broker, _| {
            broker.on("stock.level").with(args!["A1"]).reply(Answer::ok(3));
            broker.on("stock.level").reply(Answer::error("KeyError", "'B2'"));
            broker.on("stock.slow").reply(Answer::never());
            broker.on("stock.lost").reply(Answer::unknown_service());

            assert_eq!(
                python(nameko, ["stock.level", r#"["A1"]"#]).await,
                json!({"ok": 3})
            );
            let error = python(nameko, ["stock.level", r#"["B2"]"#]).await;
            assert_eq!(error["error"]["exc_type"], "KeyError", "{packages:?} {error}");
            let error = python(nameko, ["stock.lost", "[]"]).await;
            assert_eq!(error["error"]["class"], "UnknownService", "{packages:?} {error}");
            let error = python(nameko, ["stock.slow", "[]", "{}", "--timeout", "1"]).await;
            assert_eq!(error["error"]["class"], "RpcTimeout", "{packages:?} {error}");
            let language = python(nameko, ["stock.level", r#"["A1"]"#, "--header", "language=sv"]).await;
            assert_eq!(language, json!({"ok": 3}));
            broker.calls("stock.level").with(args!["A1"]).assert_times(2);
        });
    }
}

/// Programs that know AMQP and not nameko.
#[test]
fn pika_and_aio_pika_call_the_rules() {
    on_the_fake(
        Interop::builder().module("nk_catalog"),
        async |nameko, broker, _| {
            broker
                .on("stock.level")
                .with(args!["A1"])
                .expect(2)
                .reply(Answer::ok(3));
            let reply = json!({"result": 3, "error": null});
            assert_eq!(
                printed(nameko, "nk_pika.py", ["stock.level", r#"["A1"]"#]).await,
                json!({"pika": reply, "aio_pika": reply})
            );
            let back = json!({"returned": "NO_ROUTE"});
            assert_eq!(
                printed(nameko, "nk_pika.py", ["nobody.there", "[]"]).await,
                json!({"pika": back, "aio_pika": back})
            );
        },
    );
}

/// nameko-cachetools in a real worker, over rules that fall silent.
#[test]
fn the_original_fails_over_when_the_rules_fall_silent() {
    let builder = Interop::builder().module("nk_cached").prefix("original_");
    on_the_fake(builder, async |nameko, broker, _| {
        broker
            .on("original_interop.count")
            .reply(Answer::ok(1))
            .then(Answer::ok(2));
        let client = client(nameko.uri()).await;
        let cached = client.service(nameko.service("cached_failover"));
        let first = client.service(nameko.service("cached_first"));
        for live in [1, 2] {
            assert_eq!(
                *cached.call::<u8, _>("call", ("count", ["k"])).await.unwrap(),
                live
            );
        }
        for _ in 0..3 {
            assert_eq!(*first.call::<u8, _>("call", ("count", ["k"])).await.unwrap(), 2);
        }
        assert_eq!(
            broker.calls("original_interop.count").count(),
            3,
            "cache-first asked once"
        );

        let silent = broker.silent("original_interop");
        let began = Instant::now();
        assert_eq!(*cached.call::<u8, _>("call", ("count", ["k"])).await.unwrap(), 2);
        assert!(
            began.elapsed() >= Duration::from_secs(1),
            "its failover_timeout: {:?}",
            began.elapsed()
        );
        silent.end();

        let _unknown = broker.unknown("original_interop");
        assert_eq!(*cached.call::<u8, _>("call", ("count", ["k"])).await.unwrap(), 2);
        let error = cached
            .call::<u8, _>("call", ("count", ["another"]))
            .await
            .unwrap_err();
        assert_eq!(remote(&error), "UnknownService");
    });
}

/// Runs a test with real Python on a fake broker of its own.
fn on_the_fake(builder: InteropBuilder, test: impl AsyncFnOnce(&mut Interop, &FakeBroker, &WireBroker)) {
    live::run(async {
        let broker = FakeBroker::new();
        let wire = broker.serve().await;
        if let Some(mut nameko) = live::require(builder.uri(wire.uri()).start().await) {
            test(&mut nameko, &broker, &wire).await;
            nameko.close().await;
        }
        // Calls to services that there are not are a part of these tests, and violations elsewhere.
        drop(broker.verify());
    });
}

async fn client(uri: &str) -> Client {
    let transport = LapinTransport::connect(uri).await.unwrap();
    Client::builder(transport).call_timeout(LIMIT).build()
}

/// What `nk_call.py` prints.
async fn python<const N: usize>(nameko: &Interop, arguments: [&str; N]) -> Value {
    printed(nameko, "nk_call.py", arguments).await
}

async fn printed<const N: usize>(nameko: &Interop, script: &str, arguments: [&str; N]) -> Value {
    let done = nameko.script(script).args(arguments).output().await.unwrap();
    let printed = String::from_utf8_lossy(&done.stdout).into_owned();
    let said = String::from_utf8_lossy(&done.stderr).into_owned();
    serde_json::from_str(&printed).unwrap_or_else(|_| json!({"printed": printed, "said": said}))
}

fn remote(error: &CallError) -> &str {
    error.remote().map_or("", |error| &error.exc_type)
}

/// Longer than any answer takes on a busy machine.
const LIMIT: Duration = Duration::from_secs(30);
