//! The script: rules as TOML.

use std::time::Duration;

use nameko_cachetools::Route;
use nameko_cachetools_testkit::{Answer, FakeBroker, When};
use serde::Deserialize;
use serde_json::{Map, Value};
use toml::Spanned;

/// A whole file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Script {
    /// What it was read from.
    #[serde(skip)]
    text: String,
    #[serde(default)]
    pub(crate) seed: u64,
    #[serde(default = "nameko_rpc")]
    pub(crate) rpc_exchange: String,
    #[serde(default)]
    on: Vec<On>,
}

/// One rule.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct On {
    call: Spanned<String>,
    args: Option<Vec<Value>>,
    kwargs: Option<Map<String, Value>>,
    #[serde(default)]
    context: Map<String, Value>,
    expect: Option<u64>,
    after_ms: Option<After>,
    reply: Option<Value>,
    error: Option<Raised>,
    fault: Option<Fault>,
    sequence: Option<Vec<Step>>,
}

/// One answer of a sequence.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Step {
    after_ms: Option<u64>,
    reply: Option<Value>,
    error: Option<Raised>,
    fault: Option<Fault>,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum After {
    Always(u64),
    Between(u64, u64),
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Raised {
    #[serde(rename = "type")]
    exc_type: String,
    #[serde(default)]
    text: String,
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Fault {
    Never,
    UnknownService,
    Nack,
    Disconnect,
}

impl Script {
    /// Reads a file, and checks that each rule has one answer.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let values: toml::Table = toml::from_str(text).map_err(|error| error.to_string())?;
        values.values().try_for_each(is_json)?;
        let mut script: Self = toml::from_str(text).map_err(|error| error.to_string())?;
        script.text = text.to_owned();
        for on in &script.on {
            on.answers()?;
            on.is_routable()?;
            if let Some(After::Between(least, most)) = on.after_ms
                && least > most
            {
                let call = on.call.get_ref();
                return Err(format!(
                    "after_ms = [{least}, {most}] for {call}: the shorter comes first"
                ));
            }
        }
        Ok(script)
    }

    /// Makes its rules, in order; `file` is where they are, for reports.
    pub(crate) fn play_on(self, broker: &FakeBroker, file: &str) {
        for on in self.on {
            let Ok(answers) = on.answers() else {
                continue; // `parse` has checked it
            };
            let line = 1 + self.text[..on.call.span().start].matches('\n').count();
            let mut rule = broker.on(on.call.get_ref()).located(format!("{file}:{line}"));
            if let Some(args) = on.args {
                rule = rule.args(args);
            }
            if let Some(kwargs) = on.kwargs {
                rule = rule.kwargs(kwargs);
            }
            for (key, value) in on.context {
                rule = rule.context(&key, value);
            }
            if let Some(times) = on.expect {
                rule = rule.expect(times);
            }
            rule = match on.after_ms {
                Some(After::Always(ms)) => rule.after(Duration::from_millis(ms)),
                Some(After::Between(least, most)) => {
                    rule.after(Duration::from_millis(least)..=Duration::from_millis(most))
                }
                None => rule,
            };
            rule.sequence(answers);
        }
    }
}

impl On {
    /// Whether nameko has such names; `*` stands for any.
    fn is_routable(&self) -> Result<(), String> {
        let call = self.call.get_ref();
        let parts = if call == "*" {
            Some(("*", "*"))
        } else {
            call.rsplit_once('.')
        };
        let (service, method) = parts.ok_or_else(|| format!("call = {call:?}: write \"service.method\""))?;
        let name = |part: &str| {
            if part == "*" {
                "any".to_owned()
            } else {
                part.to_owned()
            }
        };
        match Route::new(name(service), name(method)) {
            Ok(_) => Ok(()),
            Err(error) => Err(format!("call = {call:?}: {error}")),
        }
    }

    fn answers(&self) -> Result<Vec<Answer>, String> {
        let own = answer(self.reply.as_ref(), self.error.as_ref(), self.fault);
        let answers = match (own, &self.sequence) {
            (Some(one), None) => vec![one?],
            (None, Some(steps)) => steps.iter().map(Step::answer).collect::<Result<_, _>>()?,
            _ => {
                let call = self.call.get_ref();
                return Err(format!("the rule for {call} {ONE_ANSWER}, or sequence"));
            }
        };
        if answers.is_empty() {
            return Err(format!("the sequence for {} is empty", self.call.get_ref()));
        }
        Ok(answers)
    }
}

impl Step {
    fn answer(&self) -> Result<Answer, String> {
        let answer = answer(self.reply.as_ref(), self.error.as_ref(), self.fault)
            .unwrap_or_else(|| Err(format!("a step of a sequence {ONE_ANSWER}")))?;
        Ok(match self.after_ms {
            Some(ms) => answer.after(Duration::from_millis(ms)),
            None => answer,
        })
    }
}

/// The one of the three that is there, if any is.
fn answer(
    reply: Option<&Value>,
    error: Option<&Raised>,
    fault: Option<Fault>,
) -> Option<Result<Answer, String>> {
    Some(Ok(match (reply, error, fault) {
        (Some(value), None, None) => Answer::ok(value),
        (None, Some(raised), None) => Answer::error(&raised.exc_type, &raised.text),
        (None, None, Some(Fault::Never)) => Answer::never(),
        (None, None, Some(Fault::UnknownService)) => Answer::unknown_service(),
        (None, None, Some(Fault::Nack)) => Answer::nack(),
        (None, None, Some(Fault::Disconnect)) => Answer::disconnect(When::AfterSend),
        (None, None, None) => return None,
        _ => return Some(Err(format!("an answer {ONE_ANSWER}, not several"))),
    }))
}

/// Whether JSON has a value for it: a date or `nan` would become another.
fn is_json(value: &toml::Value) -> Result<(), String> {
    match value {
        toml::Value::Datetime(date) => Err(format!("JSON has no dates: write \"{date}\", a text")),
        toml::Value::Float(number) if !number.is_finite() => Err(format!("JSON has no {number}")),
        toml::Value::Array(items) => items.iter().try_for_each(is_json),
        toml::Value::Table(members) => members.values().try_for_each(is_json),
        _ => Ok(()),
    }
}

fn nameko_rpc() -> String {
    "nameko-rpc".to_owned()
}

const ONE_ANSWER: &str = "needs one of reply, error, fault";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::options::HELP;

    /// The script of the help text, which must not lie.
    #[test]
    fn the_help_shows_a_script_that_works() {
        let script: String = HELP
            .lines()
            .filter_map(|line| line.strip_prefix("    "))
            .map(|line| format!("{line}\n"))
            .collect();
        let script = Script::parse(&script).unwrap();
        assert_eq!((script.seed, script.on.len()), (7, 3));
        let broker = FakeBroker::new();
        script.play_on(&broker, "help.toml");
        let violations = broker.verify().unwrap_err(); // nobody calls what it expects
        assert_eq!(violations.count(), 1);
        assert!(
            violations
                .to_string()
                .contains("(help.toml:4) expected exactly 1 call"),
            "{violations}"
        );
    }

    #[test]
    fn mistakes_are_named() {
        let mistake = |text: &str| Script::parse(text).unwrap_err();
        assert!(mistake("[[on]]\ncall = \"a.b\"").contains("a.b needs one of"));
        assert!(mistake("[[on]]\ncall = \"a.b\"\nreply = 1\nfault = \"nack\"").contains("not several"));
        assert!(mistake("[[on]]\ncall = \"ab\"\nreply = 1").contains("service.method"));
        assert!(mistake("[[on]]\ncall = \"a.b\"\nreply = 1\nreplay = 2").contains("replay"));
        assert!(mistake("[[on]]\ncall = \"a.b\"\nsequence = []").contains("empty"));
        assert!(mistake("[[on]]\ncall = \"a.\"\nreply = 1").starts_with("call = \"a.\": "));
        assert!(mistake("[[on]]\ncall = \"a.b\"\nreply = 1\nafter_ms = [3, 2]").contains("shorter"));
        assert!(mistake("[[on]]\ncall = \"a.b\"\nreply = 2020-01-01").contains("date"));
        assert!(mistake("[[on]]\ncall = \"a.b\"\nreply = [nan]").contains("NaN"));
        for call in ["*", "a.*", "*.b"] {
            assert!(Script::parse(&format!("[[on]]\ncall = \"{call}\"\nreply = 1")).is_ok());
        }
    }
}
