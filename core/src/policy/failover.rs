//! The failover policy: the live answer, or the last good one.

use std::{sync::Arc, time::Duration};

use super::rules::{Rules, policy};
use crate::breaker::Breaker;

/// Ask the service; if it fails, or is slow while an earlier answer is at hand, that one answers.
///
/// | | [`Failover::original`] | [`Failover::after`] |
/// |---|---|---|
/// | `fresh_for` | 0: always ask | 0 |
/// | `stale_if_error` | without end | 24 h: yesterday's answer is seldom better than an error |
/// | `failover_timeout` | `None`: only errors fail over | as given |
/// | `call_timeout` | `None`: wait as long as the connection lives | 30 s: nobody waits longer |
/// | masks | every error | all but mistakes of the caller (unknown method, wrong signature) |
/// | `single_flight` | off: a caller who has just written reads its write | off |
/// | `breaker` | none | [`Breaker::default`]: a dead service costs nobody patience |
#[derive(Debug, Clone)]
pub struct Failover(Rules);

impl Failover {
    /// As the Python original behaves: what [`CachedRpcProxy`](crate::CachedRpcProxy) starts from.
    pub fn original() -> Self {
        Self(Rules {
            fresh_for: Duration::ZERO,
            jitter: 0.0,
            stale_while_revalidate: Duration::ZERO,
            stale_if_error: Duration::MAX,
            failover_timeout: None,
            call_timeout: None,
            single_flight: false,
            breaker: None,
            adaptive: None,
            masks_client_faults: true,
            definitive: Arc::default(),
            negative_for: None,
            reply_directives: false,
        })
    }

    /// Safe limits, and the given patience while an answer is at hand.
    pub fn after(patience: Duration) -> Self {
        Self(Rules {
            stale_if_error: Duration::from_secs(24 * 3600),
            failover_timeout: Some(patience),
            call_timeout: Some(Duration::from_secs(30)),
            breaker: Some(Breaker::default()),
            masks_client_faults: false,
            ..Self::original().0
        })
    }
}

impl Failover {
    /// How long an entry answers without asking the service, counted from when its request was sent. Default: 0.
    #[must_use]
    pub fn fresh_for(mut self, life: Duration) -> Self {
        self.0.fresh_for = life;
        self
    }
}

policy!(Failover);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        error::{CallError, RemoteError},
        policy::{Plan, Policy},
        route::Route,
    };

    const S: Duration = Duration::from_secs(1);

    fn route() -> Route {
        Route::new("s", "m").unwrap()
    }

    fn raised(exc_path: &str) -> CallError {
        let mut error = RemoteError::new(exc_path.rsplit('.').next().unwrap(), "x");
        error.exc_path = exc_path.into();
        CallError::Remote {
            route: route(),
            error: Box::new(error),
        }
    }

    #[test]
    fn the_original_asks_first_and_stands_in_for_every_error_at_any_age() {
        let policy = Failover::original();
        assert!(!policy.reads_first() && !Policy::single_flight(&policy));
        assert!(policy.may_stand_in(Duration::ZERO) && policy.may_stand_in(Duration::MAX));
        assert_eq!(
            (Policy::failover_timeout(&policy), Policy::call_timeout(&policy)),
            (None, None)
        );
        for error in [
            CallError::UnknownService { route: route() },
            raised("builtins.KeyError"),
            raised("nameko.exceptions.MethodNotFound"),
        ] {
            assert!(policy.masks(&error), "{error}");
        }
    }

    #[test]
    fn the_safe_one_is_bounded_and_hides_no_mistake_of_the_caller() {
        let policy = Failover::after(S).definitive(["NotFound", "a.b.Denied"]);
        assert_eq!(
            policy.plan(Duration::ZERO),
            Plan::FetchOrServe { patience: Some(S) }
        );
        assert!(
            policy.may_stand_in(24 * 3600 * S - Duration::from_nanos(1))
                && !policy.may_stand_in(24 * 3600 * S)
        );
        assert!(policy.masks(&raised("builtins.KeyError")));
        for exc_path in [
            "nameko.exceptions.IncorrectSignature",
            "shop.NotFound",
            "a.b.Denied",
        ] {
            assert!(!policy.masks(&raised(exc_path)), "{exc_path}");
        }
    }

    /// What the original's documentation promises of a TTL of 30 s, and its code doesn't do.
    #[test]
    fn with_freshness_it_reads_first_and_fails_over_afterwards() {
        let policy = Failover::original().fresh_for(30 * S);
        assert!(policy.reads_first());
        assert_eq!(policy.plan(30 * S - Duration::from_nanos(1)), Plan::Serve);
        assert_eq!(policy.plan(30 * S), Plan::FetchOrServe { patience: None });
        assert!(policy.may_stand_in(1_000_000 * S));
    }
}
