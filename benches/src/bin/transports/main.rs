//! Our transports beside the thinnest possible loop over the same library, on one broker: what supervision costs.
//!
//! ```text
//! cargo run --release -p nameko-cachetools-benches --bin transports
//! ```
//!
//! Rows are `name ours peer ratio target ok|short`; it fails if one is short. Both send persistent, mandatory requests with publisher confirms on, and consume their replies without
//! acknowledgements; the service is a process of its own, on a private node. Rounds alternate who is first, and each row
//! is the median of the rounds' ratios, so that what else the machine does cancels out.

#![allow(clippy::expect_used, reason = "a benchmark that can't go on says so")]

mod measure;
mod raw_amqprs;
mod raw_lapin;
mod row;

use std::{
    error::Error,
    process::{ExitCode, Stdio},
    sync::Arc,
    time::Duration,
};

use async_trait::async_trait;
use nameko_cachetools::{Request, Route, Transport};
use nameko_cachetools_amqprs::AmqprsTransport;
use nameko_cachetools_interop::{Asked, PrivateBroker, Replies, Responder};
use nameko_cachetools_lapin::LapinTransport;
use tokio::process::{Child, Command};

use measure::{Measured, Plan, Ratios, side_by_side};
use row::{Row, Target};

/// What can call the echo service.
#[async_trait]
pub(crate) trait Caller: Send + Sync + 'static {
    /// Calls and waits for the reply, whose length it returns.
    async fn call(&self, body: &[u8]) -> usize;
}

#[async_trait]
impl<T: Transport> Caller for T {
    async fn call(&self, body: &[u8]) -> usize {
        let route = Route::new(SERVICE, "echo").expect("a route");
        let reply = self.request(Request::new(route, body.to_vec())).await;
        reply.expect("a reply").body.len()
    }
}

#[tokio::main]
async fn main() -> Result<ExitCode, Box<dyn Error>> {
    serve_if_asked().await;
    let rows = run().await?;
    Ok(if rows.iter().all(Row::is_ok) {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// Prints all rows, and returns them.
///
/// # Errors
/// There is no RabbitMQ, or it went away.
async fn run() -> Result<Vec<Row>, Box<dyn Error>> {
    let broker = PrivateBroker::start().await?;
    let uri = broker.uri();
    let _service = serve_elsewhere(&uri)?;
    let transport = LapinTransport::connect(&uri).await?;
    let probe = || Request::new(Route::new(SERVICE, "echo").expect("a route"), "{}");
    while transport.request(probe()).await.is_err() {
        tokio::time::sleep(Duration::from_millis(20)).await; // the service isn't there yet
    }
    let lapin: Pair = (
        Arc::new(transport),
        Arc::new(raw_lapin::RawLapin::connect(&uri).await?),
    );
    let amqprs: Pair = (
        Arc::new(AmqprsTransport::connect(&uri).await?),
        Arc::new(raw_amqprs::RawAmqprs::connect(&uri).await?),
    );
    let mut rows = Vec::new();
    for (name, (ours, peer)) in [("lapin", &lapin), ("amqprs", &amqprs)] {
        for in_flight in [1, 64, 1000] {
            let plan = Plan {
                in_flight,
                argument: 15,
                time: ROUND,
            };
            let (ours, peer, ratios) = side_by_side(ours, peer, plan, ROUNDS).await;
            rows.extend(judged(name, in_flight, ours, peer, ratios));
        }
    }
    for (name, (ours, _)) in [("lapin", &lapin), ("amqprs", &amqprs)] {
        curves(name, ours).await;
    }
    Ok(rows)
}

type Pair = (Arc<dyn Caller>, Arc<dyn Caller>);

/// Throughput where there is concurrency, latency where there is none, and CPU.
fn judged(name: &str, in_flight: usize, ours: Measured, peer: Measured, ratios: Ratios) -> Vec<Row> {
    let row = |what: &str, ours, peer, ratio, target| {
        let name = format!("{name}_{what}_{in_flight}");
        let row = Row {
            name,
            ours,
            peer,
            ratio,
            target,
        };
        println!("{row}");
        row
    };
    let mut rows = vec![row(
        "cpu_us",
        ours.cpu_us,
        peer.cpu_us,
        ratios.cpu,
        Target::AtMost(1.15),
    )];
    rows.push(match in_flight {
        1 => row(
            "p50_us",
            ours.p50_us,
            peer.p50_us,
            ratios.p50,
            Target::AtMost(1.05),
        ),
        _ => row(
            "calls_per_s",
            ours.rate,
            peer.rate,
            ratios.rate,
            Target::AtLeast(0.9),
        ),
    });
    rows
}

/// What a call costs against how many are in flight, and against the argument's size.
async fn curves(name: &str, ours: &Arc<dyn Caller>) {
    let flights = [1, 4, 16, 64, 256, 1000, 4000].map(|in_flight| (in_flight, 15));
    let sizes = [15, 1 << 10, 16 << 10, 128 << 10, 1 << 20].map(|argument| (20, argument));
    for (in_flight, argument) in flights.into_iter().chain(sizes) {
        let plan = Plan {
            in_flight,
            argument,
            time: ROUND,
        };
        let Measured { rate, p50_us, cpu_us } = measure::measure(ours, plan).await;
        println!(
            "curve: {name} in_flight={in_flight} argument_bytes={argument} calls_per_s={rate:.0} p50_us={p50_us:.0} cpu_us={cpu_us:.1}"
        );
    }
}

/// The service shall not share our CPU time: it is this program again.
fn serve_elsewhere(uri: &str) -> Result<Child, Box<dyn Error>> {
    Ok(Command::new(std::env::current_exe()?)
        .args([SERVE, uri])
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .spawn()?)
}

/// The service, if this process was started for it: then it doesn't return.
async fn serve_if_asked() {
    let mut words = std::env::args().skip(1);
    if words.next().as_deref() != Some(SERVE) {
        return;
    }
    let uri = words.next().expect("a URI");
    let echo = |asked: Asked, replies: &Replies| replies.send(&asked, asked.body.clone());
    let responder = Responder::start(&uri, "nameko-rpc", SERVICE, echo)
        .await
        .expect("a broker");
    while responder.is_connected() {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    std::process::exit(0)
}

const SERVE: &str = "serve-echo";
pub(crate) const SERVICE: &str = "compare_echo";
const ROUNDS: usize = 9;
const ROUND: Duration = Duration::from_millis(1000);
