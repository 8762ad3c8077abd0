//! What to do with what is in the cache: pure decisions, without a clock, a store or a transport in sight.

mod cache_first;
mod failover;
mod rules;

use std::{fmt, sync::Arc, time::Duration};

pub use cache_first::CacheFirst;
pub use failover::Failover;

use crate::{adaptive::Adaptive, breaker::Breaker, error::CallError};

/// Decides for one call: ask the cache first or the service first, for how long an entry is good, which errors it may
/// stand in for. [`Failover`] and [`CacheFirst`] are the two that most need.
///
/// # Contract for implementors
/// Every method is a pure function of its arguments and cheap: it is asked on every call, without waiting, and may be
/// asked again later in the same call about the same entry, then older.
pub trait Policy: fmt::Debug + Send + Sync + 'static {
    /// Whether the store is read before the service is asked.
    fn reads_first(&self) -> bool;

    /// What to do about an entry of this age that was read before the service is asked.
    fn plan(&self, age: Duration) -> Plan;

    /// How long an entry is fresh; [`Duration::MAX`]: for ever.
    fn fresh_for(&self) -> Duration;

    /// The age below which [`plan`](Self::plan) is always [`Plan::Serve`], so that it need not be asked: this is read
    /// once, when the proxy is built, and spares each hit a virtual call. Default: 0, it is asked every time.
    fn serves_below(&self) -> Duration {
        Duration::ZERO
    }

    /// By how much less than `fresh_for` an entry may be fresh, at most: each key by its own part of it, so that entries
    /// of one moment don't all end in one moment.
    fn jitter(&self) -> Duration {
        Duration::ZERO
    }

    /// Whether an entry of this age may stand in for an answer that fails or is slow.
    fn may_stand_in(&self, age: Duration) -> bool;

    /// Whether the cache may answer instead of this error.
    fn masks(&self, error: &CallError) -> bool;

    /// Whether this error is an answer in itself (no such record): it evicts the entry and is never masked.
    fn is_definitive(&self, error: &CallError) -> bool;

    /// How long the service is waited for while an entry that may stand in is at hand; `None`: only errors fail over.
    fn failover_timeout(&self) -> Option<Duration>;

    /// The limit of a whole call; `None`: as long as the connection lives.
    fn call_timeout(&self) -> Option<Duration>;

    /// Whether concurrent calls with one key share one request.
    fn single_flight(&self) -> bool;

    /// When the service is taken for dead; `None`: never.
    fn breaker(&self) -> Option<Breaker>;

    /// How patience is learned from the service's latencies; the default does not learn: `None`.
    fn adaptive(&self) -> Option<Adaptive> {
        None
    }

    /// How long a [definitive](Self::is_definitive) error is remembered and answered with, counted from when its request
    /// was sent. The default remembers none: `None`.
    fn negative_for(&self) -> Option<Duration> {
        None
    }

    /// Whether replies may say by headers how long they are fresh, by what they can be invalidated, and whether they are
    /// stored at all. The default does not listen: `false`.
    fn reply_directives(&self) -> bool {
        false
    }
}

/// What to do about an entry that was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Plan {
    /// Answer with it: it is fresh.
    Serve,
    /// Answer with it, and fetch a new one behind.
    ServeAndRefresh,
    /// Ask the service; after `patience`, or on an error, answer with the entry if it may still stand in.
    FetchOrServe {
        /// How long to wait for the service before; `None`: only an error makes the entry answer.
        patience: Option<Duration>,
    },
}

#[deny(clippy::missing_trait_methods)]
impl<P: Policy + ?Sized> Policy for Arc<P> {
    fn reads_first(&self) -> bool {
        (**self).reads_first()
    }

    fn plan(&self, age: Duration) -> Plan {
        (**self).plan(age)
    }

    fn fresh_for(&self) -> Duration {
        (**self).fresh_for()
    }

    fn serves_below(&self) -> Duration {
        (**self).serves_below()
    }

    fn jitter(&self) -> Duration {
        (**self).jitter()
    }

    fn may_stand_in(&self, age: Duration) -> bool {
        (**self).may_stand_in(age)
    }

    fn masks(&self, error: &CallError) -> bool {
        (**self).masks(error)
    }

    fn is_definitive(&self, error: &CallError) -> bool {
        (**self).is_definitive(error)
    }

    fn failover_timeout(&self) -> Option<Duration> {
        (**self).failover_timeout()
    }

    fn call_timeout(&self) -> Option<Duration> {
        (**self).call_timeout()
    }

    fn single_flight(&self) -> bool {
        (**self).single_flight()
    }

    fn breaker(&self) -> Option<Breaker> {
        (**self).breaker()
    }

    fn adaptive(&self) -> Option<Adaptive> {
        (**self).adaptive()
    }

    fn negative_for(&self) -> Option<Duration> {
        (**self).negative_for()
    }

    fn reply_directives(&self) -> bool {
        (**self).reply_directives()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::route::Route;

    /// A policy that says only what it has to, and differently each time.
    #[derive(Debug)]
    struct Least(bool);

    impl Policy for Least {
        fn reads_first(&self) -> bool {
            self.0
        }

        fn plan(&self, age: Duration) -> Plan {
            Plan::FetchOrServe { patience: Some(age) }
        }

        fn fresh_for(&self) -> Duration {
            Duration::from_secs(1)
        }

        fn may_stand_in(&self, age: Duration) -> bool {
            age.is_zero() == self.0
        }

        fn masks(&self, _: &CallError) -> bool {
            self.0
        }

        fn is_definitive(&self, _: &CallError) -> bool {
            self.0
        }

        fn failover_timeout(&self) -> Option<Duration> {
            self.0.then_some(Duration::from_secs(2))
        }

        fn call_timeout(&self) -> Option<Duration> {
            self.0.then_some(Duration::from_secs(3))
        }

        fn single_flight(&self) -> bool {
            self.0
        }

        fn breaker(&self) -> Option<Breaker> {
            self.0.then(|| Breaker::default().after_failures(7))
        }
    }

    /// All that a policy says.
    fn said(policy: &dyn Policy) -> String {
        let route = Route::new("s", "m").unwrap();
        let (error, age) = (CallError::UnknownService { route }, Duration::from_secs(9));
        let decisions = (
            (policy.reads_first(), policy.plan(age), policy.may_stand_in(age)),
            (policy.masks(&error), policy.is_definitive(&error)),
            (
                policy.single_flight(),
                policy.breaker(),
                policy.reply_directives(),
            ),
        );
        let limits = (
            (policy.fresh_for(), policy.serves_below(), policy.jitter()),
            (policy.failover_timeout(), policy.call_timeout()),
            (policy.adaptive(), policy.negative_for()),
        );
        format!("{decisions:?} {limits:?}")
    }

    #[test]
    fn what_a_policy_does_not_say_is_the_least() {
        let policy = Least(true);
        assert_eq!(
            (policy.jitter(), policy.serves_below()),
            (Duration::ZERO, Duration::ZERO)
        );
        assert_eq!((policy.negative_for(), policy.adaptive().is_none()), (None, true));
        assert!(!policy.reply_directives());
    }

    #[test]
    fn a_shared_policy_says_what_it_says_itself() {
        let rich = CacheFirst::fresh_for(Duration::from_secs(4))
            .jitter(0.5)
            .adaptive(Adaptive::default())
            .negative_for(Duration::from_secs(5))
            .reply_directives(true);
        let rich: Arc<dyn Policy> = Arc::new(rich);
        assert_eq!(said(&Arc::clone(&rich)), said(&*rich));
        for flag in [true, false] {
            assert_eq!(said(&Arc::new(Least(flag))), said(&Least(flag)));
        }
        assert_ne!(said(&Least(true)), said(&Least(false)));
    }
}
