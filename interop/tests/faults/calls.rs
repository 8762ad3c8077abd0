//! Many callers, leaving callers, and names that can't be.

use std::time::Duration;

use nameko_cachetools::{Client, Reply, TransportError};
use serde_json::Value;
use tokio::{
    task::JoinSet,
    time::{Instant, timeout},
};

use crate::{
    scene::{Scene, eventually, own_reply, within},
    stage::{Row, Stage},
    subject::Subject,
};

/// As many as the default allows: one more is refused at once, and each gets its own reply, the last one first.
pub(crate) async fn ten_thousand_in_flight<T: Subject>(stage: &Stage) -> Row {
    const MANY: usize = 10_000;
    let _broker = stage.alone().await; // which it keeps busy
    let scene = Scene::<T>::on(&stage.uri, |builder| builder).await;
    let mut calls = JoinSet::new();
    for n in 0..MANY {
        let (transport, request) = (scene.transport.clone(), scene.request("held", &n.to_string()));
        calls.spawn(own_reply(transport, request));
    }
    let all_are_there = async {
        while scene.service.executed("held") < MANY {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    within(Duration::from_secs(30), all_are_there).await;
    let start = Instant::now();
    let error = scene.call("echo", "one more").await.unwrap_err();
    let noticed = start.elapsed();
    assert!(
        matches!(error, TransportError::Overloaded { limit: MANY }),
        "{error:?}"
    );
    scene.service.release();
    for end in within(Duration::from_secs(30), calls.join_all()).await {
        end.unwrap();
    }
    assert_eq!(scene.proxy.accepted(), 1, "the connection was replaced");
    scene.end().await;
    Row {
        end: Err(error),
        noticed,
        back: None,
    }
}

/// Callers leave before the first poll, between any two, and after the service has the request.
pub(crate) async fn cancellation_storm<T: Subject>(stage: &Stage) -> Row {
    let _broker = stage.alone().await; // which it keeps busy, on a busy machine for longer than the default allows
    let patience = Duration::from_secs(20);
    let scene = Scene::<T>::on(&stage.uri, |builder| builder.send_timeout(patience)).await;
    let start = Instant::now();
    let mut callers = JoinSet::new();
    for caller in 0..20 {
        let transport = scene.transport.clone();
        let requests: Vec<_> = (0..250)
            .map(|n| scene.request(if n % 2 == 0 { "echo" } else { "silent" }, "x"))
            .collect();
        callers.spawn(async move {
            for (n, request) in requests.into_iter().enumerate() {
                let patience = Duration::from_micros((n as u64 * 37 + caller * 101) % 3000);
                let _ = timeout(patience, transport.request(request)).await;
            }
        });
    }
    within(Duration::from_secs(30), callers.join_all()).await;
    assert_eq!(scene.transport.counters().in_flight, 0, "slots of those who left");
    let noticed = start.elapsed();
    assert_eq!(scene.proxy.accepted(), 1, "the connection was replaced");
    scene.end().await;
    Row {
        end: Ok(()),
        noticed,
        back: None,
    }
}

pub(crate) async fn invalid_names_send_nothing<T: Subject>(stage: &Stage) -> Row {
    let scene = Scene::<T>::new(stage).await;
    let client = Client::builder(scene.transport.clone()).build();
    scene.echo("all that connecting sends is sent").await;
    let quiet = scene.proxy.bytes_to_broker();
    let start = Instant::now();
    let long = "m".repeat(255);
    let (service, nobody) = (scene.service.name.as_str(), "s".repeat(201));
    for (service, method) in [
        (service, "get.all"),
        (service, "*"),
        (service, "#"),
        (service, "get\n"),
        (service, ""),
        (service, &long),
        ("a.*", "get"),
        ("#", "get"),
        ("two\nlines", "get"),
        (&nobody, "get"),
    ] {
        let reply: Result<Reply<Value>, _> = client.service(service).call(method, (1,)).await;
        let error = reply.unwrap_err();
        assert!(!error.may_have_executed(), "{error:?}");
        assert!(error.to_string().contains("nothing was sent"), "{error}");
    }
    let noticed = start.elapsed();
    assert_eq!(scene.proxy.bytes_to_broker(), quiet, "bytes were sent");
    eventually("nothing waits", || scene.transport.counters().in_flight == 0).await;
    scene.end().await;
    Row {
        end: Ok(()),
        noticed,
        back: None,
    }
}
