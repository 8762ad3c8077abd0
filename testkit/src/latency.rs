//! How long an answer takes.

use std::{
    fmt,
    ops::{Range, RangeInclusive},
    time::Duration,
};

use rand_chacha::{ChaCha8Rng, rand_core::SeedableRng};
use rand_distr::{Bernoulli, Distribution, LogNormal, Uniform};

/// How long an answer takes, from the request's arrival: always the same, or drawn for each call.
///
/// Drawn values depend on the broker's seed, the rule, and how many calls the rule saw before, and on nothing else:
/// two runs of a test see the same latencies. All are rounded to whole milliseconds, as tokio's timers are.
///
/// ```
/// # use nameko_cachetools_testkit::Latency;
/// # use std::time::Duration;
/// let ms = Duration::from_millis;
/// let fixed: Latency = ms(300).into();
/// let between: Latency = (ms(10)..ms(50)).into();
/// let as_measured = Latency::lognormal(ms(20), ms(900));
/// # let _ = (fixed, between, as_measured);
/// ```
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub enum Latency {
    /// The same for each call.
    Fixed(Duration),
    /// Any value from the first to the second, each equally likely.
    Uniform(Duration, Duration),
    /// Log-normal, the shape of most services' latencies: half of all calls take up to `p50`, 99 % up to `p99`.
    LogNormal {
        /// The median.
        p50: Duration,
        /// The 99th percentile; not below `p50`.
        p99: Duration,
    },
}

impl Latency {
    /// Log-normal by its median and its 99th percentile, the two numbers that dashboards show.
    ///
    /// # Panics
    /// If `p50` is zero or `p99` is less than `p50`.
    ///
    /// ```
    /// # use nameko_cachetools_testkit::{Answer, FakeBroker, Latency};
    /// # use std::time::Duration;
    /// let broker = FakeBroker::new();
    /// let latency = Latency::lognormal(Duration::from_millis(20), Duration::from_millis(900));
    /// broker.on("stock.level").after(latency).reply(Answer::ok(3));
    /// ```
    #[track_caller]
    pub fn lognormal(p50: Duration, p99: Duration) -> Self {
        if p50.is_zero() || p99 < p50 {
            crate::fail(format!(
                "a log-normal latency needs 0 < p50 <= p99, got p50 {p50:?} and p99 {p99:?}"
            ));
        }
        Self::LogNormal { p50, p99 }
    }
}

impl From<Duration> for Latency {
    fn from(fixed: Duration) -> Self {
        Self::Fixed(fixed)
    }
}

impl From<Range<Duration>> for Latency {
    fn from(range: Range<Duration>) -> Self {
        Self::Uniform(range.start, range.end)
    }
}

impl From<RangeInclusive<Duration>> for Latency {
    fn from(range: RangeInclusive<Duration>) -> Self {
        Self::Uniform(*range.start(), *range.end())
    }
}

/// The source of all chance of one rule or outage.
pub(crate) struct Dice(ChaCha8Rng);

impl Dice {
    /// Each rule and each outage has a stream of its own: adding one changes no other's throws.
    pub(crate) fn new(seed: u64, stream: u64) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        rng.set_stream(stream);
        Self(rng)
    }

    /// True in this share of cases.
    pub(crate) fn chance(&mut self, share: f64) -> bool {
        Bernoulli::new(share).is_ok_and(|coin| coin.sample(&mut self.0))
    }

    /// The numbers below `n` in any order but their own, unless there is only one.
    pub(crate) fn order(&mut self, n: usize) -> Vec<usize> {
        let mut order: Vec<usize> = (0..n).collect();
        for last in (1..n).rev() {
            let other = Uniform::new_inclusive(0, last).map_or(last, |range| range.sample(&mut self.0));
            order.swap(last, other);
        }
        if order.is_sorted() && n > 1 {
            order.rotate_left(1);
        }
        order
    }

    /// One latency, in whole milliseconds.
    pub(crate) fn draw(&mut self, latency: Latency) -> Duration {
        match latency {
            Latency::Fixed(fixed) => fixed,
            Latency::Uniform(from, to) => {
                let (from, to) = (millis(from.min(to)), millis(from.max(to)));
                Uniform::new_inclusive(from, to).map_or(Duration::ZERO, |range| {
                    Duration::from_millis(range.sample(&mut self.0))
                })
            }
            Latency::LogNormal { p50, p99 } => {
                // ln of a log-normal value is normal: its mean is ln p50, and 99 % lie below mean + 2.326 sigma.
                let mean = p50.as_secs_f64().ln();
                let sigma = (p99.as_secs_f64().ln() - mean) / Z_99;
                let seconds = LogNormal::new(mean, sigma).map_or(0.0, |curve| curve.sample(&mut self.0));
                Duration::try_from_secs_f64(seconds).map_or(p99, |drawn| Duration::from_millis(millis(drawn)))
            }
        }
    }
}

/// The 99th percentile of the standard normal distribution.
const Z_99: f64 = 2.326_347_874_040_841;

fn millis(duration: Duration) -> u64 {
    u64::try_from((duration + Duration::from_micros(500)).as_millis()).unwrap_or(u64::MAX)
}

impl fmt::Debug for Dice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Dice(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: fn(u64) -> Duration = Duration::from_millis;

    fn draws(seed: u64, stream: u64, latency: Latency, n: usize) -> Vec<Duration> {
        let mut dice = Dice::new(seed, stream);
        (0..n).map(|_| dice.draw(latency)).collect()
    }

    #[test]
    fn the_same_seed_and_rule_draw_the_same() {
        let latency = Latency::lognormal(MS(20), MS(900));
        assert_eq!(draws(7, 1, latency, 50), draws(7, 1, latency, 50));
        assert_ne!(draws(7, 1, latency, 50), draws(7, 2, latency, 50));
        assert_ne!(draws(7, 1, latency, 50), draws(8, 1, latency, 50));
    }

    #[test]
    fn lognormal_has_the_percentiles_it_was_given() {
        let mut drawn = draws(1, 0, Latency::lognormal(MS(20), MS(900)), 20_000);
        drawn.sort();
        let (p50, p99) = (
            drawn[10_000].as_secs_f64() * 1e3,
            drawn[19_800].as_secs_f64() * 1e3,
        );
        assert!(
            (18.0..22.0).contains(&p50) && (750.0..1080.0).contains(&p99),
            "{p50} {p99}"
        );
    }

    #[test]
    fn an_order_has_all_numbers_and_is_never_their_own() {
        let mut dice = Dice::new(1, 0);
        for n in [2, 3, 10] {
            let mut order = dice.order(n);
            assert!(!order.is_sorted(), "{order:?}");
            order.sort_unstable();
            assert_eq!(order, (0..n).collect::<Vec<_>>());
        }
        assert_eq!((dice.order(0), dice.order(1)), (vec![], vec![0]));
    }

    #[test]
    fn uniform_stays_within_its_ends_and_reaches_them() {
        let drawn = draws(1, 0, (MS(10)..=MS(12)).into(), 1000);
        assert_eq!(drawn.iter().min(), Some(&MS(10)));
        assert_eq!(drawn.iter().max(), Some(&MS(12)));
        assert_eq!(draws(1, 0, (MS(5)..MS(5)).into(), 1), [MS(5)]);
    }
}
