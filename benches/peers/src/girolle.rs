//! Calls by girolle, for the program `transports`, which asks: see its `others`. More than one in flight is as many calls,
//! and then their results, since waiting for a result blocks.

use std::{
    error::Error,
    io::{BufRead, Write},
    time::{Duration, Instant},
};

use girolle::prelude::{Config, Payload, RpcClient};
use nameko_cachetools_benches::process_time;

const SERVICE: &str = "compare_echo";

pub(crate) fn serve(uri: &str) -> Result<(), Box<dyn Error>> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let _context = runtime.enter();
    let config = Config::default().with_amqp_uri(uri);
    let mut client = RpcClient::new(config);
    runtime.block_on(client.register_service(SERVICE))?;
    runtime.block_on(client.start())?;
    println!("ready");
    for line in std::io::stdin().lock().lines() {
        let figures: Vec<u64> = line?.split(' ').map(str::parse).collect::<Result<_, _>>()?;
        let &[in_flight, size, milliseconds] = figures.as_slice() else {
            return Err("IN_FLIGHT BYTES MILLISECONDS".into());
        };
        let (argument, limit) = ("x".repeat(size as usize), Duration::from_millis(milliseconds));
        measure(&client, in_flight, &argument, limit / 3)?;
        let [rate, p50, cpu] = measure(&client, in_flight, &argument, limit)?;
        println!("{rate} {p50} {cpu}");
        std::io::stdout().flush()?;
    }
    Ok(())
}

/// Calls per second, median microseconds of a call (one at a time only), microseconds of processor time per call.
fn measure(
    client: &RpcClient,
    in_flight: u64,
    argument: &str,
    limit: Duration,
) -> Result<[f64; 3], Box<dyn Error>> {
    let (began, cpu, mut latencies, mut calls) = (Instant::now(), process_time(), Vec::new(), 0);
    while began.elapsed() < limit {
        let sent = Instant::now();
        let replies: Vec<_> = (0..in_flight)
            .map(|_| client.call_async(SERVICE, "echo", Payload::new().arg(argument)))
            .collect::<Result<_, _>>()?;
        for reply in &replies {
            client.result(reply)?;
        }
        latencies.push(sent.elapsed().as_nanos() as f64 / 1000.0);
        calls += in_flight;
    }
    let (cpu, seconds) = (process_time() - cpu, began.elapsed().as_secs_f64());
    latencies.sort_by(f64::total_cmp);
    let p50 = if in_flight == 1 {
        latencies[latencies.len() / 2]
    } else {
        f64::NAN
    };
    Ok([
        calls as f64 / seconds,
        p50,
        cpu.as_nanos() as f64 / 1000.0 / calls as f64,
    ])
}
