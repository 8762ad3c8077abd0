//! The cache-first policy: a cached answer if there is one.

use std::{sync::Arc, time::Duration};

use super::rules::{Rules, policy};
use crate::breaker::Breaker;

/// Answer from the cache while the entry is fresh; ask the service otherwise.
///
/// | | [`CacheFirst::original`] | [`CacheFirst::fresh_for`] |
/// |---|---|---|
/// | `fresh_for` | without end: bound the age by the store | as given |
/// | `stale_if_error` | n/a: an entry never stops being fresh | 24 h |
/// | `failover_timeout` | n/a | 1 s: an old answer is at hand, waiting longer for a new one helps nobody |
/// | `call_timeout` | `None`: wait as long as the connection lives | 30 s |
/// | masks | n/a | all but mistakes of the caller |
/// | `single_flight` | on: concurrent misses ask once | on |
/// | `breaker` | none | [`Breaker::default`] |
#[derive(Debug, Clone)]
pub struct CacheFirst(Rules);

impl CacheFirst {
    /// As the Python original behaves, but for its stampedes: what
    /// [`CacheFirstRpcProxy`](crate::CacheFirstRpcProxy) starts from.
    pub fn original() -> Self {
        Self(Rules {
            fresh_for: Duration::MAX,
            jitter: 0.0,
            stale_while_revalidate: Duration::ZERO,
            stale_if_error: Duration::ZERO,
            failover_timeout: None,
            call_timeout: None,
            single_flight: true,
            breaker: None,
            adaptive: None,
            masks_client_faults: false,
            definitive: Arc::default(),
            negative_for: None,
            reply_directives: false,
        })
    }

    /// Safe limits, and the given freshness.
    pub fn fresh_for(life: Duration) -> Self {
        Self(Rules {
            fresh_for: life,
            stale_if_error: Duration::from_secs(24 * 3600),
            failover_timeout: Some(Duration::from_secs(1)),
            call_timeout: Some(Duration::from_secs(30)),
            breaker: Some(Breaker::default()),
            ..Self::original().0
        })
    }
}

policy!(CacheFirst);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::{Plan, Policy};

    const S: Duration = Duration::from_secs(1);

    #[test]
    fn the_original_serves_whatever_the_store_still_holds() {
        let policy = CacheFirst::original();
        assert!(policy.reads_first() && Policy::single_flight(&policy));
        assert_eq!(policy.plan(Duration::ZERO), Plan::Serve);
        assert_eq!(policy.plan(1_000_000_000 * S), Plan::Serve);
    }

    #[test]
    fn a_given_freshness_comes_with_safe_limits() {
        let policy = CacheFirst::fresh_for(10 * S);
        let day = 24 * 3600 * S;
        assert!(policy.may_stand_in(9 * S + day) && !policy.may_stand_in(10 * S + day));
        assert_eq!(Policy::breaker(&policy), Some(Breaker::default()));
        assert_eq!(
            (Policy::failover_timeout(&policy), Policy::call_timeout(&policy)),
            (Some(S), Some(30 * S))
        );
    }

    /// Proves: E5.
    #[test]
    fn an_entry_goes_from_fresh_to_refreshing_to_standing_in_to_gone() {
        let policy = CacheFirst::fresh_for(10 * S)
            .stale_while_revalidate(5 * S)
            .stale_if_error(20 * S);
        let just_before = |age: Duration| age - Duration::from_nanos(1);
        let fetch = Plan::FetchOrServe { patience: Some(S) };
        assert_eq!(
            (policy.plan(just_before(10 * S)), policy.plan(10 * S)),
            (Plan::Serve, Plan::ServeAndRefresh)
        );
        assert_eq!(
            (policy.plan(just_before(15 * S)), policy.plan(15 * S)),
            (Plan::ServeAndRefresh, fetch)
        );
        assert_eq!(
            (
                policy.may_stand_in(just_before(30 * S)),
                policy.may_stand_in(30 * S)
            ),
            (true, false)
        );
    }

    #[test]
    fn revalidation_reaches_as_far_as_it_says_even_beyond_stale_if_error() {
        let policy = CacheFirst::fresh_for(S)
            .stale_while_revalidate(9 * S)
            .stale_if_error(Duration::ZERO);
        assert!(policy.may_stand_in(9 * S) && !policy.may_stand_in(10 * S));
    }

    /// Proves: 43.
    #[test]
    fn jitter_is_a_share_whatever_is_said() {
        let jitter = |life, share| Policy::jitter(&CacheFirst::fresh_for(life).jitter(share));
        assert_eq!(jitter(10 * S, 0.25), S * 5 / 2);
        assert_eq!(
            (jitter(S, 7.0), jitter(S, -1.0), jitter(S, f64::NAN)),
            (S, Duration::ZERO, Duration::ZERO)
        );
        let longest = Duration::MAX - Duration::from_nanos(1);
        assert_eq!(
            (jitter(longest, 1.0), jitter(Duration::MAX, 1.0)),
            (longest, Duration::ZERO)
        );
    }

    /// Proves: 42.
    #[test]
    fn sums_saturate() {
        let policy = CacheFirst::fresh_for(Duration::MAX).stale_while_revalidate(Duration::MAX);
        assert_eq!(policy.plan(Duration::MAX), Plan::Serve);
        assert_eq!(
            CacheFirst::fresh_for(Duration::ZERO).plan(Duration::ZERO),
            Plan::FetchOrServe { patience: Some(S) }
        );
    }
}
