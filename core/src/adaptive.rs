//! Patience that follows the service: as long as nearly all of its answers take, and not much longer.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

/// Learns how long to wait for a service while an older answer is at hand.
///
/// Patience is a quantile of the method's last 128 latencies, times a factor, at least `at_least`, and at most the
/// policy's `failover_timeout`, which also holds until 16 requests have ended.
///
/// A reply that comes after patience ended counts as what it took, and one that never comes as the limit of its request:
/// if only answers in time were counted, patience would get shorter and shorter. A service that gets slower is waited
/// for longer, up to the `failover_timeout`.
#[derive(Debug, Clone, Copy, PartialEq)]
#[must_use]
pub struct Adaptive {
    quantile: f64,
    times: f64,
    at_least: Duration,
}

impl Default for Adaptive {
    /// Twice what 95 % of answers need, and at least 10 ms: less is within the noise of a network and a scheduler.
    fn default() -> Self {
        Self {
            quantile: 0.95,
            times: 2.0,
            at_least: Duration::from_millis(10),
        }
    }
}

impl Adaptive {
    /// The share of answers (0 to 1) whose latency counts.
    pub fn quantile(mut self, share: f64) -> Self {
        self.quantile = if share.is_nan() {
            1.0
        } else {
            share.clamp(0.0, 1.0)
        };
        self
    }

    /// How many times that latency is waited; less than 1 counts as 1.
    pub fn times(mut self, factor: f64) -> Self {
        self.times = factor.max(1.0); // of NaN and 1, the greater is 1
        self
    }

    /// The shortest patience.
    pub fn at_least(mut self, shortest: Duration) -> Self {
        self.at_least = shortest;
        self
    }
}

/// The latencies of all methods of one proxy.
#[derive(Default)]
pub(crate) struct Latencies(Mutex<HashMap<String, Window>>);

/// The last latencies of one method, in nanoseconds.
#[derive(Default)]
struct Window {
    last: Vec<u64>,
    next: usize,
    /// By its settings, what was learned from those.
    learned: Option<(Adaptive, Duration)>,
}

impl Latencies {
    /// Most methods that are remembered; others have the patience that their policy says.
    const MOST: usize = 1024;

    /// How long to wait for an answer of `method`; `most` if too little is known.
    pub(crate) fn patience(
        &self,
        method: &str,
        settings: Adaptive,
        most: Option<Duration>,
    ) -> Option<Duration> {
        match self
            .lock()
            .get_mut(method)
            .and_then(|window| window.learned(settings))
        {
            None => most,
            Some(learned) => Some(learned.min(most.unwrap_or(Duration::MAX))),
        }
    }

    /// A request of `method` was answered after `latency`, or was not within it.
    pub(crate) fn note(&self, method: &str, latency: Duration) {
        let mut windows = self.lock();
        if let Some(window) = windows.get_mut(method) {
            window.push(latency);
        } else if windows.len() < Self::MOST {
            windows.entry(method.to_owned()).or_default().push(latency);
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Window>> {
        // Numbers are whole after every step; a panic elsewhere changes nothing.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Window {
    const LENGTH: usize = 128;
    const ENOUGH: usize = 16;

    fn push(&mut self, latency: Duration) {
        let nanos = u64::try_from(latency.as_nanos()).unwrap_or(u64::MAX);
        if self.last.len() < Self::LENGTH {
            self.last.push(nanos);
        } else {
            self.last[self.next] = nanos;
            self.next = (self.next + 1) % Self::LENGTH;
        }
        self.learned = None;
    }

    fn learned(&mut self, settings: Adaptive) -> Option<Duration> {
        if self.last.len() < Self::ENOUGH {
            return None;
        }
        if let Some((same, learned)) = self.learned
            && same == settings
        {
            return Some(learned);
        }
        let mut sorted = self.last.clone();
        let rank = (settings.quantile * sorted.len() as f64).ceil() as usize;
        let (_, quantile, _) = sorted.select_nth_unstable(rank.clamp(1, self.last.len()) - 1);
        let nanos = *quantile as f64 * settings.times; // a float saturates when it becomes a whole number again
        let learned = Duration::from_nanos(nanos as u64).max(settings.at_least);
        self.learned = Some((settings, learned));
        Some(learned)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: fn(u64) -> Duration = Duration::from_millis;

    fn after(latencies: impl IntoIterator<Item = u64>, settings: Adaptive) -> Option<Duration> {
        let all = Latencies::default();
        latencies.into_iter().for_each(|ms| all.note("get", MS(ms)));
        all.patience("get", settings, Some(MS(500)))
    }

    #[test]
    fn it_is_twice_what_nearly_all_answers_need() {
        let default = Adaptive::default();
        assert_eq!(after(1..=100, default), Some(MS(190)));
        assert_eq!(after(1..=100, default.quantile(0.5).times(3.0)), Some(MS(150)));
        assert_eq!(after(1..=100, default.quantile(1.0).times(0.0)), Some(MS(100)));
        assert_eq!(after(1..=100, default.quantile(0.0)), Some(MS(10)), "at least");
        assert_eq!(after(1..=100, default.at_least(MS(400))), Some(MS(400)));
        assert_eq!(after([1000; 20], default), Some(MS(500)), "at most");
        assert_eq!(
            after(1..=100, default.quantile(f64::NAN).times(f64::NAN)),
            Some(MS(100))
        );
    }

    #[test]
    fn until_enough_is_known_the_policy_holds() {
        assert_eq!(after([1; 15], Adaptive::default()), Some(MS(500)));
        assert_eq!(after([1; 16], Adaptive::default()), Some(MS(10)));
        let all = Latencies::default();
        assert_eq!(all.patience("get", Adaptive::default(), None), None);
        (0..16).for_each(|_| all.note("get", MS(100)));
        assert_eq!(all.patience("get", Adaptive::default(), None), Some(MS(200)));
        assert_eq!(
            all.patience("list", Adaptive::default(), None),
            None,
            "each method by itself"
        );
    }

    #[test]
    fn only_the_last_ones_count() {
        assert_eq!(
            after([400; 128].into_iter().chain([20; 128]), Adaptive::default()),
            Some(MS(40))
        );
        assert_eq!(
            after([20; 128].into_iter().chain([100; 7]), Adaptive::default()),
            Some(MS(200))
        );
        assert_eq!(
            after([20; 128].into_iter().chain([100; 6]), Adaptive::default()),
            Some(MS(40))
        );
    }

    #[test]
    fn the_longest_latency_does_no_harm() {
        let all = Latencies::default();
        (0..16).for_each(|_| all.note("get", Duration::MAX));
        let longest = all.patience("get", Adaptive::default().times(f64::INFINITY), None);
        assert_eq!(longest, Some(Duration::from_nanos(u64::MAX)));
    }

    #[test]
    fn methods_are_bounded() {
        let all = Latencies::default();
        (0..Latencies::MOST + 10).for_each(|n| all.note(&n.to_string(), MS(1)));
        assert_eq!(all.lock().len(), Latencies::MOST);
    }
}
