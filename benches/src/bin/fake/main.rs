//! What the fake broker carries: in memory, and over TCP to a client that costs next to nothing. Ends with 1 if a row is
//! short of its target.
#![allow(clippy::expect_used, reason = "a bench may panic")]
#![allow(clippy::disallowed_methods, reason = "measures real time")]
#![forbid(unsafe_code)]

mod client;

use std::{
    process::ExitCode,
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use client::Client;
use nameko_cachetools::{Request, Route, Transport};
use nameko_cachetools_benches::{Rounds, Row, thread_time};
use nameko_cachetools_testkit::{Answer, FakeBroker};
use tokio::{runtime::Builder, sync::oneshot};

fn main() -> ExitCode {
    let (memory, (processor, wall)) = (in_memory(), over_tcp());
    let rows = [
        row(
            "calls in memory, per second of processor time",
            &memory,
            (150_000.0, 300_000.0),
        ),
        row(
            "confirmed calls over TCP, per second of the broker's processor time",
            &processor,
            (20_000.0, 60_000.0),
        ),
        row(
            "confirmed calls over TCP, per second, client on the same machine",
            &wall,
            (20_000.0, 30_000.0),
        ),
    ];
    for row in &rows {
        println!("{row}");
    }
    ExitCode::from(u8::from(rows.iter().any(Row::is_short)))
}

/// Calls a second, from what each round took for a call in nanoseconds.
fn row(name: &str, times: &[f64], (must, goal): (f64, f64)) -> Row {
    let rates = Rounds::of(vec![
        times.iter().map(|ns| 1e9 / ns).collect(),
        vec![1.0; times.len()],
    ]);
    let (rate, noise) = rates.ratio(0, 1);
    Row {
        at_most: false,
        noise,
        ..Row::alone(name, "/s", rate)
    }
    .target(must, goal)
}

/// One call after the other, on one thread.
fn in_memory() -> Vec<f64> {
    let runtime = Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a runtime");
    let _within = runtime.enter();
    let broker = FakeBroker::new();
    broker.on("products.get").reply(Answer::ok("The Odyssey"));
    let transport = broker.transport();
    let mut request = Request::new(Route::new("products", "get").expect("a route"), BODY);
    request.headers.push(("nameko.language".into(), "sv".into()));
    let round = |_| {
        let began = thread_time();
        runtime.block_on(async {
            for _ in 0..CALLS {
                transport.request(request.clone()).await.expect("an answer");
            }
        });
        per_call(thread_time() - began)
    };
    (0..ROUNDS).map(round).collect()
}

/// Many at once, all confirmed and answered: what a call takes of the broker's processor time, and of everybody's time.
fn over_tcp() -> (Vec<f64>, Vec<f64>) {
    let (uris, uri) = mpsc::channel();
    (0..ROUNDS)
        .map(|_| {
            let (uris, (end, ended)) = (uris.clone(), oneshot::channel());
            let broker = thread::spawn(move || serve(&uris, ended));
            let mut client = Client::connect(uri.recv().expect("a port")).expect("a connection");
            client.calls(CALLS / 10).expect("all are answered");
            let began = Instant::now();
            client.calls(CALLS).expect("all are answered");
            let wall = per_call(began.elapsed());
            end.send(()).expect("the broker is there");
            let used = broker.join().expect("a broker that doesn't panic");
            (per_call(used) / 1.1, wall)
        })
        .unzip()
}

/// Serves on this thread until the end, and says how much of the processor that took.
fn serve(address: &mpsc::Sender<std::net::SocketAddr>, ended: oneshot::Receiver<()>) -> Duration {
    let runtime = Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    runtime.block_on(async {
        let broker = FakeBroker::new();
        broker.on("products.get").reply(Answer::ok("The Odyssey"));
        let wire = broker.serve().await;
        let began = thread_time();
        address.send(wire.address()).expect("somebody wants it");
        ended.await.expect("an end");
        let used = thread_time() - began;
        broker.calls("products.get").assert_times(CALLS + CALLS / 10);
        used
    })
}

fn per_call(time: Duration) -> f64 {
    time.as_nanos() as f64 / CALLS as f64
}

const ROUNDS: usize = 7;
const CALLS: u64 = 50_000;
/// What is asked, as nameko writes it.
const BODY: &str = r#"{"args": ["the_odyssey"], "kwargs": {"currency": "EUR"}}"#;
