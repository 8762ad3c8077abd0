//! What a call would do now, and why, as text: by the same decisions that the driver carries out.

use std::{
    fmt::{Display, Write as _},
    time::Duration,
};

use crate::{
    breaker::Circuit,
    cache::Cache,
    decision::{Found, Step, first_step, reads_store},
    engine::Prepared,
    invalidate::Verdict,
    key::Key,
    methods::Rule,
    options::Mode,
    outcome::Reason,
};

/// Explains the call. The store is read; nothing is sent, changed or counted.
pub(crate) async fn explain(call: &Prepared) -> String {
    let mut text = String::new();
    match (&call.engine.cache, &call.cached) {
        (Some(cache), Ok((key, rule))) => {
            let explained = Explained {
                call,
                cache,
                key,
                rule,
            };
            explained.write(&mut text).await;
        }
        _ => line(&mut text, format_args!("{}", uncached(call))),
    }
    text
}

fn uncached(call: &Prepared) -> String {
    let (route, engine) = (&call.route, &call.engine);
    let why = match &call.cached {
        Err(Reason::Unkeyable) => "its arguments are too deep or too large for a key",
        Err(_) if call.options.mode == Mode::Bypass => "the call says bypass",
        Err(_) if engine.setter(route.method()).is_some() => "the method is said to change something",
        Err(_) if engine.cache.is_some() => "the method is not among the cached ones",
        _ => "the proxy is a plain one",
    };
    let limit = call
        .options
        .timeout
        .unwrap_or(engine.plain_timeout(route.method()));
    format!(
        "{route} is not cached ({why}): it asks the service, {}",
        until(limit)
    )
}

struct Explained<'a> {
    call: &'a Prepared,
    cache: &'a Cache,
    key: &'a Key,
    rule: &'a Rule,
}

impl Explained<'_> {
    async fn write(&self, text: &mut String) {
        let (mode, route) = (self.call.options.mode, &self.call.route);
        let policy = self.rule.policy.as_ref();
        line(text, format_args!("{route} is cached, by {policy:?}"));
        let (found, standing) = self.look_up(text).await;
        let negative = self.negative(text);
        let flights = &self.cache.flights;
        let circuit = flights.look_at_circuit(route, policy);
        match circuit {
            Circuit::Closed => {}
            Circuit::Open(left) => line(
                text,
                format_args!("circuit: open; the service is looked at again in {left:?}"),
            ),
            Circuit::Probe => line(
                text,
                format_args!("circuit: open; the next call looks whether the service is back"),
            ),
        }
        let read = found.as_ref().filter(|_| reads_store(mode, self.rule));
        let step = first_step(mode, self.rule, self.key, read);
        match step {
            Step::Serve => line(text, format_args!("so: answers with it, asking nobody")),
            Step::Revalidate => line(
                text,
                format_args!("so: answers with it, and {}", self.refresh(circuit)),
            ),
            Step::ServeOnly => line(
                text,
                format_args!("so: answers with it: the call allows nothing else"),
            ),
            Step::NotCached | Step::Ask { .. } if negative => {
                line(text, format_args!("so: answers with that error"))
            }
            Step::NotCached => line(
                text,
                format_args!("so: fails, as the call allows no other answer than a cached one"),
            ),
            Step::Ask { patience, .. } => self.ask(text, patience, standing, circuit),
        }
    }

    /// Says what the store holds. What comes of it: the entry, and whether it may stand in for an answer.
    async fn look_up(&self, text: &mut String) -> (Option<Found>, bool) {
        let (call, cache) = (self.call, self.cache);
        let Some((entry, verdict)) = cache.view(self.key, &call.route, None).await else {
            line(text, format_args!("store: nothing"));
            return (None, false);
        };
        let age = entry.age(call.engine.client.clock().now());
        let found = Found {
            entry,
            age,
            expired: verdict == Verdict::Expired,
        };
        let fresh_for = found.fresh_for(self.rule, self.key);
        let too_old = call.options.max_age.is_some_and(|most| age > most);
        let state = match (verdict, fresh_for.checked_sub(age)) {
            (Verdict::Gone, _) => "invalidated".to_owned(),
            (Verdict::Expired, _) => "expired by an invalidation".to_owned(),
            _ if fresh_for == Duration::MAX => "fresh, without an end".to_owned(),
            (_, Some(left)) if !left.is_zero() => format!("fresh for another {left:?}"),
            _ => format!("stale since {:?}", age.saturating_sub(fresh_for)),
        };
        let standing = !too_old && verdict != Verdict::Gone && found.may_stand_in(self.rule);
        let role = match (too_old, standing) {
            (true, _) => "older than the call accepts",
            (_, true) => "may stand in for an answer that fails or is slow",
            (_, false) => "may not stand in for another",
        };
        line(
            text,
            format_args!("store: an answer of {age:?} ago, {state}; {role}"),
        );
        let usable = verdict != Verdict::Gone && !too_old;
        (usable.then_some(found), standing)
    }

    fn negative(&self, text: &mut String) -> bool {
        let (call, clock) = (self.call, self.call.engine.client.clock());
        let policy = self.rule.policy.as_ref();
        let Some(negative) = self.cache.flights.negative(self.key, &call.route, policy) else {
            return false;
        };
        let (now, kind) = (
            clock.now(),
            negative
                .error
                .remote()
                .map(|error| error.exc_type.escape_debug().to_string()),
        );
        let (age, left) = (now.since(negative.sent.moment()), negative.until.since(now));
        let kind = kind.unwrap_or_default();
        line(
            text,
            format_args!("remembered: {kind} was the answer {age:?} ago, for another {left:?}"),
        );
        call.options.mode != Mode::Reload && call.options.max_age.is_none_or(|most| age <= most)
    }

    fn refresh(&self, circuit: Circuit) -> &'static str {
        let flights = &self.cache.flights;
        match circuit {
            Circuit::Open(_) => "leaves the service alone",
            Circuit::Probe => "looks behind it whether the service is back",
            Circuit::Closed if flights.under_way(self.key, &self.call.route).is_some() => {
                "a request for a new one is under way"
            }
            Circuit::Closed if flights.rests(self.key) => {
                "fetches none yet: the last attempt failed just now"
            }
            Circuit::Closed => "fetches a new one behind",
        }
    }

    fn ask(&self, text: &mut String, patience: Option<Duration>, standing: bool, circuit: Circuit) {
        let (call, flights, policy) = (self.call, &self.cache.flights, self.rule.policy.as_ref());
        let standing = standing && call.options.mode != Mode::Reload;
        if standing && circuit != Circuit::Closed {
            return line(
                text,
                format_args!("so: answers with it at once, while the circuit is open"),
            );
        }
        if matches!(circuit, Circuit::Open(_)) && policy.breaker().is_some_and(|breaker| breaker.fails_fast) {
            return line(text, format_args!("so: fails at once, while the circuit is open"));
        }
        let joins = call.options.mode != Mode::Reload && policy.single_flight() && circuit != Circuit::Probe;
        let request = match flights.under_way(self.key, &call.route).filter(|_| joins) {
            Some(since) => format!("joins a request of {since:?} ago"),
            None => "sends a request".to_owned(),
        };
        let limit = call.options.timeout.unwrap_or(policy.call_timeout());
        let fallback = match flights.patience(&call.route, policy, patience) {
            _ if !standing => String::new(),
            None => "; after an error, answers with what is stored".to_owned(),
            Some(patience) => format!("; after an error or {patience:?}, answers with what is stored"),
        };
        line(text, format_args!("so: {request}, {}{fallback}", until(limit)));
    }
}

fn until(limit: Option<Duration>) -> String {
    match limit {
        None => "as long as the connection lives".to_owned(),
        Some(limit) => format!("for up to {limit:?}"),
    }
}

fn line(text: &mut String, line: impl Display) {
    // Writing to a String can't fail.
    let _ = writeln!(text, "{line}");
}
