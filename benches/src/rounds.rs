//! Measuring beside each other: what shares a machine with others can only be compared within the same moment.

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

use crate::crowd;

/// How long rounds wait for a core of their own, in all.
const PATIENCE: Duration = Duration::from_secs(10);

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
        Self::least_crowded(rounds, crowd::crowding, || {
            let time = |candidate: &mut &mut dyn FnMut(u64)| {
                candidate(batch / 10 + 1);
                let began = thread_time();
                candidate(batch);
                let each = (thread_time() - began).as_nanos() as f64 / batch as f64;
                (each, crowd::crowding())
            };
            let (times, crowding): (Vec<_>, Vec<_>) = candidates.iter_mut().map(time).unzip();
            Some((times, crowding.into_iter().fold(0.0, f64::max)))
        })
    }

    /// So many rounds with a core to themselves, or those that came nearest to it in four times as many tries. Each
    /// gives the candidates' figures and how crowded it was; `None`, if it doesn't count.
    pub fn least_crowded(
        rounds: usize,
        crowding: fn() -> f64,
        mut round: impl FnMut() -> Option<(Vec<f64>, f64)>,
    ) -> Self {
        let (mut taken, mut patience) = (Vec::new(), PATIENCE);
        for _ in 0..4 * rounds {
            crowd::wait(&mut patience, crowding);
            taken.extend(round());
            // Counted anew, as what a core of one's own is may have been learned only now.
            if taken
                .iter()
                .filter(|(_, crowding)| crowd::is_alone(*crowding))
                .count()
                == rounds
            {
                break;
            }
        }
        taken.sort_by(|(_, a), (_, b)| a.total_cmp(b));
        taken.truncate(rounds);
        let candidates = taken.first().map_or(0, |(times, _)| times.len());
        Self(
            (0..candidates)
                .map(|n| taken.iter().map(|(times, _)| times[n]).collect())
                .collect(),
        )
    }

    /// Figures that were measured otherwise: by candidate, round by round.
    pub fn of(all: Vec<Vec<f64>>) -> Self {
        Self(all)
    }

    /// Whether no round counted.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The median of a candidate.
    pub fn median(&self, candidate: usize) -> f64 {
        median(self.0[candidate].clone())
    }

    /// The same with its noise.
    pub fn alone(&self, candidate: usize) -> (f64, f64) {
        Self::spread(self.0[candidate].clone())
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
    fn crowded_rounds_are_left_out() {
        crowd::crowding(); // from here on it is known what a core of one's own is like
        let mut n = 0.0;
        let taken = Rounds::least_crowded(
            3,
            || 0.0,
            || {
                n += 1.0;
                (n != 2.0).then(|| (vec![n, 10.0 * n], if n == 3.0 { f64::MAX } else { -n }))
            },
        );
        assert_eq!(taken.0, [[5.0, 4.0, 1.0], [50.0, 40.0, 10.0]]);
    }

    #[test]
    fn noise_is_half_of_the_middle_halfs_spread() {
        let rounds = Rounds::of(vec![vec![8.0, 9.0, 10.0, 11.0, 1000.0], vec![1.0; 5]]);
        let (ratio, noise) = rounds.ratio(0, 1);
        assert!(ratio == 10.0 && (noise - 0.1).abs() < 1e-9, "{ratio} {noise}");
    }
}
