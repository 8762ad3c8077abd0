//! One measurement.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use nameko_cachetools_benches::{crowd, process_time};
use tokio::{
    task::JoinSet,
    time::{Instant, sleep},
};

use super::Caller;

#[derive(Debug, Clone, Copy)]
pub(crate) struct Plan {
    pub(crate) in_flight: usize,
    /// In bytes.
    pub(crate) argument: usize,
    pub(crate) time: Duration,
}

#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Measured {
    /// Calls per second.
    pub(crate) rate: f64,
    /// Median latency.
    pub(crate) p50_us: f64,
    /// CPU time of this process per call, user and system.
    pub(crate) cpu_us: f64,
    /// How crowded the cores were, on the average; 0, if that is not known.
    pub(crate) crowding: f64,
}

/// As many callers as shall be in flight, each calling again as soon as it is answered.
pub(crate) async fn measure(caller: &Arc<dyn Caller>, plan: Plan) -> Measured {
    let (counting, running) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(true)));
    let latencies = Arc::new(Mutex::new(Vec::new()));
    let mut callers = JoinSet::new();
    for _ in 0..plan.in_flight {
        let (caller, counting, running, latencies) = (
            caller.clone(),
            counting.clone(),
            running.clone(),
            latencies.clone(),
        );
        callers.spawn(async move {
            let argument = "x".repeat(plan.argument);
            let body = Bytes::from(format!(r#"{{"args": ["{argument}"], "kwargs": {{}}}}"#));
            let mut own = Vec::new();
            while running.load(Ordering::Relaxed) {
                let (counts, began) = (counting.load(Ordering::Relaxed), Instant::now());
                let bytes = caller.call(&body).await;
                assert!(bytes > argument.len(), "an echo");
                if counts {
                    own.push(began.elapsed().as_nanos() as u64);
                }
            }
            latencies.lock().expect("no caller panics").append(&mut own);
        });
    }
    sleep(plan.time / 3).await;
    let (began, cpu) = (Instant::now(), process_time());
    counting.store(true, Ordering::Relaxed);
    let mut crowding = Vec::new();
    while began.elapsed() < plan.time {
        crowding.push(crowd::crowding());
        sleep(plan.time / 20).await;
    }
    running.store(false, Ordering::Relaxed);
    callers.join_all().await;
    let (cpu, seconds) = (process_time() - cpu, began.elapsed().as_secs_f64());
    let latencies = std::mem::take(&mut *latencies.lock().expect("no caller panics"));
    let calls = latencies.len().max(1) as f64;
    Measured {
        rate: calls / seconds,
        p50_us: median(latencies.into_iter().map(|ns| ns as f64 / 1000.0).collect()),
        cpu_us: cpu.as_nanos() as f64 / 1000.0 / calls,
        crowding: crowding.iter().sum::<f64>() / crowding.len() as f64,
    }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}
