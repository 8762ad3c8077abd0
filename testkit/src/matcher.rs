//! Which calls a rule is for, and how a call that it isn't for differs.

use std::{
    collections::BTreeMap,
    fmt,
    panic::{AssertUnwindSafe, catch_unwind},
};

use serde_json::{Map, Value};

use crate::{
    Call,
    call::{Arguments, shown},
    difference::{Blank, Comparison, compare, is_same, names},
};

/// What a rule asks of a call, beyond its route. Whatever is `None` or absent matches anything.
#[derive(Default)]
pub(crate) struct Matcher {
    /// All positional arguments.
    pub(crate) args: Option<Vec<Value>>,
    /// All keyword arguments.
    pub(crate) kwargs: Option<Map<String, Value>>,
    /// Single positional arguments.
    pub(crate) positions: BTreeMap<usize, Value>,
    /// Single keyword arguments.
    pub(crate) named: BTreeMap<String, Value>,
    pub(crate) context: BTreeMap<String, Value>,
    pub(crate) conditions: Vec<(String, Condition)>,
    pub(crate) blank: Blank,
}

/// A condition on a call; the error says what it found in place of `true`.
pub(crate) type Condition = Box<dyn Fn(&Call) -> Result<(), String> + Send>;

impl Matcher {
    pub(crate) fn matches(&self, call: &Call) -> bool {
        let same = |expected: &Value, got: Option<&Value>| is_same(Some(expected), got, self.blank);
        self.args.as_ref().is_none_or(|args| {
            args.len() == call.args.len() && args.iter().zip(&call.args).all(|(e, g)| same(e, Some(g)))
        }) && self.kwargs.as_ref().is_none_or(|kwargs| {
            kwargs.len() == call.kwargs.len() && kwargs.iter().all(|(name, e)| same(e, call.kwargs.get(name)))
        }) && self.positions.iter().all(|(i, e)| same(e, call.args.get(*i)))
            && self.named.iter().all(|(name, e)| same(e, call.kwargs.get(name)))
            && self.context.iter().all(|(key, e)| same(e, call.context.get(key)))
            && self
                .conditions
                .iter()
                .all(|(_, condition)| tried(condition, call).is_ok())
    }

    /// What was expected and what came: at least one line per argument, context key and condition.
    pub(crate) fn compare(&self, call: &Call) -> Vec<Comparison> {
        let mut lines = Vec::new();
        let mut part =
            |what: String, expected: Option<Option<&Value>>, got: Option<&Value>| match (expected, got) {
                (None, None) => {}
                (None, Some(got)) => lines.push(Comparison::any(what, got)),
                (Some(expected), got) => lines.extend(compare(&what, expected, got, self.blank)),
            };
        let positions = self.positions.keys().next_back().map_or(0, |last| last + 1);
        let count = self.args.as_ref().map_or(positions, Vec::len);
        for i in 0..count.max(call.args.len()) {
            let expected = match &self.args {
                Some(args) => Some(args.get(i)),
                None => self.positions.get(&i).map(Some),
            };
            part(format!("args[{i}]"), expected, call.args.get(i));
        }
        let asked = match &self.kwargs {
            Some(kwargs) => kwargs.clone(),
            None => self.named.clone().into_iter().collect(),
        };
        for name in names(&asked, &call.kwargs) {
            let expected = match &self.kwargs {
                Some(kwargs) => Some(kwargs.get(name)),
                None => self.named.get(name).map(Some),
            };
            part(format!("kwargs.{name}"), expected, call.kwargs.get(name));
        }
        for (key, value) in &self.context {
            part(format!("context.{key}"), Some(Some(value)), call.context.get(key));
        }
        for (name, condition) in &self.conditions {
            let outcome = tried(condition, call);
            lines.push(Comparison {
                what: name.clone(),
                expected: "true".into(),
                ok: outcome.is_ok(),
                got: outcome.err().unwrap_or_else(|| "true".to_owned()),
            });
        }
        lines
    }
}

/// The arguments it asks for, as they would stand in Python: `"o1", .., currency="EUR"`.
impl fmt::Display for Matcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut parts = match &self.args {
            Some(args) => args.iter().map(shown).collect(),
            None => {
                let last = self.positions.keys().next_back();
                let position = |i| self.positions.get(&i).map_or_else(|| "_".to_owned(), shown);
                last.map_or_else(Vec::new, |last| (0..=*last).map(position).collect())
            }
        };
        let no_args = Vec::new();
        let keyword = |kwargs: &Map<String, Value>| Arguments(&no_args, kwargs).to_string();
        match (&self.kwargs, &self.args) {
            (None, _) => {
                let named: Map<String, Value> = self.named.clone().into_iter().collect();
                parts.extend((!named.is_empty()).then(|| keyword(&named)));
                parts.push("..".to_owned());
            }
            (Some(kwargs), args) => {
                parts.extend(args.is_none().then(|| "..".to_owned()));
                parts.extend((!kwargs.is_empty()).then(|| keyword(kwargs)));
            }
        }
        f.write_str(&parts.join(", "))
    }
}

impl fmt::Debug for Matcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let conditions: Vec<_> = self.conditions.iter().map(|(name, _)| name).collect();
        f.debug_struct("Matcher")
            .field("arguments", &self.to_string())
            .field("context", &self.context)
            .field("conditions", &conditions)
            .finish_non_exhaustive()
    }
}

/// Tries a condition. One that panics, say on an argument that isn't there, doesn't hold.
fn tried(condition: &Condition, call: &Call) -> Result<(), String> {
    catch_unwind(AssertUnwindSafe(|| condition(call))).unwrap_or_else(|_| Err("panicked".to_owned()))
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
            conditions: vec![("is polite".to_owned(), Box::new(|_| Err("false".to_owned())))],
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

    #[test]
    fn single_arguments_leave_the_others_open() {
        let call = call(r#"{"args": [7, 8], "kwargs": {"lang": "sv", "page": 2}}"#);
        let matcher = |position: usize, value: Value, name: &str| Matcher {
            positions: BTreeMap::from([(position, value)]),
            named: BTreeMap::from([(name.to_owned(), json!(2))]),
            ..Matcher::default()
        };
        assert!(matcher(1, json!(8), "page").matches(&call));
        assert!(!matcher(0, json!(8), "page").matches(&call));
        assert!(!matcher(2, json!(null), "page").matches(&call));
        assert!(!matcher(1, json!(8), "size").matches(&call));
        let wrong: Vec<_> = matcher(2, json!(9), "size")
            .compare(&call)
            .into_iter()
            .filter(|line| !line.ok)
            .map(|line| line.what)
            .collect();
        assert_eq!(wrong, ["args[2]", "kwargs.size"]);
    }

    #[test]
    fn a_matcher_reads_as_python() {
        let shown = |change: fn(&mut Matcher)| {
            let mut matcher = Matcher::default();
            change(&mut matcher);
            matcher.to_string()
        };
        assert_eq!(shown(|_| {}), "..");
        assert_eq!(
            shown(|m| m.args = Some(vec![json!(1), json!("x")])),
            r#"1, "x", .."#
        );
        assert_eq!(shown(|m| m.args = Some(vec![])), "..");
        assert_eq!(
            shown(|m| (m.args, m.kwargs) = (Some(vec![]), Some(Map::new()))),
            ""
        );
        assert_eq!(
            shown(|m| m.kwargs = json!({"a": 1}).as_object().cloned()),
            ".., a=1"
        );
        assert_eq!(
            shown(|m| {
                m.positions.insert(1, json!(7));
                m.named.insert("a".into(), json!(2));
            }),
            "_, 7, a=2, .."
        );
    }
}
