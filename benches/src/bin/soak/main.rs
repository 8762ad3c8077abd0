//! A long run through everything that breaks connections: every reply is checked against its request, every request
//! against the executions that the service counted.
//!
//! ```text
//! cargo run --release -p nameko-cachetools-benches --bin soak -- --transport lapin --calls 100000 --faults 50
//! ```
//!
//! It starts a RabbitMQ node of its own, an echo service, and a transport behind a [`FaultProxy`]. Calls go on while
//! faults come, spread evenly over them. The last line is
//!
//! ```text
//! soak: transport=lapin calls=100000 faults=50 lost=0 mismatched=0 duplicated=0 leaked=0 rss_growth_kib=512
//! ```
//!
//! - `lost`: calls that had no end after [`traffic::PATIENCE`], though the transport alone decides how long they wait;
//! - `mismatched`: another call's reply, a reply without an execution, an execution that "was not sent";
//! - `duplicated`: requests that were executed more than once;
//! - `leaked`: slots, threads and file descriptors still there after the transport was closed;
//! - `rss_growth_kib`: memory at the end beyond that after the first tenth of the calls.
//!
//! It fails if one of the first four isn't 0.
#![allow(clippy::expect_used, reason = "a program that can't go on says so")]

mod faults;
mod process;
mod service;
mod traffic;

use std::{error::Error, process::ExitCode, sync::Arc, time::Duration};

use nameko_cachetools::Transport;
use nameko_cachetools_amqp::{AmqpTransport, Builder, Counters};
use nameko_cachetools_amqprs::AmqprsTransport;
use nameko_cachetools_interop::PrivateBroker;
use nameko_cachetools_lapin::LapinTransport;
use nameko_cachetools_testkit::fault_proxy::{Cut, FaultProxy};
use tokio::time::Instant;

use crate::{faults::Faults, service::Service, traffic::Traffic};

#[tokio::main]
async fn main() -> Result<ExitCode, Box<dyn Error>> {
    let options = Options::parse(std::env::args().skip(1)).inspect_err(|_| eprintln!("{USAGE}"))?;
    let counts = match options.transport.as_str() {
        "lapin" => run(&options, LapinTransport::builder(), LapinTransport::counters).await?,
        "amqprs" => run(&options, AmqprsTransport::builder(), AmqprsTransport::counters).await?,
        other => return Err(format!("no transport {other}\n{USAGE}").into()),
    };
    Ok(if counts {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

const USAGE: &str = "usage: soak --transport lapin|amqprs [--calls 100000] [--faults 50]";

struct Options {
    transport: String,
    calls: usize,
    faults: usize,
}

impl Options {
    fn parse(mut words: impl Iterator<Item = String>) -> Result<Self, Box<dyn Error>> {
        let mut options = Self {
            transport: String::new(),
            calls: 100_000,
            faults: 50,
        };
        while let Some(word) = words.next() {
            let value = words.next().ok_or_else(|| format!("{word} needs a value"))?;
            match word.as_str() {
                "--transport" => options.transport = value,
                "--calls" => options.calls = value.parse()?,
                "--faults" => options.faults = value.parse()?,
                _ => return Err(format!("no option {word}").into()),
            }
        }
        Ok(options)
    }
}

/// Whether everything was in order.
async fn run<T>(
    options: &Options,
    builder: Builder<T>,
    counters: fn(&T) -> Counters,
) -> Result<bool, Box<dyn Error>>
where
    T: Transport + From<AmqpTransport> + Clone,
{
    let Options {
        transport: name,
        calls,
        faults,
    } = options;
    let began = Instant::now();
    let broker = PrivateBroker::start().await?;
    let proxy = FaultProxy::start(&broker.uri()).await?;
    let service = Arc::new(Service::new(*calls));
    let serving = tokio::spawn(service::serve(service.clone(), broker.uri()));
    service.ready().await;
    let before = process::settled().await;

    let builder = builder.uri(proxy.uri()).app("soak").heartbeat(HEARTBEAT);
    let transport = builder.connect().await?;
    let traffic = Traffic::new(transport.clone(), service.clone(), *calls, *faults);
    let mut faults = Faults::new(broker, proxy, *faults);
    let callers = traffic.start();
    let warm = faults.run(&traffic, began).await?;
    callers.join_all().await;
    let proxy = faults.end();
    service.drained().await;

    let in_flight = counters(&transport).in_flight;
    transport.close(Duration::ZERO).await;
    drop(transport);
    let judged = traffic.judged();
    drop(traffic);
    proxy.cut(Cut::Reset);
    let left = process::excess(&before).await;
    let growth = process::rss_kib().saturating_sub(warm);
    serving.abort();

    let leaked = in_flight + left;
    let [lost, mismatched, duplicated] = judged.counts();
    println!("{judged}, after {:.0?}", began.elapsed());
    println!(
        "soak: transport={name} calls={calls} faults={} lost={lost} mismatched={mismatched} \
         duplicated={duplicated} leaked={leaked} rss_growth_kib={growth}",
        options.faults
    );
    Ok([lost, mismatched, duplicated, leaked] == [0; 4])
}

/// The shortest there is, since half of a run is waiting for silences to be noticed.
const HEARTBEAT: Duration = Duration::from_secs(4);
