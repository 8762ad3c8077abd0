//! How long to wait between attempts to connect.

use std::time::Duration;

/// Pauses between attempts: doubling from `first` to `cap`, and `refused` when trying again is unlikely to help.
///
/// Each pause is shortened at random by up to half, so that the clients of a restarted broker don't come back in step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Backoff {
    /// Longest first pause. 50 ms by default: a restarted proxy or a cut connection is back by then.
    pub first: Duration,
    /// Longest pause while the broker can't be reached. 1 s by default, so that recovery is noticed within 2 s.
    pub cap: Duration,
    /// Longest pause while the broker refuses this client (password, vhost, topology). 10 s by default: somebody has
    /// to change something, and each attempt is a line in the broker's log.
    pub refused: Duration,
}

impl Default for Backoff {
    fn default() -> Self {
        Self {
            first: Duration::from_millis(50),
            cap: Duration::from_secs(1),
            refused: Duration::from_secs(10),
        }
    }
}

impl Backoff {
    /// The pause after `failures` failures in a row (1 is the first). `random` is any 64 random bits.
    pub(crate) fn pause(&self, failures: u32, refused: bool, random: u64) -> Duration {
        let longest = if refused {
            self.refused
        } else {
            let doubled = 1u32.checked_shl(failures.saturating_sub(1)).unwrap_or(u32::MAX);
            self.first.saturating_mul(doubled).min(self.cap)
        };
        let half = longest / 2;
        let fraction = (random >> 32) as f64 / f64::from(u32::MAX);
        half + half.mul_f64(fraction)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Proves: T11.
    #[test]
    fn doubles_up_to_the_cap_and_is_slow_when_refused() {
        let longest = |n, refused| Backoff::default().pause(n, refused, u64::MAX).as_millis();
        let pauses: Vec<_> = (1..=7).map(|n| longest(n, false)).collect();
        assert_eq!(pauses, [50, 100, 200, 400, 800, 1000, 1000]);
        assert_eq!(longest(1, true), 10_000);
    }

    proptest! {
        #[test]
        fn never_zero_never_above_the_cap(failures in 0u32.., refused: bool, random: u64) {
            let backoff = Backoff::default();
            let pause = backoff.pause(failures, refused, random);
            let cap = if refused { backoff.refused } else { backoff.cap };
            prop_assert!(pause >= backoff.first / 2 && pause <= cap);
        }
    }
}
