//! Headers of replies: AMQP field values of some library on the wire, JSON values on our side.

use nameko_cachetools::Headers;
use serde_json::{Number, Value};

use crate::headers::{Field, MAX_DEPTH, MAX_HEADERS_BYTES, weigh_entry};

/// What a field value of some library is, one level of it.
#[derive(Debug, Clone, PartialEq)]
pub enum Received<F> {
    /// Any text that is UTF-8.
    Text(String),
    /// Type `t`.
    Boolean(bool),
    /// Any whole number.
    Whole(i64),
    /// Any other number.
    Real(f64),
    /// Type `A`.
    List(Vec<F>),
    /// Type `F`.
    Table(Vec<(String, F)>),
    /// What JSON has no form for: void, bytes, timestamps, decimals.
    Other,
}

/// A reply's headers, sorted by name.
///
/// What JSON has no form for is left out at any depth, and so is a header that goes beyond the limits of requests:
/// [`MAX_DEPTH`], and [`MAX_HEADERS_BYTES`] for all of them together.
pub fn received<F: Field>(fields: impl IntoIterator<Item = (String, F)>) -> Headers {
    let mut fields: Vec<(String, F)> = fields.into_iter().collect();
    fields.sort_unstable_by(|(a, _), (b, _)| a.cmp(b));
    let mut room = MAX_HEADERS_BYTES;
    fields
        .into_iter()
        .filter_map(|(name, field)| {
            let (value, mut left) = (json(field, 0)?, room);
            weigh_entry(&name, &value, 0, &mut left).ok()?;
            room = left;
            Some((name.into(), value))
        })
        .collect()
}

fn json<F: Field>(field: F, depth: usize) -> Option<Value> {
    if depth > MAX_DEPTH {
        return None;
    }
    Some(match field.read() {
        Received::Text(text) => text.into(),
        Received::Boolean(value) => value.into(),
        Received::Whole(number) => number.into(),
        Received::Real(number) => Number::from_f64(number)?.into(),
        Received::List(items) => items
            .into_iter()
            .filter_map(|item| json(item, depth + 1))
            .collect(),
        Received::Table(entries) => entries
            .into_iter()
            .filter_map(|(name, field)| Some((name, json(field, depth + 1)?)))
            .collect(),
        Received::Other => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// JSON itself as a library's type; `null` is what has no form in JSON.
    impl Field for Value {
        fn text(text: &str) -> Self {
            text.into()
        }
        fn boolean(value: bool) -> Self {
            value.into()
        }
        fn int(value: i32) -> Self {
            value.into()
        }
        fn long(value: i64) -> Self {
            value.into()
        }
        fn double(value: f64) -> Self {
            value.into()
        }
        fn array(items: Vec<Self>) -> Self {
            items.into()
        }
        fn table(entries: Vec<(&str, Self)>) -> Self {
            entries.into_iter().collect()
        }
        fn read(self) -> Received<Self> {
            match self {
                Self::Null => Received::Other,
                Self::Bool(value) => Received::Boolean(value),
                Self::Number(number) => match number.as_i64() {
                    Some(whole) => Received::Whole(whole),
                    None => Received::Real(number.as_f64().unwrap()),
                },
                Self::String(text) => Received::Text(text),
                Self::Array(items) => Received::List(items),
                Self::Object(map) => Received::Table(map.into_iter().collect()),
            }
        }
    }

    fn named(name: &str, value: Value) -> (String, Value) {
        (name.to_owned(), value)
    }

    #[test]
    fn what_json_can_say_arrives_sorted_and_the_rest_is_left_out() {
        let rich = json!({"text": "é", "list": [1, null, 2.5], "yes": true});
        let headers = received([
            named("b", rich.clone()),
            named("a", json!(-1)),
            named("void", json!(null)),
        ]);
        let wanted = json!({"text": "é", "list": [1, 2.5], "yes": true});
        assert_eq!(headers, [("a".into(), json!(-1)), ("b".into(), wanted)]);
        let sent = crate::fields::<Value>(&headers);
        assert_eq!(sent[1].1["text"], "é");
    }

    #[test]
    fn numbers_that_json_lacks_are_left_out() {
        struct Odd(f64);
        impl Field for Odd {
            fn text(_: &str) -> Self {
                Self(0.0)
            }
            fn boolean(_: bool) -> Self {
                Self(0.0)
            }
            fn int(_: i32) -> Self {
                Self(0.0)
            }
            fn long(_: i64) -> Self {
                Self(0.0)
            }
            fn double(value: f64) -> Self {
                Self(value)
            }
            fn array(_: Vec<Self>) -> Self {
                Self(0.0)
            }
            fn table(_: Vec<(&str, Self)>) -> Self {
                Self(0.0)
            }
            fn read(self) -> Received<Self> {
                Received::Real(self.0)
            }
        }
        let odd = [f64::NAN, f64::INFINITY, 0.5].map(|value| (value.to_string(), Odd(value)));
        assert_eq!(received(odd), [("0.5".into(), json!(0.5))]);
    }

    #[test]
    fn one_header_that_is_too_much_costs_no_other() {
        let deep = (0..40).fold(json!(1), |inner, _| json!([inner]));
        let huge = json!("x".repeat(MAX_HEADERS_BYTES));
        let headers = received([
            named("a", huge),
            named("b", deep),
            named("c", json!("kept")),
            named("", json!("nameless")),
        ]);
        let kept: Vec<_> = headers.iter().map(|(name, _)| name.as_ref()).collect();
        assert!(
            kept.contains(&"c") && !kept.contains(&"a") && !kept.contains(&""),
            "{kept:?}"
        );
    }
}
