//! The part of a call that waits: one path for plain, failover and cache-first calls, led by the policy's decisions.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use serde::de::DeserializeOwned;
use tokio::time::{Instant, sleep_until};

use crate::{
    engine::{Cache, Prepared, value_of},
    entry::{Entry, Sent, Slot},
    error::{CallError, Delivery, ErrorClass, Timer},
    key::Key,
    options::Mode,
    outcome::{Details, Outcome, Reason, Reply, Source},
    policy::Plan,
    route::Route,
    wire,
};

/// Longest refresh behind a stale answer, where the policy sets no limit to calls.
const REFRESH_LIMIT: Duration = Duration::from_secs(30);

/// Makes the call and counts its outcome.
pub(crate) async fn drive<T>(call: Prepared) -> Result<Reply<T>, CallError>
where
    T: DeserializeOwned + Send + Sync + 'static,
{
    let result = match (&call.engine.cache, &call.key) {
        (Some(cache), Ok(key)) => {
            Cached {
                call: &call,
                cache,
                key,
                started: Instant::now(),
            }
            .answer()
            .await
        }
        (_, Err(reason)) => plain(&call, *reason).await,
        (None, Ok(_)) => plain(&call, Reason::Bypass).await,
    };
    call.engine.counters.count(result.as_ref().map(Reply::outcome));
    result
}

/// A call without the cache: the request lives and dies with its caller.
async fn plain<T>(call: &Prepared, reason: Reason) -> Result<Reply<T>, CallError>
where
    T: DeserializeOwned + Send + Sync + 'static,
{
    let (started, client) = (Instant::now(), &call.engine.client);
    let default = call
        .engine
        .cache
        .as_ref()
        .map_or(client.call_timeout(), |cache| cache.policy.call_timeout());
    let limit = call.options.timeout.unwrap_or(default);
    let sent = Sent::now(client.clock());
    let reply = tokio::select! {
        biased;
        reply = client.transport().request(call.request(None)) => reply,
        () = at(limit.and_then(|limit| started.checked_add(limit))) => return Err(timed_out(&call.route, limit)),
    };
    let response = reply.map_err(|error| CallError::transport(call.route.clone(), error))?;
    let body = wire::result(&call.route, response)?;
    let value = wire::decode(&call.route, &body)?;
    let details = Details {
        waited: started.elapsed(),
        ..Details::live(reason)
    };
    Ok(Reply::new(
        Arc::new(Slot { sent, body, value }),
        Outcome::other(details),
    ))
}

/// A call that the cache has a part in.
struct Cached<'a> {
    call: &'a Prepared,
    cache: &'a Cache,
    key: &'a Key,
    started: Instant,
}

impl Cached<'_> {
    async fn answer<T>(&self) -> Result<Reply<T>, CallError>
    where
        T: DeserializeOwned + Send + Sync + 'static,
    {
        let (mode, policy) = (self.call.options.mode, &self.cache.policy);
        let mut reason = Reason::LiveFirst;
        let mut patience = policy.failover_timeout();
        if mode == Mode::OnlyIfCached || self.cache.reads_first && mode != Mode::Reload {
            reason = Reason::Miss;
            if let Some((entry, age)) = self.look_up().await
                && let Ok(slot) = value_of(&self.call.route, entry)
            {
                reason = Reason::LiveFirst;
                match policy.plan(age) {
                    Plan::Serve => return Ok(Reply::new(slot, Outcome::fresh(age, self.cache.fresh_for))),
                    _ if mode == Mode::OnlyIfCached && policy.may_stand_in(age) => {
                        return Ok(self.cached(slot, age, Reason::OnlyIfCached, None));
                    }
                    Plan::ServeAndRefresh if mode != Mode::OnlyIfCached => {
                        self.refresh::<T>();
                        return Ok(self.cached(slot, age, Reason::Revalidating, None));
                    }
                    Plan::FetchOrServe { patience: planned } => patience = planned,
                    Plan::ServeAndRefresh => {}
                }
            }
            if mode == Mode::OnlyIfCached {
                return Err(CallError::NotCached {
                    route: self.call.route.clone(),
                });
            }
        }
        self.fetch(reason, patience).await
    }

    /// Asks the service; when that fails, or patience ends, the cache may stand in.
    async fn fetch<T>(&self, reason: Reason, patience: Option<Duration>) -> Result<Reply<T>, CallError>
    where
        T: DeserializeOwned + Send + Sync + 'static,
    {
        let after = |limit: Option<Duration>| limit.and_then(|limit| self.started.checked_add(limit));
        let limit = self.limit();
        let (mut patience_ends, call_ends) = (after(patience), after(limit));
        let useful = self.flight_limit();
        let request = || self.call.request(useful);
        let (ticket, collapsed) = self
            .cache
            .flights
            .join(self.key.clone(), request, decoded::<T>, useful);
        let landing = loop {
            tokio::select! {
                biased;
                landing = ticket.landing() => break landing,
                () = tie(at(patience_ends)), if patience_ends.is_some() => {
                    patience_ends = None;
                    if let Some(reply) = self.stand_in(Reason::FailoverTimeout, None).await {
                        return Ok(reply);
                    }
                }
                () = tie(at(call_ends)) => return self.stand_in_for(timed_out(&self.call.route, limit)).await,
            }
        };
        let live = landing.clone().and_then(|(entry, stored)| {
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
            Err(error) => self.stand_in_for(error).await,
        }
    }

    fn limit(&self) -> Option<Duration> {
        self.call
            .options
            .timeout
            .unwrap_or(self.cache.policy.call_timeout())
    }

    /// How long the reply is of use to somebody: the policy's limit, or this call's own where that is longer. A caller
    /// in a hurry takes nothing from those who join it, nor from the cache.
    fn flight_limit(&self) -> Option<Duration> {
        let policy = self.cache.policy.call_timeout()?;
        match self.call.options.timeout {
            None => Some(policy),
            Some(own) => own.map(|own| own.max(policy)),
        }
    }

    /// The stored entry and its age, unless it is older than this call accepts.
    async fn look_up(&self) -> Option<(Entry, Duration)> {
        let entry = self.cache.shelf.look_up(self.key).await?;
        let age = entry.age(self.call.engine.client.clock().now());
        let accepted = self.call.options.max_age.is_none_or(|most| age <= most);
        accepted.then_some((entry, age))
    }

    /// The cached answer instead of `error`, if there is one and the policy wants that; else the error.
    async fn stand_in_for<T>(&self, error: CallError) -> Result<Reply<T>, CallError>
    where
        T: DeserializeOwned + Send + Sync + 'static,
    {
        if !self.cache.policy.masks(&error) {
            return Err(error);
        }
        let reason = match error.class() {
            ErrorClass::Unavailable => Reason::Unavailable,
            ErrorClass::ServerFault => Reason::ServerFault,
            ErrorClass::ClientFault => Reason::ClientFault,
        };
        match self.stand_in(reason, Some(&error)).await {
            None => Err(error),
            Some(reply) => {
                self.cache.warn_masked(&self.call.route, &error);
                Ok(reply)
            }
        }
    }

    /// The cached answer as it is now: one that came meanwhile counts, one that expired meanwhile doesn't.
    async fn stand_in<T>(&self, reason: Reason, masked: Option<&CallError>) -> Option<Reply<T>>
    where
        T: DeserializeOwned + Send + Sync + 'static,
    {
        if self.call.options.mode == Mode::Reload {
            return None;
        }
        let (entry, age) = self.look_up().await?;
        let usable = self.cache.policy.may_stand_in(age);
        let slot = usable.then(|| value_of(&self.call.route, entry).ok()).flatten()?;
        Some(self.cached(slot, age, reason, masked.cloned()))
    }

    fn cached<T>(
        &self,
        slot: Arc<Slot<T>>,
        age: Duration,
        reason: Reason,
        masked: Option<CallError>,
    ) -> Reply<T> {
        let fresh_for = self.cache.fresh_for;
        let source = if age < fresh_for {
            Source::Fresh
        } else {
            Source::Stale
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
        let Ok(place) = Arc::clone(&self.cache.refreshes).try_acquire_owned() else {
            return self.call.engine.counters.refresh_skipped();
        };
        let limit = self.flight_limit();
        let (key, request) = (self.key.clone(), || self.call.request(limit));
        self.cache
            .flights
            .refresh(key, request, decoded::<T>, limit.unwrap_or(REFRESH_LIMIT), place);
    }
}

fn decoded<T: DeserializeOwned + Send + Sync + 'static>(
    route: &Route,
    sent: Sent,
    body: &Bytes,
) -> Option<Entry> {
    let value: T = wire::decode(route, body).ok()?;
    Some(Entry::decoded(&Arc::new(Slot {
        sent,
        body: body.clone(),
        value,
    })))
}

fn timed_out(route: &Route, limit: Option<Duration>) -> CallError {
    CallError::Timeout {
        route: route.clone(),
        timer: Timer::CallTimeout,
        after: limit.unwrap_or_default(),
        delivery: Delivery::Unknown,
    }
}

/// Lets a reply that came in the same moment land first: at a tie the reply beats the limit.
async fn tie(limit: impl Future<Output = ()>) {
    limit.await;
    tokio::task::yield_now().await;
}

/// Pending until `deadline`; for ever, if there is none.
async fn at(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}
