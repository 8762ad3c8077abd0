//! The part of a call that waits: one path for plain, failover and cache-first calls, led by the policy's decisions.

use std::{future::Future, sync::Arc, time::Duration};

use bytes::Bytes;
use serde::de::DeserializeOwned;
use tokio::time::Instant;

use crate::{
    breaker::Circuit,
    cache::{Cache, value_of},
    decision::{Found, Step, first_step, reads_store},
    engine::Prepared,
    entry::{Entry, Marks, Slot},
    error::{CallError, ErrorClass},
    flight::Mission,
    key::Key,
    limits::{Limit, if_any, passed, timed_out},
    methods::Rule,
    options::Mode,
    outcome::{Details, Outcome, Reason, Reply, Source},
    plain::plain,
    route::Route,
    wire,
};

/// Longest refresh behind a stale answer, where the policy sets no limit to calls.
const REFRESH_LIMIT: Duration = Duration::from_secs(30);

/// Makes the call and counts its outcome.
#[allow(
    clippy::manual_async_fn,
    reason = "an async function has room for its arguments twice"
)]
pub(crate) fn drive<T>(call: Prepared) -> impl Future<Output = Result<Reply<T>, CallError>> + Send + 'static
where
    T: DeserializeOwned + Send + Sync + 'static,
{
    async move {
        let result = match (&call.engine.cache, &call.cached) {
            (Some(cache), Ok((key, rule))) => {
                Attempt {
                    call: &call,
                    cache,
                    key,
                    rule,
                    started: Instant::now(),
                }
                .answer()
                .await
            }
            _ if call.options.mode == Mode::OnlyIfCached => Err(CallError::NotCached {
                route: call.route.clone(),
            }),
            (_, Err(reason)) => plain(&call, *reason).await,
            (None, Ok(_)) => plain(&call, Reason::Bypass).await,
        };
        call.engine.counters.count(result.as_ref().map(Reply::outcome));
        result
    }
}

/// A call that the cache has a part in.
struct Attempt<'a> {
    call: &'a Prepared,
    cache: &'a Cache,
    key: &'a Key,
    rule: &'a Rule,
    started: Instant,
}

impl Attempt<'_> {
    async fn answer<T>(&self) -> Result<Reply<T>, CallError>
    where
        T: DeserializeOwned + Send + Sync + 'static,
    {
        let mode = self.call.options.mode;
        let step = {
            let found = if reads_store(mode, self.rule) {
                self.look_up_as::<T>().await
            } else {
                None
            };
            let step = first_step(mode, self.rule, self.key, found.as_ref().map(|(found, _)| found));
            if let Some((found, slot)) = found
                && let Some(reply) = self.serve(step, found, slot)
            {
                return Ok(reply);
            }
            step
        };
        if let Some(error) = self.negative() {
            return Err(error);
        }
        match step {
            Step::Ask { reason, patience } => self.fetch(reason, patience).await,
            Step::NotCached | Step::Serve | Step::ServeOnly | Step::Revalidate => Err(CallError::NotCached {
                route: self.call.route.clone(),
            }),
        }
    }

    /// The answer that was found, if it is one. If not, it is let go of: whoever replaces it in the store is guarded against
    /// what its owner's code does when it is dropped.
    fn serve<T>(&self, step: Step, found: Found, slot: Arc<Slot<T>>) -> Option<Reply<T>>
    where
        T: DeserializeOwned + Send + Sync + 'static,
    {
        match step {
            Step::Serve => {
                let fresh_for = found.fresh_for(self.rule, self.key);
                Some(Reply::new(slot, Outcome::fresh(found.age, fresh_for)))
            }
            Step::ServeOnly => Some(self.cached(slot, &found, Reason::OnlyIfCached, None)),
            Step::Revalidate => {
                match self
                    .cache
                    .flights
                    .circuit(&self.call.route, self.rule.policy.as_ref())
                {
                    Circuit::Closed => self.refresh::<T>(),
                    Circuit::Open(_) => {}
                    Circuit::Probe => self.probe::<T>(),
                }
                Some(self.cached(slot, &found, Reason::Revalidating, None))
            }
            Step::Ask { .. } | Step::NotCached => None,
        }
    }

    /// The error that is remembered as the answer to this call.
    fn negative(&self) -> Option<CallError> {
        let (call, flights) = (self.call, &self.cache.flights);
        if call.options.mode == Mode::Reload {
            return None;
        }
        let negative = flights.negative(self.key, &call.route, self.rule.policy.as_ref())?;
        let age = call.engine.client.clock().now().since(negative.sent.moment());
        if call.options.max_age.is_some_and(|most| age > most) {
            return None;
        }
        call.engine.counters.negative();
        Some(negative.error)
    }

    /// Asks the service; when that fails, or patience ends, the cache may stand in.
    async fn fetch<T>(&self, reason: Reason, patience: Option<Duration>) -> Result<Reply<T>, CallError>
    where
        T: DeserializeOwned + Send + Sync + 'static,
    {
        let (flights, policy) = (&self.cache.flights, self.rule.policy.as_ref());
        let mut circuit = flights.look_at_circuit(&self.call.route, policy);
        if circuit != Circuit::Closed {
            let reply = self.stand_in(Reason::CircuitOpen, None).await;
            // Only now, as callers may leave while the store is read: who is told to look again is the only one.
            circuit = flights.circuit(&self.call.route, policy);
            if let Some(reply) = reply {
                if circuit == Circuit::Probe {
                    self.probe::<T>();
                }
                return Ok(reply);
            }
        }
        if let Circuit::Open(retry_in) = circuit
            && policy.breaker().is_some_and(|breaker| breaker.fails_fast)
        {
            return Err(CallError::CircuitOpen {
                route: self.call.route.clone(),
                retry_in,
            });
        }
        let patience = flights.patience(&self.call.route, policy, patience);
        let (limit, useful) = (Limit::new(self.started, self.limit()), self.flight_limit());
        let mut mission = self.mission::<T>(useful);
        // Who is to look whether the service is back has to ask it: a request of before may be lost.
        mission.joins &= circuit != Circuit::Probe;
        let (ticket, collapsed) = flights.join(mission, || self.call.request(useful));
        // Who joins a request that has been silent for long need not find that out again. Patience that outlasts the call
        // is none, also for a process that stood still until both were over.
        let mut patience_ends = patience
            .and_then(|patience| ticket.started().checked_add(patience))
            .filter(|ends| limit.is_none_or(|limit| *ends <= limit.ends));
        let transport = self.call.engine.client.transport().as_ref();
        let mut timed_out = limit.map(|_| Box::pin(timed_out(transport, &self.call.route, limit)));
        // One timer is enough as long as patience ends first.
        let ends_before_limit = |patience| {
            limit
                .and_then(|limit| limit.asks_at())
                .is_none_or(|asks| patience <= asks)
        };
        let landing = loop {
            tokio::select! {
                biased;
                landing = ticket.landing() => break landing.clone(),
                () = passed(patience_ends), if patience_ends.is_some() => {
                    patience_ends = None;
                    // Who does not wait at all has learned nothing.
                    if patience != Some(Duration::ZERO) {
                        flights.note_slow(&ticket, &self.call.route, policy);
                    }
                    if let Some(reply) = self.stand_in(Reason::FailoverTimeout, None).await {
                        return Ok(reply);
                    }
                }
                error = if_any(&mut timed_out), if !patience_ends.is_some_and(ends_before_limit) => {
                    // A limit of the call's own says nothing about the service.
                    if self.call.options.timeout.is_none() {
                        flights.note_slow(&ticket, &self.call.route, policy);
                    }
                    break Err(error);
                }
            }
        };
        let live = landing.and_then(|(entry, stored)| {
            let slot = value_of(&self.call.route, entry)?;
            let details = Details {
                collapsed,
                stored,
                waited: self.started.elapsed(),
                ..Details::live(reason)
            };
            Ok(Reply::new(slot, Outcome::other(details)))
        });
        match live {
            Ok(reply) => Ok(reply),
            Err(error) => self.stand_in_for(&error).await.ok_or(error),
        }
    }

    fn limit(&self) -> Option<Duration> {
        self.call
            .options
            .timeout
            .unwrap_or(self.rule.policy.call_timeout())
    }

    /// How long the reply is of use to somebody: the policy's limit, or this call's own where that is longer. A caller
    /// in a hurry takes nothing from those who join it, nor from the cache.
    fn flight_limit(&self) -> Option<Duration> {
        let policy = self.rule.policy.call_timeout()?;
        match self.call.options.timeout {
            None => Some(policy),
            Some(own) => own.map(|own| own.max(policy)),
        }
    }

    fn mission<T>(&self, limit: Option<Duration>) -> Mission
    where
        T: DeserializeOwned + Send + Sync + 'static,
    {
        let tags = &self.call.options.tags;
        Mission {
            key: self.key.clone(),
            route: self.call.route.clone(),
            tags: (!tags.is_empty()).then(|| tags.as_slice().into()),
            policy: Arc::clone(&self.rule.policy),
            decode: decoded::<T>,
            limit,
            expiration: self.call.expiration(limit),
            joins: self.call.options.mode != Mode::Reload,
        }
    }

    /// The stored entry, unless it is older than this call accepts. However slow the store, the call lasts no longer
    /// than its limit and one wait for the store.
    async fn look_up(&self) -> Option<Found> {
        let call_ends = Limit::new(self.started, self.limit()).map(|limit| limit.ends);
        let (entry, expired) = self.cache.look_up(self.key, &self.call.route, call_ends).await?;
        let age = entry.age(self.call.engine.client.clock().now());
        let accepted = self.call.options.max_age.is_none_or(|most| age <= most);
        accepted.then_some(Found { entry, age, expired })
    }

    /// The same with its value, if that is a `T`.
    async fn look_up_as<T>(&self) -> Option<(Found, Arc<Slot<T>>)>
    where
        T: DeserializeOwned + Send + Sync + 'static,
    {
        let found = self.look_up().await?;
        let slot = value_of(&self.call.route, found.entry.clone()).ok()?;
        Some((found, slot))
    }

    /// The cached answer instead of `error`, if there is one and the policy wants that.
    async fn stand_in_for<T>(&self, error: &CallError) -> Option<Reply<T>>
    where
        T: DeserializeOwned + Send + Sync + 'static,
    {
        if !self.rule.policy.masks(error) {
            return None;
        }
        let reason = match error.class() {
            ErrorClass::Unavailable => Reason::Unavailable,
            ErrorClass::ServerFault => Reason::ServerFault,
            ErrorClass::ClientFault => Reason::ClientFault,
        };
        let reply = self.stand_in(reason, Some(error)).await?;
        self.cache.count_masked(&self.call.route, error);
        Some(reply)
    }

    /// The cached answer as it is now: one that came meanwhile counts, one that expired meanwhile doesn't.
    async fn stand_in<T>(&self, reason: Reason, masked: Option<&CallError>) -> Option<Reply<T>>
    where
        T: DeserializeOwned + Send + Sync + 'static,
    {
        if self.call.options.mode == Mode::Reload {
            return None;
        }
        // Boxed, so that calls that need no answer from there are not as large as those that do.
        let (found, slot) = Box::pin(self.look_up_as()).await?;
        let usable = found.may_stand_in(self.rule);
        usable.then(|| self.cached(slot, &found, reason, masked.cloned()))
    }

    fn cached<T>(
        &self,
        slot: Arc<Slot<T>>,
        found: &Found,
        reason: Reason,
        masked: Option<CallError>,
    ) -> Reply<T> {
        let (age, fresh_for) = (found.age, found.fresh_for(self.rule, self.key));
        let source = if age < fresh_for && !found.expired {
            Source::Fresh
        } else {
            Source::Stale
        };
        // What was expired before its time has been stale for all its age.
        let fresh_for = if found.expired {
            fresh_for.min(age)
        } else {
            fresh_for
        };
        let (age, waited) = (Some((age, fresh_for)), self.started.elapsed());
        Reply::new(
            slot,
            Outcome::other(Details {
                source,
                age,
                masked,
                waited,
                ..Details::live(reason)
            }),
        )
    }

    /// Fetches a new answer behind a stale one: one per key, and not too many in all.
    fn refresh<T>(&self)
    where
        T: DeserializeOwned + Send + Sync + 'static,
    {
        let limit = self.flight_limit().or(Some(REFRESH_LIMIT));
        let (flights, mission) = (&self.cache.flights, self.mission::<T>(limit));
        if flights.refresh(mission, || self.call.request(limit)).is_err() {
            self.call.engine.counters.refresh_skipped();
        }
    }

    /// Looks behind a cached answer whether the service is alive.
    fn probe<T>(&self)
    where
        T: DeserializeOwned + Send + Sync + 'static,
    {
        let limit = self.flight_limit().or(Some(REFRESH_LIMIT));
        let (flights, mission) = (&self.cache.flights, self.mission::<T>(limit));
        if flights.probe(mission, || self.call.request(limit)).is_err() {
            self.call.engine.counters.refresh_skipped();
        }
    }
}

fn decoded<T>(route: &Route, marks: Marks, body: &Bytes) -> Option<Entry>
where
    T: DeserializeOwned + Send + Sync + 'static,
{
    let value: T = wire::decode(route, body).ok()?;
    // A copy keeps neither the message that it came in, nor a count of references to that.
    Some(Entry::decoded(marks, Bytes::copy_from_slice(body), value))
}
