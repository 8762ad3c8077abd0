//! What doesn't get into a cassette.

use std::collections::BTreeSet;

use nameko_cachetools::Route;

use super::json::{Json, quoted};
use crate::{call::context_key, target::Target};

/// Members whose name contains one of these, in any case, are redacted.
pub const SECRET_NAMES: &[&str] = &[
    "password",
    "passwd",
    "passphrase",
    "secret",
    "token",
    "authorization",
    "api_key",
    "apikey",
    "private_key",
    "credential",
    "cookie",
    "session",
];

/// What stands for a redacted value.
pub(crate) const BLANK: &str = "<redacted>";

/// Which values of a recording are redacted.
#[derive(Debug, Clone, Default)]
pub(crate) struct Redaction {
    /// Names of members, beside those of secrets; in lower case.
    pub(crate) names: BTreeSet<String>,
    pub(crate) args: Vec<(Target, usize)>,
    /// Names of members and keys of the context that are kept, whatever else is said; in lower case.
    pub(crate) kept: BTreeSet<String>,
}

impl Redaction {
    /// Whether the context's `key` says who asks.
    pub(crate) fn hides_context(&self, key: &str) -> bool {
        let key = context_key(key).to_lowercase();
        key != "language" && !self.kept.contains(&key)
    }

    pub(crate) fn hides_arg(&self, route: &Route, position: usize) -> bool {
        self.args
            .iter()
            .any(|(target, hidden)| *hidden == position && target.covers(route))
    }

    /// Whether a reply's header says who asked, or is named like a secret.
    pub(crate) fn hides_header(&self, name: &str) -> bool {
        self.hides(name) || name.starts_with("nameko.") && self.hides_context(name)
    }

    pub(crate) fn hides(&self, name: &str) -> bool {
        let name = name.to_lowercase();
        !self.kept.contains(&name)
            && (self.names.contains(&name) || SECRET_NAMES.iter().any(|secret| name.contains(secret)))
    }
}

/// The redacted values of a recording so far, to find them where they are quoted.
#[derive(Debug, Default)]
pub(crate) struct Secrets(BTreeSet<String>);

/// What is nested deeper isn't walked.
const MOST_LEVELS: usize = 100;

/// Shorter texts are not looked for: they are in too many words.
const LEAST_CHARS: usize = 4;

impl Secrets {
    /// All texts within a redacted value.
    pub(crate) fn add(&mut self, json: &str) {
        self.add_within(json, 0);
    }

    fn add_within(&mut self, json: &str, level: usize) {
        match Json::read(json) {
            Some(Json::Text(text)) if text.chars().count() >= LEAST_CHARS && text != BLANK => {
                self.0.insert(text);
            }
            Some(Json::Plain(number)) if number.len() >= LEAST_CHARS && is_number(number) => {
                self.0.insert(number.to_owned());
            }
            Some(Json::Array(items)) if level < MOST_LEVELS => {
                items
                    .into_iter()
                    .for_each(|item| self.add_within(item, level + 1));
            }
            Some(Json::Object(members)) if level < MOST_LEVELS => {
                members
                    .into_iter()
                    .for_each(|(_, value)| self.add_within(value, level + 1));
            }
            _ => {}
        }
    }

    /// Adds what `redaction` hides within a value that is kept.
    pub(crate) fn collect(&mut self, json: &str, redaction: &Redaction) {
        if !is_too_deep(json) {
            self.collect_within(json, redaction);
        }
    }

    fn collect_within(&mut self, json: &str, redaction: &Redaction) {
        match Json::read(json) {
            Some(Json::Object(members)) => {
                for (name, value) in members {
                    if redaction.hides(&name) {
                        self.add(value);
                    } else {
                        self.collect_within(value, redaction);
                    }
                }
            }
            Some(Json::Array(items)) => items
                .into_iter()
                .for_each(|item| self.collect_within(item, redaction)),
            _ => {}
        }
    }

    /// Whether `text` quotes one of them.
    fn are_in(&self, text: &str) -> bool {
        self.0.iter().any(|secret| text.contains(secret.as_str()))
    }

    /// The value without what is hidden in it, as one line of text, its members sorted if `sorted`. `None` if it is no
    /// JSON, or nested deeper than 100 levels.
    pub(crate) fn without(&self, json: &str, redaction: &Redaction, sorted: bool) -> Option<String> {
        if is_too_deep(json) {
            return None;
        }
        self.without_within(json, redaction, sorted)
    }

    fn without_within(&self, json: &str, redaction: &Redaction, sorted: bool) -> Option<String> {
        let inner = |json: &str| self.without_within(json, redaction, sorted);
        match Json::read(json)? {
            Json::Object(mut members) => {
                if sorted {
                    members.sort();
                }
                let member = |(name, value): (String, &str)| {
                    let hidden = redaction.hides(&name);
                    let value = if hidden { Some(quoted(BLANK)) } else { inner(value) }?;
                    Some(format!("{}: {value}", self.text(name)))
                };
                let members: Option<Vec<String>> = members.into_iter().map(member).collect();
                Some(format!("{{{}}}", members?.join(", ")))
            }
            Json::Array(items) => {
                let items: Option<Vec<String>> = items.into_iter().map(inner).collect();
                Some(format!("[{}]", items?.join(", ")))
            }
            Json::Text(text) => Some(self.text(text)),
            Json::Plain(plain) => Some(plain.to_owned()),
        }
    }

    fn text(&self, text: String) -> String {
        quoted(if self.are_in(&text) { BLANK } else { &text })
    }
}

/// Whether JSON is nested deeper than is walked: found at one go, where a walk reads what is within at each level.
pub(crate) fn is_too_deep(json: &str) -> bool {
    let (mut level, mut is_text, mut is_escaped) = (0_usize, false, false);
    for octet in json.bytes() {
        match octet {
            _ if is_escaped => is_escaped = false,
            b'\\' => is_escaped = is_text,
            b'"' => is_text = !is_text,
            b'[' | b'{' if !is_text => level += 1,
            b']' | b'}' if !is_text => level = level.saturating_sub(1),
            _ => {}
        }
        if level > MOST_LEVELS {
            return true;
        }
    }
    false
}

/// Whether it is none of `true`, `false`, `null` and broken texts.
fn is_number(plain: &str) -> bool {
    plain.starts_with(|first: char| first == '-' || first.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn redacted(json: &str) -> String {
        let (mut secrets, redaction) = (Secrets::default(), Redaction::default());
        secrets.collect(json, &redaction);
        secrets.without(json, &redaction, false).unwrap()
    }

    #[test]
    fn secrets_are_found_by_name_at_any_depth_and_where_they_are_quoted() {
        assert_eq!(
            redacted(r#"{"a": [{"Db_Password": "hunter2", "user": "tess"}], "log": "user tess/hunter2 ok"}"#),
            r#"{"a": [{"Db_Password": "<redacted>", "user": "tess"}], "log": "<redacted>"}"#
        );
        assert_eq!(
            redacted(r#"[{"tokens": {"a": ["canary-1", 7]}}, "canary-1", {"canary-1": 1}, "canary-2"]"#),
            r#"[{"tokens": "<redacted>"}, "<redacted>", {"<redacted>": 1}, "canary-2"]"#
        );
        assert_eq!(
            redacted(r#"[{"token": {"pin": 92741, "used": true, "n": 1}}, "pin 92741", 92741, "true", "1"]"#),
            r#"[{"token": "<redacted>"}, "<redacted>", 92741, "true", "1"]"#
        );
    }

    #[test]
    fn nothing_else_is_changed() {
        let json = r#"{"z": 36893488147419103232, "a": 1.10, "e": 1E5, "t": "\u00e9\ud83d\ude00", "l": "\ud800", "n": null}"#;
        assert_eq!(
            redacted(json),
            r#"{"z": 36893488147419103232, "a": 1.10, "e": 1E5, "t": "é😀", "l": "\ud800", "n": null}"#
        );
    }

    #[test]
    fn what_is_kept_by_name_is_kept() {
        let redaction = Redaction {
            kept: BTreeSet::from(["tokens_used".to_owned(), "tenant".to_owned()]),
            names: BTreeSet::from(["card".to_owned()]),
            ..Redaction::default()
        };
        assert!(!redaction.hides("tokens_used") && redaction.hides("token") && redaction.hides("Card"));
        assert!(!redaction.hides_context("nameko.tenant") && !redaction.hides_context("language"));
        assert!(redaction.hides_context("nameko.user_id") && redaction.hides_context("anything"));
    }

    #[test]
    fn what_is_too_deep_or_no_json_is_not_written() {
        let secrets = Secrets::default();
        let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        let without = |json: &str| secrets.without(json, &Redaction::default(), false);
        assert!(without(&nested(100)).is_some());
        assert!(without(&nested(101)).is_none() && without(&nested(100_000)).is_none());
        assert!(without(&format!("\"{}\\\"{}\"", "[".repeat(200), "{".repeat(200))).is_some());
        assert!(without("NaN").is_none() && without("{").is_none() && without("").is_none());
    }
}
