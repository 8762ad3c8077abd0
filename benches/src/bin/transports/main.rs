//! Our transports beside the thinnest possible loop over the same library, and beside girolle and nameko's own client, on
//! one broker: what supervision costs, and what others do.
//!
//! ```text
//! cargo run --release -p nameko-cachetools-benches --bin compare transports
//! cargo run --release -p nameko-cachetools-benches --bin transports curves
//! ```
//!
//! Both ours and the loops send persistent, mandatory requests with publisher confirms on, and consume their replies
//! without acknowledgements; the service is a process of its own, on a private node. In each round all clients are measured
//! in turn, so that what else the machine does falls on all alike, and a row is the median of the ratios of those rounds,
//! half of all, in which strangers used the cores least.
#![allow(
    clippy::expect_used,
    clippy::disallowed_methods,
    reason = "a benchmark that can't go on says so, and measures real time"
)]

mod measure;
mod others;
mod raw_amqprs;
mod raw_lapin;
mod rows;

use std::{error::Error, process::Stdio, sync::Arc, time::Duration};

use async_trait::async_trait;
use bytes::Bytes;
use nameko_cachetools::{Request, Route, Transport};
use nameko_cachetools_amqprs::AmqprsTransport;
use nameko_cachetools_interop::{Asked, PrivateBroker, Replies, Responder};
use nameko_cachetools_lapin::LapinTransport;
use tokio::process::{Child, Command};

use measure::{Measured, Plan, measure};
use others::Other;
use rows::Table;

/// What can call the echo service.
#[async_trait]
pub(crate) trait Caller: Send + Sync + 'static {
    /// Calls and waits for the reply, whose length it returns.
    async fn call(&self, body: &Bytes) -> usize;
}

/// A transport of ours, and where its requests go: like the loops, it has that ready.
struct Ours<T>(T, Route);

impl<T> Ours<T> {
    fn new(transport: T) -> Self {
        Self(transport, Route::new(SERVICE, "echo").expect("a route"))
    }
}

#[async_trait]
impl<T: Transport> Caller for Ours<T> {
    async fn call(&self, body: &Bytes) -> usize {
        let reply = self.0.request(Request::new(self.1.clone(), body.clone())).await;
        reply.expect("a reply").body.len()
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    serve_if_asked().await;
    let broker = PrivateBroker::start().await?;
    let uri = broker.uri();
    let _service = serve_elsewhere(&uri)?;
    let lapin = LapinTransport::connect(&uri).await?;
    let probe = || Request::new(Route::new(SERVICE, "echo").expect("a route"), "{\"args\": []}");
    while lapin.request(probe()).await.is_err() {
        tokio::time::sleep(Duration::from_millis(20)).await; // the service isn't there yet
    }
    let amqprs = AmqprsTransport::connect(&uri).await?;
    let (lapin, amqprs): Pair = (Arc::new(Ours::new(lapin)), Arc::new(Ours::new(amqprs)));
    match std::env::args().nth(1).as_deref() {
        Some("curves") => {
            curves("lapin", &lapin).await;
            curves("amqprs", &amqprs).await;
        }
        what => compare(&uri, (lapin, amqprs), what == Some("rows")).await?,
    }
    Ok(())
}

type Pair = (Arc<dyn Caller>, Arc<dyn Caller>);

/// Prints all rows, for readers or for the program `compare`.
async fn compare(uri: &str, (lapin, amqprs): Pair, encoded: bool) -> Result<(), Box<dyn Error>> {
    let raw_lapin = raw_lapin::RawLapin::connect(uri).await?;
    let mut others = Vec::new();
    for (name, started) in [
        ("girolle", Other::girolle(uri).await),
        ("ClusterRpcProxy", Other::python(uri).await),
    ] {
        match started {
            Ok(other) => others.push((name, other)),
            Err(why) => eprintln!("SKIPPED transports beside {name}: {why}"),
        }
    }
    raw_lapin.delete("rpc-compare_echo").await?; // girolle declares the service's queue, which nobody would read
    let ours: [(_, Arc<dyn Caller>); 5] = [
        ("lapin", lapin),
        ("bare lapin", Arc::new(raw_lapin)),
        ("amqprs", amqprs),
        (
            "bare amqprs",
            Arc::new(raw_amqprs::RawAmqprs::connect(uri).await?),
        ),
        (
            "bare amqprs on a thread",
            Arc::new(raw_amqprs::Apart::connect(uri)?),
        ),
    ];
    for in_flight in [1, 64, 1000] {
        let plan = Plan {
            in_flight,
            argument: 15,
            time: ROUND,
        };
        let mut table = Table::new(in_flight);
        for round in 0..ROUNDS {
            // Who is first, pays for whoever was last.
            for n in 0..ours.len() {
                let (name, caller) = &ours[(n + round) % ours.len()];
                table.add(name, measure(caller, plan).await);
            }
            for (name, other) in &mut others {
                table.add(name, other.measure(plan).await?);
            }
        }
        for row in table.rows() {
            match encoded {
                true => println!("{}", row.encode()),
                false => println!("{row}"),
            }
        }
    }
    Ok(())
}

/// What a call costs against how many are in flight, and against the argument's size.
async fn curves(name: &str, ours: &Arc<dyn Caller>) {
    let flights = [1, 4, 16, 64, 256, 1000, 4000].map(|in_flight| (in_flight, 15));
    let sizes = [15, 1 << 10, 16 << 10, 128 << 10, 1 << 20].map(|argument| (20, argument));
    for (in_flight, argument) in flights.into_iter().chain(sizes) {
        let plan = Plan {
            in_flight,
            argument,
            time: 3 * ROUND,
        };
        let Measured {
            rate, p50_us, cpu_us, ..
        } = measure(ours, plan).await;
        println!("{name:<8} {in_flight:>6} {argument:>9} {rate:>9.0} {p50_us:>9.0} {cpu_us:>9.1}");
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
    let echo = |asked: Asked, replies: &Replies| {
        let (start, end) = (
            asked.body.iter().position(|b| *b == b'['),
            asked.body.iter().rposition(|b| *b == b']'),
        );
        let arguments = start
            .zip(end)
            .and_then(|(start, end)| asked.body.get(start..=end));
        let reply = [
            br#"{"result": "#,
            arguments.unwrap_or(b"null"),
            br#", "error": null}"#,
        ]
        .concat();
        replies.send(&asked, reply);
    };
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
const ROUNDS: usize = 31;
const ROUND: Duration = Duration::from_millis(330);
