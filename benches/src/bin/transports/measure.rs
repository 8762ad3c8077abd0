//! One measurement, and two side by side.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

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
}

/// Ours to the peer's: the median over the rounds.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ratios {
    pub(crate) rate: f64,
    pub(crate) p50: f64,
    pub(crate) cpu: f64,
}

/// Medians of both, and of the ratio within each round.
pub(crate) async fn side_by_side(
    ours: &Arc<dyn Caller>,
    peer: &Arc<dyn Caller>,
    plan: Plan,
    rounds: usize,
) -> (Measured, Measured, Ratios) {
    let mut all = Vec::new();
    for round in 0..rounds {
        let (o, p) = if round % 2 == 0 {
            let ours = measure(ours, plan).await;
            (ours, measure(peer, plan).await)
        } else {
            let peer = measure(peer, plan).await;
            (measure(ours, plan).await, peer)
        };
        all.push((o, p));
    }
    let of = |pick: fn(&(Measured, Measured)) -> f64| median(all.iter().map(pick).collect());
    (
        Measured {
            rate: of(|(o, _)| o.rate),
            p50_us: of(|(o, _)| o.p50_us),
            cpu_us: of(|(o, _)| o.cpu_us),
        },
        Measured {
            rate: of(|(_, p)| p.rate),
            p50_us: of(|(_, p)| p.p50_us),
            cpu_us: of(|(_, p)| p.cpu_us),
        },
        Ratios {
            rate: of(|(o, p)| o.rate / p.rate),
            p50: of(|(o, p)| o.p50_us / p.p50_us),
            cpu: of(|(o, p)| o.cpu_us / p.cpu_us),
        },
    )
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
            let body = format!(r#"{{"args": ["{argument}"], "kwargs": {{}}}}"#).into_bytes();
            let mut own = Vec::new();
            while running.load(Ordering::Relaxed) {
                let (counts, began) = (counting.load(Ordering::Relaxed), Instant::now());
                let bytes = caller.call(&body).await;
                assert_eq!(bytes, body.len(), "an echo");
                if counts {
                    own.push(began.elapsed().as_nanos() as u64);
                }
            }
            latencies.lock().expect("no caller panics").append(&mut own);
        });
    }
    sleep(plan.time / 3).await;
    let (began, cpu) = (Instant::now(), cpu_us());
    counting.store(true, Ordering::Relaxed);
    sleep(plan.time).await;
    running.store(false, Ordering::Relaxed);
    callers.join_all().await;
    let (cpu, seconds) = (cpu_us() - cpu, began.elapsed().as_secs_f64());
    let latencies = std::mem::take(&mut *latencies.lock().expect("no caller panics"));
    let calls = latencies.len().max(1) as f64;
    Measured {
        rate: calls / seconds,
        p50_us: median(latencies.into_iter().map(|ns| ns as f64 / 1000.0).collect()),
        cpu_us: cpu / calls,
    }
}

/// User and system time of this process, in ticks of 10 ms.
fn cpu_us() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields = stat.rsplit(')').next().unwrap_or_default().split_whitespace();
    let ticks: f64 = fields
        .skip(11)
        .take(2)
        .filter_map(|ticks| ticks.parse::<f64>().ok())
        .sum();
    ticks * 10_000.0
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}
