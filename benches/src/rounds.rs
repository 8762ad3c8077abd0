//! Measuring beside each other: what shares a machine with others can only be compared within the same moment.

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// Processor time that this thread has used: what others do on the machine meanwhile is not in it.
pub fn thread_time() -> Duration {
    used(ClockId::ThreadCPUTime)
}

/// The same of all threads of this process.
pub fn process_time() -> Duration {
    used(ClockId::ProcessCPUTime)
}

fn used(clock: ClockId) -> Duration {
    let time = clock_gettime(clock);
    Duration::new(time.tv_sec.unsigned_abs(), time.tv_nsec.unsigned_abs() as u32)
}

/// Nanoseconds per operation of several candidates, round by round.
#[derive(Debug)]
pub struct Rounds(Vec<Vec<f64>>);

impl Rounds {
    /// Runs every candidate in every round: a tenth of a batch to warm up, then `batch` operations, measured in
    /// processor time of this thread. A candidate is told how many operations to make.
    pub fn run(rounds: usize, batch: u64, candidates: &mut [&mut dyn FnMut(u64)]) -> Self {
        let mut all: Vec<Vec<f64>> = candidates.iter().map(|_| Vec::with_capacity(rounds)).collect();
        for _ in 0..rounds {
            for (candidate, times) in candidates.iter_mut().zip(&mut all) {
                candidate(batch / 10 + 1);
                let began = thread_time();
                candidate(batch);
                times.push((thread_time() - began).as_nanos() as f64 / batch as f64);
            }
        }
        Self(all)
    }

    /// Figures that were measured otherwise: by candidate, round by round.
    pub fn of(all: Vec<Vec<f64>>) -> Self {
        Self(all)
    }

    /// The median of a candidate.
    pub fn median(&self, candidate: usize) -> f64 {
        median(self.0[candidate].clone())
    }

    /// The median of the rounds' ratios of two candidates, and its noise: half of what the middle half of the rounds
    /// spreads over, as a share of it.
    pub fn ratio(&self, candidate: usize, peer: usize) -> (f64, f64) {
        Self::spread(self.pairs(candidate, peer).map(|(a, b)| a / b).collect())
    }

    /// The same of their differences.
    pub fn difference(&self, candidate: usize, peer: usize) -> (f64, f64) {
        Self::spread(self.pairs(candidate, peer).map(|(a, b)| a - b).collect())
    }

    fn pairs(&self, candidate: usize, peer: usize) -> impl Iterator<Item = (f64, f64)> {
        self.0[candidate]
            .iter()
            .copied()
            .zip(self.0[peer].iter().copied())
    }

    fn spread(mut values: Vec<f64>) -> (f64, f64) {
        values.sort_by(f64::total_cmp);
        let at = |share: f64| values[((values.len() - 1) as f64 * share).round() as usize];
        let middle = at(0.5);
        (
            middle,
            (at(0.75) - at(0.25)) / 2.0 / middle.abs().max(f64::MIN_POSITIVE),
        )
    }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ratios_are_taken_within_a_round() {
        let rounds = Rounds::of(vec![vec![2.0, 20.0, 6.0], vec![1.0, 10.0, 2.0]]);
        assert_eq!((rounds.median(0), rounds.ratio(0, 1).0), (6.0, 2.0));
        assert_eq!(rounds.difference(0, 1).0, 4.0);
    }

    #[test]
    fn noise_is_half_of_the_middle_halfs_spread() {
        let rounds = Rounds::of(vec![vec![8.0, 9.0, 10.0, 11.0, 1000.0], vec![1.0; 5]]);
        let (ratio, noise) = rounds.ratio(0, 1);
        assert!(ratio == 10.0 && (noise - 0.1).abs() < 1e-9, "{ratio} {noise}");
    }
}
