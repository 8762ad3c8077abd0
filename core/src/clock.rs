//! The only file that reads time: moments of this process, and which clock they come from.

use std::{
    sync::OnceLock,
    time::{Duration, Instant},
};

/// A point in this process's monotonic time. Ages are differences of moments and saturate at zero.
///
/// Moments mean nothing in another process: an entry that leaves the process carries wall-clock time instead.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Moment(u64);

impl Moment {
    /// A moment by its nanoseconds since an origin of this process's own choice.
    pub const fn from_nanos(nanos: u64) -> Self {
        Self(nanos)
    }

    /// Nanoseconds since an origin of this process's own choice.
    pub const fn as_nanos(self) -> u64 {
        self.0
    }

    /// How long ago `earlier` was; zero if it lies ahead.
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.nanos_since(earlier))
    }

    /// The same in nanoseconds: what a hit reckons with.
    pub(crate) const fn nanos_since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }

    /// The moment `later` after this one, or the last there is.
    #[must_use]
    pub fn after(self, later: Duration) -> Self {
        Self(self.0.saturating_add(saturated(later)))
    }

    /// The moment `ago` before this one, never before the origin.
    #[must_use]
    pub fn before(self, ago: Duration) -> Self {
        Self(self.0.saturating_sub(saturated(ago)))
    }
}

/// Which clock ages are measured with.
///
/// A hit reads the clock once, and reading an exact one is a large part of what a hit costs. So a client takes the
/// cheapest clock that is right for its transport: [`Transport::clock`](crate::Transport::clock).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Clock {
    /// tokio's clock, which `#[tokio::test(start_paused = true)]` pauses and `sleep` moves. Always right.
    #[default]
    Tokio,
    /// The kernel's coarse monotonic clock where there is one (Linux, Android, FreeBSD, DragonFly): it lags by at most one
    /// scheduler tick (1 to 10 ms), and is cheaper to read. Elsewhere the exact one. It cannot be paused, so it is for
    /// transports over real sockets.
    Coarse,
}

impl Clock {
    /// Now, as cheaply as this clock can; within one tick of [`now_exact`](Self::now_exact).
    #[inline]
    pub fn now(self) -> Moment {
        match self {
            Self::Coarse if HAS_COARSE => coarse_now(),
            Self::Coarse | Self::Tokio => self.now_exact(),
        }
    }

    /// Now, to the nanosecond: for moments that are compared with each other, such as when a request was sent.
    pub fn now_exact(self) -> Moment {
        let exact = match self {
            Self::Tokio => tokio::time::Instant::now().into_std(),
            Self::Coarse => std_now(),
        };
        let Epoch { exact: epoch, moment } = *epoch();
        match exact.checked_duration_since(epoch) {
            Some(after) => moment.after(after),
            None => moment.before(epoch.duration_since(exact)),
        }
    }
}

/// Elsewhere what stands for it counts while the machine sleeps, as the exact one doesn't, or is the wall clock.
const HAS_COARSE: bool = cfg!(any(
    target_os = "linux",
    target_os = "android",
    target_os = "freebsd",
    target_os = "dragonfly"
));

/// Where the coarse clock's zero stands: 36 years after our own, since an entry may be older than the machine is up.
const ORIGIN: u64 = 1 << 60;

#[inline]
fn coarse_now() -> Moment {
    let ticks = coarsetime::Instant::now_without_cache_update().as_ticks();
    Moment(ORIGIN + coarsetime::Duration::from_ticks(ticks).as_nanos())
}

/// A moment of this process on both clocks.
struct Epoch {
    exact: Instant,
    moment: Moment,
}

fn epoch() -> &'static Epoch {
    static EPOCH: OnceLock<Epoch> = OnceLock::new();
    EPOCH.get_or_init(|| Epoch {
        exact: std_now(),
        moment: coarse_now(),
    })
}

#[allow(clippy::disallowed_methods, reason = "this is the one file that reads time")]
fn std_now() -> Instant {
    Instant::now()
}

/// Its nanoseconds; those of 584 years for all that is longer.
pub(crate) fn saturated(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Proves: R30.
    #[tokio::test(start_paused = true)]
    async fn tokios_clock_is_virtual_and_exact() {
        let start = Clock::Tokio.now();
        tokio::time::sleep(Duration::from_secs(3600)).await;
        assert_eq!(Clock::Tokio.now().since(start), Duration::from_secs(3600));
        assert_eq!(Clock::Tokio.now(), Clock::Tokio.now_exact());
    }

    #[test]
    fn the_coarse_clock_stays_within_a_tick_of_the_exact_one() {
        let tick = Duration::from_secs(1); // the usual tick is 1 to 10 ms, but virtual machines are paused at will
        for _ in 0..100 {
            let (before, coarse, after) = (
                Clock::Coarse.now_exact(),
                Clock::Coarse.now(),
                Clock::Coarse.now_exact(),
            );
            assert!(
                coarse.since(after) <= tick && before.since(coarse) <= tick,
                "{before:?} {coarse:?} {after:?}"
            );
        }
    }

    /// Proves: 42.
    #[test]
    fn arithmetic_saturates() {
        let late = Moment::from_nanos(u64::MAX);
        assert_eq!(Moment::default().since(late), Duration::ZERO);
        assert_eq!(late.before(Duration::MAX), Moment::default());
        assert_eq!(late.since(Moment::default()).as_nanos(), u128::from(u64::MAX));
    }
}
