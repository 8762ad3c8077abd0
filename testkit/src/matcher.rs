//! Which calls a rule is for, and how a call that it isn't for differs.

use std::{
    collections::BTreeMap,
    fmt,
    panic::{AssertUnwindSafe, catch_unwind},
};

use serde_json::{Map, Value};

use crate::{Call, call::shown};

/// What a rule asks of a call, beyond its route. Whatever is `None` or absent matches anything.
#[derive(Default)]
pub(crate) struct Matcher {
    pub(crate) args: Option<Vec<Value>>,
    pub(crate) kwargs: Option<Map<String, Value>>,
    pub(crate) context: BTreeMap<String, Value>,
    pub(crate) conditions: Vec<(String, Condition)>,
}

/// A condition that the test wrote.
pub(crate) type Condition = Box<dyn Fn(&Call) -> bool + Send>;

impl Matcher {
    pub(crate) fn matches(&self, call: &Call) -> bool {
        self.args.as_ref().is_none_or(|args| *args == call.args)
            && self.kwargs.as_ref().is_none_or(|kwargs| *kwargs == call.kwargs)
            && self
                .context
                .iter()
                .all(|(key, value)| call.context.get(key) == Some(value))
            && self
                .conditions
                .iter()
                .all(|(_, condition)| tried(condition, call) == Ok(true))
    }

    /// One line per argument, context key and condition: what was expected, what came.
    pub(crate) fn compare(&self, call: &Call) -> Vec<Comparison> {
        let mut lines = Vec::new();
        let expected_args = self.args.as_deref();
        for i in 0..call.args.len().max(expected_args.map_or(0, <[_]>::len)) {
            let expected = expected_args.map(|args| args.get(i));
            lines.push(Comparison::new(format!("args[{i}]"), expected, call.args.get(i)));
        }
        let no_names = Map::new();
        let mut names: Vec<&String> = self.kwargs.as_ref().unwrap_or(&no_names).keys().collect();
        names.extend(call.kwargs.keys());
        names.sort_unstable();
        names.dedup();
        for name in names {
            let expected = self.kwargs.as_ref().map(|kwargs| kwargs.get(name));
            lines.push(Comparison::new(
                format!("kwargs.{name}"),
                expected,
                call.kwargs.get(name),
            ));
        }
        for (key, value) in &self.context {
            lines.push(Comparison::new(
                format!("context.{key}"),
                Some(Some(value)),
                call.context.get(key),
            ));
        }
        for (name, condition) in &self.conditions {
            let outcome = tried(condition, call);
            let got = outcome.map_or_else(|panicked| panicked.to_owned(), |holds| holds.to_string());
            lines.push(Comparison {
                what: name.clone(),
                expected: "true".into(),
                got,
                ok: outcome == Ok(true),
            });
        }
        lines
    }
}

impl fmt::Debug for Matcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Matcher")
            .field("args", &self.args)
            .field("kwargs", &self.kwargs)
            .field("context", &self.context)
            .field(
                "conditions",
                &self.conditions.iter().map(|(name, _)| name).collect::<Vec<_>>(),
            )
            .finish()
    }
}

/// Tries a condition. One that panics, say on an argument that isn't there, doesn't hold.
fn tried(condition: &Condition, call: &Call) -> Result<bool, &'static str> {
    catch_unwind(AssertUnwindSafe(|| condition(call))).map_err(|_| "panicked")
}

/// One line of a near miss.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Comparison {
    pub(crate) what: String,
    pub(crate) expected: String,
    pub(crate) got: String,
    pub(crate) ok: bool,
}

impl Comparison {
    /// `expected` is `None` where anything goes, and `Some(None)` where nothing may be.
    fn new(what: String, expected: Option<Option<&Value>>, got: Option<&Value>) -> Self {
        let text = |value: Option<&Value>| value.map_or_else(|| "nothing".to_owned(), shown);
        Self {
            what,
            ok: expected.is_none_or(|expected| expected == got),
            expected: expected.map_or_else(|| "(any)".to_owned(), text),
            got: text(got),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use nameko_cachetools::{Request, Route};
    use serde_json::json;
    use std::time::Duration;

    fn call(body: &'static str) -> Call {
        let mut request = Request::new(Route::new("products", "get").unwrap(), body);
        request.headers.push(("nameko.language".into(), json!("sv")));
        Call::read(1, Duration::ZERO, 1, request).unwrap()
    }

    #[test]
    fn each_part_matches_exactly_or_not_at_all() {
        let call = call(r#"{"args": [7], "kwargs": {"lang": "sv"}}"#);
        assert!(Matcher::default().matches(&call));
        let args = |args: Vec<Value>| {
            Matcher {
                args: Some(args),
                ..Matcher::default()
            }
            .matches(&call)
        };
        assert!(args(vec![json!(7)]));
        assert!(
            !args(vec![json!(7.0)])
                && !args(vec![json!("7")])
                && !args(vec![])
                && !args(vec![json!(7), json!(8)])
        );
        let kwargs = |value: Value| {
            Matcher {
                kwargs: value.as_object().cloned(),
                ..Matcher::default()
            }
            .matches(&call)
        };
        assert!(kwargs(json!({"lang": "sv"})));
        assert!(!kwargs(json!({})) && !kwargs(json!({"lang": "sv", "x": null})));
        let context = |key: &str, value: Value| {
            Matcher {
                context: BTreeMap::from([(key.to_owned(), value)]),
                ..Matcher::default()
            }
            .matches(&call)
        };
        assert!(context("language", json!("sv")));
        assert!(!context("language", json!("en")) && !context("user_id", json!(1)));
    }

    #[test]
    fn a_near_miss_names_each_part() {
        let matcher = Matcher {
            args: Some(vec![json!(7), json!(1)]),
            context: BTreeMap::from([("user_id".to_owned(), json!(3))]),
            conditions: vec![("is polite".to_owned(), Box::new(|_| false))],
            ..Matcher::default()
        };
        let lines = matcher.compare(&call(r#"{"args": [8], "kwargs": {"lang": "sv"}}"#));
        let line = |what: &str, expected: &str, got: &str, ok| Comparison {
            what: what.into(),
            expected: expected.into(),
            got: got.into(),
            ok,
        };
        assert_eq!(
            lines,
            [
                line("args[0]", "7", "8", false),
                line("args[1]", "1", "nothing", false),
                line("kwargs.lang", "(any)", "\"sv\"", true),
                line("context.user_id", "3", "nothing", false),
                line("is polite", "true", "false", false),
            ]
        );
    }
}
