//! What is wrong with a test's calls, said so that the test can be mended.

use std::{fmt, fmt::Write, time::Duration};

use serde_json::Value;

use crate::{
    Call,
    call::shown,
    difference::Comparison,
    log::Log,
    script::{Nearest, Script},
    times::calls,
};

/// Everything by which a test's calls broke its rules: the report that a [`FakeBroker`](crate::FakeBroker) panics
/// with when it is dropped.
#[derive(Clone, PartialEq, Eq)]
pub struct Violations {
    count: u64,
    report: String,
}

impl Violations {
    /// How many there are.
    pub fn count(&self) -> u64 {
        self.count
    }
}

impl fmt::Display for Violations {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.report)
    }
}

/// The report itself, so that `unwrap` and `?` in a test show it readably.
impl fmt::Debug for Violations {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.report)
    }
}

impl std::error::Error for Violations {}

/// Violations as they happen; the rest is only known at the end.
#[derive(Debug, Default)]
pub(crate) struct Findings {
    found: Vec<Finding>,
    count: u64,
}

/// Violations that are alike.
#[derive(Debug)]
struct Finding {
    subject: String,
    heading: String,
    details: String,
    times: u64,
}

/// Most different findings kept; more are only counted.
const MAX_FINDINGS: usize = 100;
/// Most findings shown in a report.
const SHOWN_FINDINGS: usize = 10;
/// Most lines of the timeline shown in a report.
const SHOWN_EVENTS: usize = 20;

impl Findings {
    pub(crate) fn unmatched(&mut self, call: &Call, answered: &str, nearest: &Nearest) {
        let heading = format!("unmatched call #{} {call} at {}", call.number, seconds(call.at));
        let mut details = near_miss(call, nearest);
        // Calls that differ in their context only are told apart by how they miss.
        let subject = format!("{call}\n{details}");
        let _ = writeln!(
            details,
            "   the caller was answered {answered}; a cache may have hidden this from your assertions\n   \
             to allow it: {}",
            suggestion(call)
        );
        self.add(subject, heading, details);
    }

    pub(crate) fn out_of_order(&mut self, call: &Call, due: &str) {
        let heading = format!("call #{} {call} came before its turn", call.number);
        let details = format!("   recorded before it: {due}\n   to allow any order: Matching::Unordered\n");
        self.add(format!("{call} before {due}"), heading, details);
    }

    pub(crate) fn unreadable(&mut self, number: u64, route: &str, consequence: &str) {
        let heading = format!("call #{number} of {route} is no nameko request");
        let details = format!(
            "   a request's body is {{\"args\": [..], \"kwargs\": {{..}}}}; a nameko service {consequence}\n"
        );
        self.add(format!("unreadable {route}"), heading, details);
    }

    pub(crate) fn handler_panicked(&mut self, call: &Call, rule: &str, message: &str) {
        let heading = format!(
            "the handler of rule {rule} panicked on call #{} {call}",
            call.number
        );
        self.add(heading.clone(), heading, format!("   {message}\n"));
    }

    fn add(&mut self, subject: String, heading: String, details: String) {
        self.count += 1;
        if let Some(same) = self.found.iter_mut().find(|finding| finding.subject == subject) {
            same.times += 1;
        } else if self.found.len() < MAX_FINDINGS {
            self.found.push(Finding {
                subject,
                heading,
                details,
                times: 1,
            });
        }
    }

    /// The report, or `None` if all is well.
    pub(crate) fn report(&self, script: &Script, log: &mut Log) -> Option<Violations> {
        let mut entries = unmet(script);
        let count = self.count + entries.len() as u64;
        if count == 0 {
            return None;
        }
        entries.extend(self.found.iter().map(|finding| {
            let again = if finding.times > 1 {
                format!(" ({} times)", finding.times)
            } else {
                String::new()
            };
            format!("{}{again}\n{}", finding.heading, finding.details)
        }));
        Some(Violations {
            count,
            report: text(count, &entries, script, log),
        })
    }
}

/// Rules that saw too few or too many calls, or have no answer.
fn unmet(script: &Script) -> Vec<String> {
    let mut entries = Vec::new();
    for rule in &script.rules {
        if rule.steps.is_empty() {
            entries.push(format!(
                "rule {rule} has no answer\n   end it with .reply(..), or another answer\n"
            ));
        } else if !rule.expected.contains(rule.seen) {
            let saw = if rule.seen == 0 {
                "none".to_owned()
            } else {
                rule.seen.to_string()
            };
            entries.push(format!("rule {rule} expected {}, saw {saw}\n", rule.expected));
        }
    }
    let left = script.pushed.waiting.iter();
    entries.extend(left.map(|push| format!("{push}\n   what this test is about has not happened\n")));
    entries
}

fn text(count: u64, entries: &[String], script: &Script, log: &mut Log) -> String {
    let violations = if count == 1 {
        "1 violation".to_owned()
    } else {
        format!("{count} violations")
    };
    let mut text = format!(
        "fake broker: {violations}   (seed {}, time {}, {} seen)\n",
        script.seed,
        seconds(log.now()),
        calls(log.total()),
    );
    for (i, entry) in entries.iter().take(SHOWN_FINDINGS).enumerate() {
        let _ = write!(text, "\n{}. {entry}", i + 1);
    }
    if entries.len() > SHOWN_FINDINGS {
        let _ = write!(
            text,
            "\n.. and {} more of other kinds\n",
            entries.len() - SHOWN_FINDINGS
        );
    }
    match log.events() {
        0 => text.push_str("\ntimeline: nothing happened\n"),
        n if n <= SHOWN_EVENTS => text.push_str("\ntimeline:\n"),
        n => drop(writeln!(
            text,
            "\ntimeline: the last {SHOWN_EVENTS} of {n} lines (all of it: `broker.timeline()`)"
        )),
    }
    text + &log.timeline(SHOWN_EVENTS)
}

fn near_miss(call: &Call, nearest: &Nearest) -> String {
    match nearest {
        Nearest::NoRules => "   the broker has no rules at all\n".to_owned(),
        Nearest::OtherRoute { rule } => {
            format!("   no rule is for {}; the nearest is {rule}\n", call.route)
        }
        Nearest::Differs { rule, lines } if lines.iter().all(|line| line.ok) => {
            format!("   rule {rule} matches, but has no answer\n")
        }
        Nearest::Differs { rule, lines } => format!("   nearest rule {rule}\n{}", table(lines)),
    }
}

fn table(lines: &[Comparison]) -> String {
    let width = |of: fn(&Comparison) -> &str| {
        lines
            .iter()
            .map(|line| of(line).chars().count())
            .max()
            .unwrap_or(0)
    };
    let (what, expected, got) = (width(|l| &l.what), width(|l| &l.expected), width(|l| &l.got));
    let mut text = String::new();
    for line in lines {
        let verdict = if line.ok { "ok" } else { "<-- differs" };
        let _ = writeln!(
            text,
            "      {:what$}  expected {:expected$}  got {:got$}  {verdict}",
            line.what, line.expected, line.got
        );
    }
    text
}

/// The rule that would have matched, as Rust.
fn suggestion(call: &Call) -> String {
    let literal = |value: &Value| match value {
        Value::Array(_) | Value::Object(_) | Value::Null => format!("json!({})", shown(value)),
        plain => shown(plain),
    };
    let positional = call.args.iter().map(literal);
    let keyword = call
        .kwargs
        .iter()
        .map(|(name, value)| format!("{name} = {}", literal(value)));
    let args: Vec<String> = positional.chain(keyword).collect();
    format!(
        "broker.on(\"{}\").with(args![{}]).reply(..)",
        call.route,
        args.join(", ")
    )
}

fn seconds(at: Duration) -> String {
    format!("{}.{:03} s", at.as_secs(), at.subsec_millis())
}
