//! Headers and names in amqprs's types.

use amqprs::{FieldArray, FieldTable, FieldValue, LongStr, ShortStr};
use nameko_cachetools::Headers;
use nameko_cachetools_amqp::{Field, Received, fields, received};

/// A message's headers.
pub(crate) fn table(headers: &Headers) -> FieldTable {
    entries(fields::<Value>(headers))
}

/// A received message's headers. Almost no reply has any.
pub(crate) fn headers(table: Option<&FieldTable>) -> Headers {
    match table {
        Some(table) if !table.as_ref().is_empty() => received(named(table)),
        _ => Headers::new(),
    }
}

/// A name that was checked to fit; amqprs panics on one that doesn't. Too long a one becomes empty, which the broker
/// refuses.
pub(crate) fn short(text: &str) -> &str {
    if text.len() > usize::from(u8::MAX) {
        ""
    } else {
        text
    }
}

/// amqprs's field value, which can't implement a foreign trait itself.
struct Value(FieldValue);

impl Field for Value {
    fn text(text: &str) -> Self {
        Self(FieldValue::S(LongStr::try_from(text).unwrap_or_default()))
    }

    fn boolean(value: bool) -> Self {
        Self(FieldValue::t(value))
    }

    fn int(value: i32) -> Self {
        Self(FieldValue::I(value))
    }

    fn long(value: i64) -> Self {
        Self(FieldValue::l(value))
    }

    fn double(value: f64) -> Self {
        Self(FieldValue::d(value))
    }

    fn array(items: Vec<Self>) -> Self {
        let items: Vec<FieldValue> = items.into_iter().map(|Self(item)| item).collect();
        Self(FieldValue::A(FieldArray::try_from(items).unwrap_or_default()))
    }

    fn table(named: Vec<(&str, Self)>) -> Self {
        Self(FieldValue::F(entries(named)))
    }

    fn read(self) -> Received<Self> {
        match self.0 {
            FieldValue::t(value) => Received::Boolean(value),
            FieldValue::b(number) => Received::Whole(number.into()),
            FieldValue::B(number) => Received::Whole(number.into()),
            FieldValue::s(number) => Received::Whole(number.into()),
            FieldValue::u(number) => Received::Whole(number.into()),
            FieldValue::I(number) => Received::Whole(number.into()),
            FieldValue::i(number) => Received::Whole(number.into()),
            FieldValue::l(number) => Received::Whole(number),
            FieldValue::f(number) => Received::Real(number.into()),
            FieldValue::d(number) => Received::Real(number),
            FieldValue::S(text) => Received::Text(text.into()),
            FieldValue::A(items) => {
                let items: Vec<FieldValue> = items.into();
                Received::List(items.into_iter().map(Self).collect())
            }
            FieldValue::F(table) => Received::Table(named(&table)),
            FieldValue::D(_) | FieldValue::T(_) | FieldValue::x(_) | FieldValue::V => Received::Other,
        }
    }
}

fn named(table: &FieldTable) -> Vec<(String, Value)> {
    table
        .as_ref()
        .iter()
        .map(|(name, value)| (name.to_string(), Value(value.clone())))
        .collect()
}

fn entries(named: Vec<(&str, Value)>) -> FieldTable {
    let mut table = FieldTable::default();
    for (name, Value(value)) in named {
        let name = ShortStr::try_from(name).unwrap_or_default();
        table.remove(&name); // or amqprs counts its bytes twice
        table.insert(name, value);
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn name(text: &str) -> ShortStr {
        text.try_into().unwrap()
    }

    #[test]
    fn every_type_becomes_the_one_python_writes() {
        let headers = vec![
            ("text".into(), json!("é")),
            ("list".into(), json!(["a", {"deep": true}])),
            ("int".into(), json!(7)),
            ("long".into(), json!(1u64 << 40)),
            ("double".into(), json!(0.5)),
            ("none".into(), json!(null)),
        ];
        let mut deep = FieldTable::default();
        deep.insert(name("deep"), FieldValue::t(true));
        let list = vec![FieldValue::from("a"), FieldValue::F(deep)];
        let mut wanted = FieldTable::default();
        wanted.insert(name("text"), "é".into());
        wanted.insert(name("list"), FieldValue::A(list.try_into().unwrap()));
        wanted.insert(name("int"), FieldValue::I(7));
        wanted.insert(name("long"), FieldValue::l(1 << 40));
        wanted.insert(name("double"), FieldValue::d(0.5));
        assert_eq!(table(&headers), wanted);
    }

    #[test]
    fn what_was_sent_is_received_and_what_json_lacks_is_not() {
        let sent = vec![
            ("double".into(), json!(0.5)),
            ("int".into(), json!(-7)),
            ("list".into(), json!(["a", {"deep": true}])),
            ("long".into(), json!(1u64 << 40)),
        ];
        let mut wire = table(&sent);
        wire.insert(name("bytes"), FieldValue::x(vec![1].try_into().unwrap()));
        wire.insert(name("time"), FieldValue::T(1));
        wire.insert(name("void"), FieldValue::V);
        assert_eq!(headers(Some(&wire)), sent);
        assert_eq!(headers(None), []);
    }

    /// The table knows its own length in bytes.
    #[test]
    fn a_name_given_twice_counts_once() {
        let twice = vec![("a".into(), json!("first")), ("a".into(), json!(2))];
        assert_eq!(table(&twice), table(&vec![("a".into(), json!(2))]));
    }

    #[test]
    fn names_that_do_not_fit_never_panic() {
        assert_eq!(short(&"x".repeat(256)), "");
    }
}
