//! Ten thousand callers of one key at once, of a service that takes its time, and of one that fails.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use nameko_cachetools::{
    CacheFirst, CacheFirstRpcProxy, Client, Request, Response, TransportError, transport_fn,
};
use nameko_cachetools_benches::{Rounds, Row, crowd};
use tokio::runtime::Builder;

use crate::Rows;

const CALLERS: usize = 10_000;

/// What the service takes: long enough for all to come meanwhile.
const SERVICE: Duration = Duration::from_millis(300);

const ROUNDS: usize = 7;

pub(crate) fn rows() -> Rows {
    let mut rows = Vec::new();
    for (name, answers) in [("stampede", true), ("failing service", false)] {
        let mut most = 0;
        let rounds = Rounds::least_crowded(ROUNDS, crowd::crowding_of_two, || {
            let (calls, beyond) = stampede(answers);
            most = most.max(calls);
            Some((vec![beyond.as_secs_f64() * 1e3], crowd::crowding_of_two()))
        });
        let (beyond, noise) = rounds.alone(0);
        let row = Row::alone(
            format!("{name}, 10,000 callers of one key: service calls"),
            "",
            most as f64,
        );
        rows.push(row.target(1.0, 1.0));
        let mut row = Row::alone(format!("{name}, time beyond the service's own"), "ms", beyond);
        row.noise = noise;
        rows.push(row.target(30.0, 15.0));
    }
    Ok(rows)
}

/// How many calls the service gets, and the time until the last caller is served, beyond what the service takes.
fn stampede(answers: bool) -> (u64, Duration) {
    let runtime = Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime can be made");
    let calls = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&calls);
    let transport = transport_fn(move |_: Request| {
        counted.fetch_add(1, Ordering::Relaxed);
        async move {
            tokio::time::sleep(SERVICE).await;
            if answers {
                Ok(Response::json(r#"{"result": 7, "error": null}"#))
            } else {
                Err(TransportError::Closed)
            }
        }
    });
    let proxy = Arc::new(
        CacheFirstRpcProxy::builder("bench")
            .policy(CacheFirst::fresh_for(Duration::from_secs(60)))
            .build(&Client::new(transport)),
    );
    #[allow(clippy::disallowed_methods, reason = "a bench measures real time")]
    let began = Instant::now();
    let served = runtime.block_on(async {
        let callers: Vec<_> = (0..CALLERS)
            .map(|_| {
                let proxy = Arc::clone(&proxy);
                tokio::spawn(async move { proxy.call::<u64, _>("get", (1,)).await.is_ok() })
            })
            .collect();
        let mut served = 0;
        for caller in callers {
            served += usize::from(caller.await.is_ok_and(|ok| ok));
        }
        served
    });
    let took = began.elapsed();
    assert_eq!(
        served,
        if answers { CALLERS } else { 0 },
        "callers that are served"
    );
    (calls.load(Ordering::Relaxed), took.saturating_sub(SERVICE))
}
