//! How what came differs from what was expected.

use serde_json::{Map, Value};

use crate::call::shown;

/// One line of a near miss.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Comparison {
    pub(crate) what: String,
    pub(crate) expected: String,
    pub(crate) got: String,
    pub(crate) ok: bool,
}

impl Comparison {
    /// A part that may be anything.
    pub(crate) fn any(what: String, got: &Value) -> Self {
        Self {
            what,
            expected: "(any)".to_owned(),
            got: shown(got),
            ok: true,
        }
    }

    fn new(what: String, expected: Option<&Value>, got: Option<&Value>) -> Self {
        let text = |value: Option<&Value>| value.map_or_else(|| "nothing".to_owned(), shown);
        Self {
            what,
            ok: expected == got,
            expected: text(expected),
            got: text(got),
        }
    }
}

/// Compares one part, `None` being nothing: one line if it is equal, else one for each place in it that isn't.
pub(crate) fn compare(
    what: &str,
    expected: Option<&Value>,
    got: Option<&Value>,
    blank: Blank,
) -> Vec<Comparison> {
    let mut lines = Vec::new();
    if is_same(expected, got, blank) {
        let mut line = Comparison::new(what.to_owned(), expected, got);
        line.ok = true;
        return vec![line];
    }
    descend(what, expected, got, blank, &mut lines);
    if lines.len() > MOST_LINES {
        let more = lines.len() - MOST_LINES;
        lines.truncate(MOST_LINES);
        lines.push(Comparison {
            what: format!("{what} .."),
            expected: format!("{more} more places"),
            got: String::new(),
            ok: false,
        });
    }
    lines
}

/// The text that stands for anything, if there is one: what a cassette has for a value it doesn't keep.
pub(crate) type Blank = Option<&'static str>;

/// Equality, but for blanks.
pub(crate) fn is_same(expected: Option<&Value>, got: Option<&Value>, blank: Blank) -> bool {
    match (expected, got) {
        (Some(Value::String(text)), Some(_)) if Some(text.as_str()) == blank => true,
        (Some(Value::Array(expected)), Some(Value::Array(got))) if blank.is_some() => {
            expected.len() == got.len()
                && expected
                    .iter()
                    .zip(got)
                    .all(|(e, g)| is_same(Some(e), Some(g), blank))
        }
        (Some(Value::Object(expected)), Some(Value::Object(got))) if blank.is_some() => {
            expected.len() == got.len()
                && expected
                    .iter()
                    .all(|(name, e)| is_same(Some(e), got.get(name), blank))
        }
        (expected, got) => expected == got,
    }
}

fn descend(
    what: &str,
    expected: Option<&Value>,
    got: Option<&Value>,
    blank: Blank,
    lines: &mut Vec<Comparison>,
) {
    if is_same(expected, got, blank) {
        return;
    }
    match (expected, got) {
        (Some(Value::Object(expected)), Some(Value::Object(got))) => {
            for name in names(expected, got) {
                descend(
                    &format!("{what}.{name}"),
                    expected.get(name),
                    got.get(name),
                    blank,
                    lines,
                );
            }
        }
        (Some(Value::Array(expected)), Some(Value::Array(got))) => {
            for i in 0..expected.len().max(got.len()) {
                descend(&format!("{what}[{i}]"), expected.get(i), got.get(i), blank, lines);
            }
        }
        (expected, got) => lines.push(Comparison::new(what.to_owned(), expected, got)),
    }
}

/// The names of both, each once, in order.
pub(crate) fn names<'a>(one: &'a Map<String, Value>, other: &'a Map<String, Value>) -> Vec<&'a String> {
    let mut names: Vec<&String> = one.keys().chain(other.keys()).collect();
    names.sort_unstable();
    names.dedup();
    names
}

/// Most lines about one argument.
const MOST_LINES: usize = 10;

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn differing(expected: Value, got: Value) -> Vec<String> {
        let lines = compare("args[0]", Some(&expected), Some(&got), None);
        lines
            .into_iter()
            .map(|line| format!("{} {} {} {}", line.what, line.expected, line.got, line.ok))
            .collect()
    }

    #[test]
    fn a_difference_is_shown_where_it_is() {
        let expected = json!({"state": "open", "page": {"size": 50, "marks": [1, 2]}, "x": 1});
        let got = json!({"state": "open", "page": {"size": 50, "marks": [1, 3, 4]}});
        assert_eq!(
            differing(expected, got),
            [
                "args[0].page.marks[1] 2 3 false",
                "args[0].page.marks[2] nothing 4 false",
                "args[0].x 1 nothing false",
            ]
        );
        assert_eq!(
            differing(json!([1]), json!({"a": 1})),
            [r#"args[0] [1] {"a":1} false"#]
        );
        assert_eq!(differing(json!([1]), json!([1])), ["args[0] [1] [1] true"]);
    }

    #[test]
    fn many_differences_are_cut() {
        let (expected, got) = (json!(vec![0; 100]), json!(vec![1; 100]));
        let lines = differing(expected, got);
        assert_eq!(lines.len(), MOST_LINES + 1);
        assert_eq!(lines[MOST_LINES], "args[0] .. 90 more places  false");
    }

    #[test]
    fn a_blank_is_anything_but_nothing() {
        let same = |expected: Value, got: Value| is_same(Some(&expected), Some(&got), Some("<redacted>"));
        assert!(same(json!("<redacted>"), json!([1])));
        assert!(same(json!({"a": ["<redacted>", 1]}), json!({"a": [{"b": 2}, 1]})));
        assert!(!same(json!({"a": "<redacted>"}), json!({})));
        assert!(!same(json!(["<redacted>"]), json!([1, 2])));
        assert!(!is_same(Some(&json!("<redacted>")), Some(&json!(1)), None));
    }
}
