//! The arithmetic that both strategies share: failover is cache-first that is never fresh, plus patience.

use std::{sync::Arc, time::Duration};

use super::Plan;
use crate::{
    adaptive::Adaptive,
    breaker::Breaker,
    error::{CallError, ErrorClass},
};

/// The settings of a policy, and what follows from them.
#[derive(Debug, Clone)]
pub(super) struct Rules {
    pub(super) fresh_for: Duration,
    /// As a share of `fresh_for`, from 0 to 1.
    pub(super) jitter: f64,
    /// After `fresh_for`: serve at once, refresh behind.
    pub(super) stale_while_revalidate: Duration,
    /// After `fresh_for`: stand in for what fails or is slow.
    pub(super) stale_if_error: Duration,
    pub(super) failover_timeout: Option<Duration>,
    pub(super) call_timeout: Option<Duration>,
    pub(super) single_flight: bool,
    pub(super) breaker: Option<Breaker>,
    pub(super) adaptive: Option<Adaptive>,
    /// Whether mistakes of the caller are answered from the cache too, as in the original.
    pub(super) masks_client_faults: bool,
    /// Exceptions that are answers, not failures.
    pub(super) definitive: Arc<[String]>,
    /// How long those are remembered.
    pub(super) negative_for: Option<Duration>,
    pub(super) reply_directives: bool,
}

impl Rules {
    pub(super) fn reads_first(&self) -> bool {
        !(self.fresh_for.is_zero() && self.stale_while_revalidate.is_zero())
    }

    /// What never ends has nothing to spread.
    pub(super) fn jitter(&self) -> Duration {
        if self.fresh_for == Duration::MAX {
            Duration::ZERO
        } else {
            Duration::try_from_secs_f64(self.fresh_for.as_secs_f64() * self.jitter).unwrap_or(self.fresh_for)
        }
    }

    /// Fresh while age < `fresh_for`, stale from equality (RFC 9111 section 4.2). Sums saturate.
    pub(super) fn plan(&self, age: Duration) -> Plan {
        if within(age, self.fresh_for) {
            Plan::Serve
        } else if within(age, self.fresh_for.saturating_add(self.stale_while_revalidate)) {
            Plan::ServeAndRefresh
        } else {
            Plan::FetchOrServe {
                patience: self.failover_timeout,
            }
        }
    }

    pub(super) fn may_stand_in(&self, age: Duration) -> bool {
        let window = self.stale_if_error.max(self.stale_while_revalidate);
        within(age, self.fresh_for.saturating_add(window))
    }

    pub(super) fn is_definitive(&self, error: &CallError) -> bool {
        error
            .remote()
            .is_some_and(|remote| self.definitive.iter().any(|name| remote.is(name)))
    }

    pub(super) fn masks(&self, error: &CallError) -> bool {
        match error.class() {
            _ if self.is_definitive(error) => false,
            ErrorClass::Unavailable | ErrorClass::ServerFault => true,
            ErrorClass::ClientFault => self.masks_client_faults,
        }
    }
}

/// What has no end never ends, not even at the greatest age.
fn within(age: Duration, end: Duration) -> bool {
    age < end || end == Duration::MAX
}

/// The settings that both policies have, as builder methods on each; and [`Policy`](super::Policy) by the rules.
macro_rules! policy {
    ($policy:ident) => {
        impl $policy {
            /// For how long after `fresh_for` an entry still answers at once while a new one is fetched behind (RFC 5861).
            #[must_use]
            pub fn stale_while_revalidate(mut self, window: Duration) -> Self {
                self.0.stale_while_revalidate = window;
                self
            }

            /// Ends freshness early by up to this share of it (0 to 1), each key by its own part, so that entries of one
            /// moment are not all asked for again in one moment. The other limits don't move. Default: 0.
            #[must_use]
            pub fn jitter(mut self, share: f64) -> Self {
                self.0.jitter = if share.is_nan() {
                    0.0
                } else {
                    share.clamp(0.0, 1.0)
                };
                self
            }

            /// For how long after `fresh_for` an entry may stand in for an answer that fails or is slow (RFC 5861).
            #[must_use]
            pub fn stale_if_error(mut self, window: Duration) -> Self {
                self.0.stale_if_error = window;
                self
            }

            /// How long to wait for the service while an entry that may stand in is at hand. `None`: only errors fail
            /// over. Zero: don't wait. (In Python `failover_timeout=0` means `None`.)
            #[must_use]
            pub fn failover_timeout(mut self, limit: impl Into<Option<Duration>>) -> Self {
                self.0.failover_timeout = limit.into();
                self
            }

            /// The limit of a whole call. `None`: as long as the connection lives.
            #[must_use]
            pub fn call_timeout(mut self, limit: impl Into<Option<Duration>>) -> Self {
                self.0.call_timeout = limit.into();
                self
            }

            /// Whether concurrent calls with one key share one request.
            #[must_use]
            pub fn single_flight(mut self, on: bool) -> Self {
                self.0.single_flight = on;
                self
            }

            /// When the service is taken for dead, so that those who have a cached answer get it without waiting.
            /// `None`: never.
            #[must_use]
            pub fn breaker(mut self, breaker: impl Into<Option<crate::Breaker>>) -> Self {
                self.0.breaker = breaker.into();
                self
            }

            /// Exceptions, by class or full path, that are answers and not failures (`NotFound`,
            /// `PermissionDenied`): they are never masked by a cached answer, and they evict it.
            #[must_use]
            pub fn definitive<N: Into<String>>(mut self, exceptions: impl IntoIterator<Item = N>) -> Self {
                self.0.definitive = exceptions.into_iter().map(Into::into).collect();
                self
            }

            /// How long a [`definitive`](Self::definitive) exception is answered with again, without asking the service,
            /// counted from when its request was sent; `None`: not at all, the default. Keep it short: a record that is
            /// made meanwhile is not seen before (unless its [invalidation](crate::Call::invalidate) says so). No other
            /// error is ever remembered: an outage leaves nothing behind. At most 4,096 calls are remembered, and errors
            /// of at most 4 KiB.
            #[must_use]
            pub fn negative_for(mut self, life: impl Into<Option<Duration>>) -> Self {
                self.0.negative_for = life.into();
                self
            }

            /// Lets the service decide about each reply, by headers of it: `nameko.cache_fresh_for` (seconds, in place of
            /// `fresh_for`; what follows freshness is as long as ever), `nameko.cache_tags` (a list of up to 64
            /// [tags](crate::Call::tag) of up to 255 bytes, beside the call's own) and `nameko.cache_no_store` (`true`: not
            /// stored). A reply with a directive that can't be read is not stored. Default: `false`, such headers are
            /// ignored, since whoever can answer could keep an answer alive.
            ///
            /// See [the guide](crate::guide::invalidation) for how a nameko service says so.
            #[must_use]
            pub fn reply_directives(mut self, listen: bool) -> Self {
                self.0.reply_directives = listen;
                self
            }

            /// Lets patience follow the service's latency, up to the `failover_timeout`. Default: `None`, the
            /// `failover_timeout` holds at all times.
            #[must_use]
            pub fn adaptive(mut self, adaptive: impl Into<Option<crate::Adaptive>>) -> Self {
                self.0.adaptive = adaptive.into();
                self
            }
        }

        impl crate::policy::Policy for $policy {
            fn reads_first(&self) -> bool {
                self.0.reads_first()
            }

            fn plan(&self, age: Duration) -> crate::policy::Plan {
                self.0.plan(age)
            }

            fn fresh_for(&self) -> Duration {
                self.0.fresh_for
            }

            fn serves_below(&self) -> Duration {
                self.0.fresh_for
            }

            fn jitter(&self) -> Duration {
                self.0.jitter()
            }

            fn may_stand_in(&self, age: Duration) -> bool {
                self.0.may_stand_in(age)
            }

            fn masks(&self, error: &crate::CallError) -> bool {
                self.0.masks(error)
            }

            fn is_definitive(&self, error: &crate::CallError) -> bool {
                self.0.is_definitive(error)
            }

            fn failover_timeout(&self) -> Option<Duration> {
                self.0.failover_timeout
            }

            fn call_timeout(&self) -> Option<Duration> {
                self.0.call_timeout
            }

            fn single_flight(&self) -> bool {
                self.0.single_flight
            }

            fn breaker(&self) -> Option<crate::Breaker> {
                self.0.breaker
            }

            fn adaptive(&self) -> Option<crate::Adaptive> {
                self.0.adaptive
            }

            fn negative_for(&self) -> Option<Duration> {
                self.0.negative_for
            }

            fn reply_directives(&self) -> bool {
                self.0.reply_directives
            }
        }
    };
}
pub(super) use policy;
