//! What every call returns: the value, and the truth about where it came from.

use std::{fmt, ops::Deref, sync::Arc, time::Duration};

use crate::{
    clock::saturated,
    entry::Slot,
    error::{CallError, ErrorClass},
};

/// The answer to a call: derefs to the value, and knows its [`Outcome`].
///
/// The value is shared with the cache and with everyone who got the same answer, so it can't be changed in place:
/// cloning a `Reply` is one reference count, [`into_inner`](Self::into_inner) gives a value of one's own. `Debug`
/// shows the outcome only; write `{:?}` of `*reply` for the value.
pub struct Reply<T> {
    slot: Arc<Slot<T>>,
    outcome: Outcome,
}

impl<T> Reply<T> {
    pub(crate) fn new(slot: Arc<Slot<T>>, outcome: Outcome) -> Self {
        Self { slot, outcome }
    }

    /// Where the answer came from, and why.
    pub fn outcome(&self) -> &Outcome {
        &self.outcome
    }

    /// The value itself: moved out if nobody shares it, else cloned.
    pub fn into_inner(self) -> T
    where
        T: Clone,
    {
        Arc::try_unwrap(self.slot).map_or_else(|shared| shared.value.clone(), |slot| slot.value)
    }
}

impl<T> Deref for Reply<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.slot.value
    }
}

impl<T> Clone for Reply<T> {
    fn clone(&self) -> Self {
        Self {
            slot: Arc::clone(&self.slot),
            outcome: self.outcome.clone(),
        }
    }
}

impl<T> fmt::Debug for Reply<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Reply").field(&self.outcome).finish()
    }
}

/// Where an answer came from and why: exactly one per call.
///
/// `Display` gives the text of an HTTP `Cache-Status` field (RFC 9211), ready for a header or a log:
///
/// - `nameko-cachetools; hit; ttl=12`: a fresh answer from the cache, for 12 more seconds;
/// - `nameko-cachetools; fwd=miss; stored`: the service's own answer, now in the cache;
/// - `nameko-cachetools; fwd=stale; fwd-status=504; ttl=-37; detail=failover-timeout`: the service did not answer in
///   time, so this one is 37 seconds past its freshness.
#[derive(Clone)]
pub struct Outcome(Kind);

#[derive(Clone)]
enum Kind {
    /// Kept small, as hits are what caches are for. `u64::MAX` stands for a freshness without end.
    Fresh {
        age: u64,
        fresh_for: u64,
    },
    Other(Arc<Details>),
}

#[derive(Clone, Debug)]
pub(crate) struct Details {
    pub(crate) source: Source,
    pub(crate) reason: Reason,
    /// Age of the value and how long it was fresh, if it came from the cache.
    pub(crate) age: Option<(Duration, Duration)>,
    pub(crate) collapsed: bool,
    pub(crate) stored: bool,
    pub(crate) masked: Option<CallError>,
    pub(crate) waited: Duration,
}

impl Details {
    /// The service's own answer, without any more to say about it.
    pub(crate) fn live(reason: Reason) -> Self {
        Self {
            source: Source::Live,
            reason,
            age: None,
            collapsed: false,
            stored: false,
            masked: None,
            waited: Duration::ZERO,
        }
    }
}

/// Where a value came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Source {
    /// From the service, in answer to this call (or to one that this call joined).
    Live,
    /// From the cache, and fresh.
    Fresh,
    /// From the cache, and no longer fresh.
    Stale,
}

/// Why the value came from there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Reason {
    /// A fresh entry was there.
    Hit,
    /// No entry was there.
    Miss,
    /// The policy or the call asks the service first, or the entry was no longer fresh.
    LiveFirst,
    /// The method isn't cached, or the call said so.
    Bypass,
    /// The arguments have no key (nested too deep, or too large).
    Unkeyable,
    /// The entry may be served for a while after its freshness, and a new one is being fetched.
    Revalidating,
    /// The service did not answer within `failover_timeout`.
    FailoverTimeout,
    /// The service is taken for dead (see [`Breaker`](crate::Breaker)), so it was not waited for.
    CircuitOpen,
    /// The service could not be reached, or did not answer within `call_timeout`.
    Unavailable,
    /// The service answered with an error, or unreadably.
    ServerFault,
    /// The call was wrong (unknown method, wrong signature), and the policy masks that too.
    ClientFault,
    /// The call asked for a cached answer only.
    OnlyIfCached,
}

impl Outcome {
    pub(crate) fn fresh(age: Duration, fresh_for: Duration) -> Self {
        Self::hit(saturated(age), saturated(fresh_for))
    }

    /// The same in nanoseconds.
    #[inline]
    pub(crate) fn hit(age: u64, fresh_for: u64) -> Self {
        Self(Kind::Fresh { age, fresh_for })
    }

    pub(crate) fn other(details: Details) -> Self {
        Self(Kind::Other(Arc::new(details)))
    }

    fn details(&self) -> Option<&Details> {
        match &self.0 {
            Kind::Fresh { .. } => None,
            Kind::Other(details) => Some(details),
        }
    }

    /// Where the value came from.
    pub fn source(&self) -> Source {
        self.details().map_or(Source::Fresh, |details| details.source)
    }

    /// Why it came from there.
    pub fn reason(&self) -> Reason {
        self.details().map_or(Reason::Hit, |details| details.reason)
    }

    /// Whether it came from the cache, fresh or stale.
    pub fn is_cached(&self) -> bool {
        self.source() != Source::Live
    }

    /// Whether it came from the cache past its freshness.
    pub fn is_stale(&self) -> bool {
        self.source() == Source::Stale
    }

    /// Time since the request that brought the value was sent; `None` for a live answer.
    pub fn age(&self) -> Option<Duration> {
        match &self.0 {
            Kind::Fresh { age, .. } => Some(Duration::from_nanos(*age)),
            Kind::Other(details) => details.age.map(|(age, _)| age),
        }
    }

    /// Whether this call joined another's request instead of sending its own.
    pub fn is_collapsed(&self) -> bool {
        self.details().is_some_and(|details| details.collapsed)
    }

    /// Whether the live answer is in the cache now.
    pub fn is_stored(&self) -> bool {
        self.details().is_some_and(|details| details.stored)
    }

    /// The error that the cached answer stands in for; `None` if the service was only silent, or not asked (see
    /// [`reason`](Self::reason)).
    pub fn masked(&self) -> Option<&CallError> {
        self.details().and_then(|details| details.masked.as_ref())
    }

    /// How long this call waited for the service; zero for a fresh answer.
    pub fn waited(&self) -> Duration {
        self.details().map_or(Duration::ZERO, |details| details.waited)
    }

    /// Seconds of freshness left, negative if it is over; `None` if it has no end, or for a live answer.
    fn ttl(&self) -> Option<i128> {
        let (age, fresh_for) = match &self.0 {
            Kind::Fresh { age, fresh_for } => (Duration::from_nanos(*age), Duration::from_nanos(*fresh_for)),
            Kind::Other(details) => details.age?,
        };
        let seconds = |d: Duration| i128::from(d.as_secs());
        match fresh_for.checked_sub(age) {
            _ if saturated(fresh_for) == u64::MAX => None,
            Some(left) => Some(seconds(left)),
            None => Some(-seconds(age.saturating_sub(fresh_for))),
        }
    }
}

/// RFC 9211.
impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("nameko-cachetools")?;
        match self.details() {
            None => f.write_str("; hit")?,
            Some(Details {
                reason: Reason::Revalidating | Reason::OnlyIfCached | Reason::CircuitOpen,
                ..
            }) => f.write_str("; hit")?,
            Some(details) => write!(f, "; fwd={}", details.reason.forward())?,
        }
        if let Some(status) = self.masked().map(status) {
            write!(f, "; fwd-status={status}")?;
        } else if self.reason() == Reason::FailoverTimeout {
            f.write_str("; fwd-status=504")?;
        }
        if let Some(ttl) = self.ttl() {
            write!(f, "; ttl={ttl}")?;
        }
        if self.is_stored() {
            f.write_str("; stored")?;
        }
        if self.is_collapsed() {
            f.write_str("; collapsed")?;
        }
        match self.reason().detail() {
            Some(detail) => write!(f, "; detail={detail}"),
            None => Ok(()),
        }
    }
}

impl fmt::Debug for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Outcome({self})")
    }
}

impl Reason {
    /// The reason of `fwd` (RFC 9211 section 2.2).
    fn forward(self) -> &'static str {
        match self {
            Self::Miss => "miss",
            Self::Bypass | Self::Unkeyable => "bypass",
            _ => "stale",
        }
    }

    fn detail(self) -> Option<&'static str> {
        match self {
            Self::Hit | Self::Miss | Self::LiveFirst | Self::Bypass | Self::OnlyIfCached => None,
            Self::Unkeyable => Some("unkeyable"),
            Self::Revalidating => Some("revalidating"),
            Self::FailoverTimeout => Some("failover-timeout"),
            Self::CircuitOpen => Some("circuit-open"),
            Self::Unavailable => Some("unavailable"),
            Self::ServerFault => Some("server-fault"),
            Self::ClientFault => Some("client-fault"),
        }
    }
}

/// The HTTP status that says the same as an error.
fn status(error: &CallError) -> u16 {
    match (error.is_timeout(), error.class()) {
        (true, _) => 504,
        (_, ErrorClass::Unavailable) => 503,
        (_, ErrorClass::ServerFault) if error.remote().is_some() => 500,
        (_, ErrorClass::ServerFault) => 502,
        (_, ErrorClass::ClientFault) => 400,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Delivery, Route, Timer};

    const SECOND: Duration = Duration::from_secs(1);

    fn details(source: Source, reason: Reason) -> Details {
        Details {
            source,
            ..Details::live(reason)
        }
    }

    #[test]
    fn a_hit_says_how_long_it_stays_fresh() {
        assert_eq!(
            Outcome::fresh(18 * SECOND, 30 * SECOND).to_string(),
            "nameko-cachetools; hit; ttl=12"
        );
        assert_eq!(
            Outcome::fresh(18 * SECOND, Duration::MAX).to_string(),
            "nameko-cachetools; hit"
        );
    }

    #[test]
    fn a_live_answer_says_why_it_was_asked_for() {
        let live = |reason| details(Source::Live, reason);
        let text = |details| Outcome::other(details).to_string();
        assert_eq!(text(live(Reason::Bypass)), "nameko-cachetools; fwd=bypass");
        let stored = Details {
            stored: true,
            collapsed: true,
            ..live(Reason::Miss)
        };
        assert_eq!(text(stored), "nameko-cachetools; fwd=miss; stored; collapsed");
        assert_eq!(text(live(Reason::LiveFirst)), "nameko-cachetools; fwd=stale");
    }

    #[test]
    fn a_stale_answer_says_what_it_stands_in_for() {
        let route = Route::new("products", "get").unwrap();
        let (timer, delivery) = (Timer::CallTimeout, Delivery::Unknown);
        let timeout = CallError::Timeout {
            route,
            timer,
            after: 30 * SECOND,
            delivery,
            queue: None,
        };
        let outcome = Outcome::other(Details {
            age: Some((67 * SECOND, 30 * SECOND)),
            ..details(Source::Stale, Reason::FailoverTimeout)
        });
        assert_eq!(
            outcome.to_string(),
            "nameko-cachetools; fwd=stale; fwd-status=504; ttl=-37; detail=failover-timeout"
        );
        let outcome = Outcome::other(Details {
            age: Some((SECOND, Duration::ZERO)),
            masked: Some(timeout),
            ..details(Source::Stale, Reason::Unavailable)
        });
        assert_eq!(
            outcome.to_string(),
            "nameko-cachetools; fwd=stale; fwd-status=504; ttl=-1; detail=unavailable"
        );
        assert!(outcome.is_stale() && outcome.masked().is_some_and(CallError::is_timeout));
    }
}
