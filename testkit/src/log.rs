//! What happened, in order, within bounds.

use std::{
    collections::{BTreeMap, VecDeque},
    fmt::Write,
    sync::Arc,
    time::Duration,
};

use nameko_cachetools::Route;
use tokio::{runtime::Handle, time::Instant};

use crate::Call;

/// Most calls the log keeps; older ones are forgotten, but stay counted.
pub(crate) const MAX_CALLS: usize = 10_000;

/// Most bytes of requests the log keeps.
pub(crate) const MAX_BYTES: usize = 64 << 20;

/// Most lines the timeline keeps.
const MAX_EVENTS: usize = 4 * MAX_CALLS;

/// The calls and the timeline of one broker.
#[derive(Debug, Default)]
pub(crate) struct Log {
    started: Option<Instant>,
    calls: VecDeque<Logged>,
    events: VecDeque<Event>,
    bytes: usize,
    counts: BTreeMap<Route, u64>,
    total: u64,
    tick: u64,
}

/// One call, and between which events it was in flight.
#[derive(Debug, Clone)]
pub(crate) struct Logged {
    pub(crate) call: Arc<Call>,
    pub(crate) began: u64,
    pub(crate) ended: Option<u64>,
}

#[derive(Debug)]
struct Event {
    tick: u64,
    at: Duration,
    what: What,
}

#[derive(Debug)]
enum What {
    Called(Arc<Call>),
    OfCall(u64, String),
    OfBroker(String),
}

impl Log {
    /// Starts the clock, if a runtime is there: outside one, tokio's time isn't the test's.
    pub(crate) fn start(&mut self) {
        if self.started.is_none() && Handle::try_current().is_ok() {
            self.started = Some(Instant::now());
        }
    }

    /// Time since the start.
    pub(crate) fn now(&mut self) -> Duration {
        self.start();
        self.started.map_or(Duration::ZERO, |started| started.elapsed())
    }

    /// The next call's number, from 1.
    pub(crate) fn next_number(&mut self) -> u64 {
        self.total += 1;
        self.total
    }

    pub(crate) fn call(&mut self, call: Arc<Call>) {
        match self.counts.get_mut(&call.route) {
            Some(count) => *count += 1,
            None => drop(self.counts.insert(call.route.clone(), 1)),
        }
        self.bytes += size(&call);
        let began = self.event(call.at, What::Called(Arc::clone(&call)));
        self.calls.push_back(Logged {
            call,
            began,
            ended: None,
        });
        while self.calls.len() > MAX_CALLS || (self.bytes > MAX_BYTES && self.calls.len() > 1) {
            if let Some(forgotten) = self.calls.pop_front() {
                self.bytes -= size(&forgotten.call);
            }
            let oldest = self.calls.front().map_or(began, |first| first.began);
            while self.events.front().is_some_and(|event| event.tick < oldest) {
                self.events.pop_front();
            }
        }
    }

    /// Something happened to call `number`.
    pub(crate) fn of_call(&mut self, number: u64, text: impl Into<String>) {
        let at = self.now();
        self.event(at, What::OfCall(number, text.into()));
    }

    /// Call `number` is over.
    pub(crate) fn end(&mut self, number: u64, text: impl Into<String>) {
        let at = self.now();
        let tick = self.event(at, What::OfCall(number, text.into()));
        if let Ok(index) = self
            .calls
            .binary_search_by_key(&number, |logged| logged.call.number)
        {
            self.calls[index].ended = Some(tick);
        }
    }

    /// Something happened that belongs to no call.
    pub(crate) fn of_broker(&mut self, text: impl Into<String>) {
        let at = self.now();
        self.event(at, What::OfBroker(text.into()));
    }

    /// How many events there were: a change means progress.
    pub(crate) fn ticks(&self) -> u64 {
        self.tick
    }

    /// How many calls there were, forgotten and unreadable ones included.
    pub(crate) fn total(&self) -> u64 {
        self.total
    }

    /// How many calls there were of the routes that `which` picks, forgotten ones included.
    pub(crate) fn count(&self, which: impl Fn(&Route) -> bool) -> u64 {
        let picked = self.counts.iter().filter(|(route, _)| which(route));
        picked.map(|(_, count)| count).sum()
    }

    /// How many calls there were, forgotten ones included, unreadable ones not.
    pub(crate) fn count_all(&self) -> u64 {
        self.counts.values().sum()
    }

    pub(crate) fn calls(&self) -> impl Iterator<Item = &Logged> {
        self.calls.iter()
    }

    /// The last `lines` events as text, one a line.
    pub(crate) fn timeline(&self, lines: usize) -> String {
        text(self.events.iter().skip(self.events.len().saturating_sub(lines)))
    }

    /// The events behind number `tick`, of those that are kept.
    pub(crate) fn timeline_since(&self, tick: u64) -> String {
        let first = self.events.partition_point(|event| event.tick <= tick);
        text(self.events.iter().skip(first))
    }

    pub(crate) fn events(&self) -> usize {
        self.events.len()
    }

    fn event(&mut self, at: Duration, what: What) -> u64 {
        self.tick += 1;
        if self.events.len() >= MAX_EVENTS {
            self.events.pop_front();
        }
        self.events.push_back(Event {
            tick: self.tick,
            at,
            what,
        });
        self.tick
    }
}

/// One event a line.
fn text<'a>(events: impl Iterator<Item = &'a Event>) -> String {
    let mut text = String::new();
    for Event { at, what, .. } in events {
        let _ = write!(text, "{:>8} ms  ", at.as_millis()); // writing to a String never fails
        let _ = match what {
            What::Called(call) => writeln!(text, "#{} {call}{}", call.number, by(call.connection)),
            What::OfCall(number, what) => writeln!(text, "#{number}   {what}"),
            What::OfBroker(what) => writeln!(text, "-- {what}"),
        };
    }
    text
}

fn by(connection: u32) -> String {
    if connection == 1 {
        String::new()
    } else {
        format!("  by connection {connection}")
    }
}

/// What a call costs in memory, about: its body three times (as bytes and as values), and its parts.
fn size(call: &Call) -> usize {
    let headers: usize = call
        .request
        .headers
        .iter()
        .map(|(name, value)| name.len() + value.to_string().len())
        .sum();
    512 + 3 * call.request.body.len() + 2 * headers
}

#[cfg(test)]
mod tests {
    use super::*;
    use nameko_cachetools::Request;

    fn call(number: u64, method: &'static str, body_bytes: usize) -> Arc<Call> {
        let body = format!(r#"{{"args": ["{}"], "kwargs": {{}}}}"#, "x".repeat(body_bytes));
        let request = Request::new(Route::new("s", method).unwrap(), body);
        Arc::new(Call::read(number, Duration::ZERO, 1, request).unwrap())
    }

    #[test]
    fn the_log_is_bounded_by_calls_and_its_counters_are_exact() {
        let mut log = Log::default();
        for i in 0..MAX_CALLS as u64 + 500 {
            let number = log.next_number();
            log.call(call(number, if i % 2 == 0 { "even" } else { "odd" }, 1));
            log.end(number, "ok 1");
        }
        assert_eq!(log.calls().count(), MAX_CALLS);
        assert_eq!(log.count(|route| route.method() == "even"), 5250);
        assert_eq!(log.calls().next().map(|first| first.call.number), Some(501));
        assert_eq!(log.events(), 2 * MAX_CALLS);
    }

    #[test]
    fn the_log_is_bounded_by_bytes() {
        let mut log = Log::default();
        for number in 1..=100 {
            log.call(call(number, "m", 1 << 20));
        }
        let kept = log.calls().count();
        assert!((10..30).contains(&kept), "{kept}");
        log.call(call(101, "m", MAX_BYTES));
        assert_eq!(log.calls().count(), 1);
    }
}
