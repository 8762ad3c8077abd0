//! What was measured with so many in flight, as rows.

use std::collections::BTreeMap;

use nameko_cachetools_benches::{Rounds, Row};

use super::measure::Measured;

/// All clients' rounds.
pub(crate) struct Table {
    in_flight: usize,
    rounds: BTreeMap<String, Vec<Measured>>,
}

impl Table {
    pub(crate) fn new(in_flight: usize) -> Self {
        Self {
            in_flight,
            rounds: BTreeMap::new(),
        }
    }

    /// One more round of a client.
    pub(crate) fn add(&mut self, client: &str, measured: Measured) {
        self.rounds.entry(client.to_owned()).or_default().push(measured);
    }

    /// Latency where one call waits for the other, else throughput; and processor time.
    pub(crate) fn rows(&self) -> Vec<Row> {
        let mut rows = Vec::new();
        for (ours, peer, [latency, rate, cpu]) in PAIRS {
            let (Some(own), Some(theirs)) = (self.rounds.get(*ours), self.rounds.get(*peer)) else {
                continue;
            };
            // What a stranger does on the other half of a core falls on one of the two: half of the rounds count, those
            // with the least of it.
            let mut rounds: Vec<_> = own.iter().zip(theirs).collect();
            rounds.sort_by(|a, b| crowding(a).total_cmp(&crowding(b)));
            rounds.truncate(rounds.len().div_ceil(2));
            let both = |figure: fn(&Measured) -> f64| {
                let (own, theirs) = rounds.iter().map(|(a, b)| (figure(a), figure(b))).unzip();
                Rounds::of(vec![own, theirs])
            };
            let name = |what| format!("{ours}, {} in flight: {what}, against {peer}", self.in_flight);
            let (speed, time) = (both(|m| m.rate), both(|m| m.cpu_us));
            let first = match self.in_flight {
                1 => {
                    let speed = both(|m| m.p50_us);
                    Row::ratio(name("p50"), "µs", (speed.median(0), speed.median(1)))
                        .measured(speed.ratio(0, 1))
                        .target(latency.0, latency.1)
                }
                _ => Row::faster(name("calls"), "/s", (speed.median(0), speed.median(1)))
                    .measured(speed.ratio(1, 0))
                    .target(rate.0, rate.1),
            };
            let second = Row::ratio(name("CPU"), "µs", (time.median(0), time.median(1)))
                .measured(time.ratio(0, 1))
                .target(cpu.0, cpu.1);
            rows.extend([first, second]);
        }
        rows
    }
}

fn crowding((own, theirs): &(&Measured, &Measured)) -> f64 {
    own.crowding.max(theirs.crowding)
}

/// What it has to be, and would best be.
type Target = (f64, f64);

/// Ours, a peer; and at most how much of its latency, at least how much of its throughput, at most how much of its CPU.
///
/// girolle sends requests that are neither persistent nor confirmed. Of one call at a time, bare lapin's latency is 0.6 of
/// nameko's own client's, and its CPU 0.37.
const PAIRS: &[(&str, &str, [Target; 3])] = &[
    ("lapin", "bare lapin", [(1.05, 1.0), (0.9, 1.0), (1.15, 1.0)]),
    ("amqprs", "bare amqprs", [(1.05, 1.0), (0.9, 1.0), (1.15, 1.0)]),
    (
        "amqprs",
        "bare amqprs on a thread",
        [(1.05, 1.0), (0.9, 1.0), (1.15, 1.0)],
    ),
    ("lapin", "girolle", [(1.5, 1.0), (1.2, 1.5), (1.15, 0.5)]),
    ("lapin", "ClusterRpcProxy", [(0.75, 0.5), (2.0, 4.0), (0.5, 0.1)]),
];
