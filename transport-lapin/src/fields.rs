//! Headers and names in lapin's types.

use lapin::types::{AMQPValue, FieldArray, FieldTable, LongString, ShortString};
use nameko_cachetools::Headers;
use nameko_cachetools_amqp::{Field, Received, fields, received};

/// A message's headers.
pub(crate) fn table(headers: &Headers) -> FieldTable {
    entries(fields::<Value>(headers))
}

/// A received message's headers. Almost no reply has any.
pub(crate) fn headers(table: Option<&FieldTable>) -> Headers {
    match table {
        Some(table) if !table.inner().is_empty() => received(named(table)),
        _ => Headers::new(),
    }
}

/// A name that was checked to fit; lapin's own conversion panics on one that doesn't. Too long a one becomes empty,
/// which the broker refuses.
pub(crate) fn short(text: impl Into<String>) -> ShortString {
    ShortString::try_new(text).unwrap_or_default()
}

/// lapin's field value, which can't implement a foreign trait itself.
struct Value(AMQPValue);

impl Field for Value {
    fn text(text: &str) -> Self {
        Self(AMQPValue::LongString(LongString::from(text)))
    }

    fn boolean(value: bool) -> Self {
        Self(AMQPValue::Boolean(value))
    }

    fn int(value: i32) -> Self {
        Self(AMQPValue::LongInt(value))
    }

    fn long(value: i64) -> Self {
        Self(AMQPValue::LongLongInt(value))
    }

    fn double(value: f64) -> Self {
        Self(AMQPValue::Double(value))
    }

    fn array(items: Vec<Self>) -> Self {
        let items: Vec<AMQPValue> = items.into_iter().map(|Self(item)| item).collect();
        Self(AMQPValue::FieldArray(FieldArray::from(items)))
    }

    fn table(named: Vec<(&str, Self)>) -> Self {
        Self(AMQPValue::FieldTable(entries(named)))
    }

    fn read(self) -> Received<Self> {
        match self.0 {
            AMQPValue::Boolean(value) => Received::Boolean(value),
            AMQPValue::ShortShortInt(number) => Received::Whole(number.into()),
            AMQPValue::ShortShortUInt(number) => Received::Whole(number.into()),
            AMQPValue::ShortInt(number) => Received::Whole(number.into()),
            AMQPValue::ShortUInt(number) => Received::Whole(number.into()),
            AMQPValue::LongInt(number) => Received::Whole(number.into()),
            AMQPValue::LongUInt(number) => Received::Whole(number.into()),
            AMQPValue::LongLongInt(number) => Received::Whole(number),
            AMQPValue::Float(number) => Received::Real(number.into()),
            AMQPValue::Double(number) => Received::Real(number),
            AMQPValue::ShortString(text) => Received::Text(text.into()),
            AMQPValue::LongString(text) => match str::from_utf8(text.as_bytes()) {
                Ok(text) => Received::Text(text.to_owned()),
                Err(_) => Received::Other,
            },
            AMQPValue::FieldArray(items) => {
                Received::List(items.as_slice().iter().cloned().map(Self).collect())
            }
            AMQPValue::FieldTable(table) => Received::Table(named(&table)),
            AMQPValue::DecimalValue(_)
            | AMQPValue::Timestamp(_)
            | AMQPValue::ByteArray(_)
            | AMQPValue::Void => Received::Other,
        }
    }
}

fn named(table: &FieldTable) -> Vec<(String, Value)> {
    table
        .into_iter()
        .map(|(name, value)| (name.to_string(), Value(value.clone())))
        .collect()
}

fn entries(named: Vec<(&str, Value)>) -> FieldTable {
    let mut table = FieldTable::default();
    for (name, Value(value)) in named {
        table.insert(short(name), value);
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

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
        deep.insert("deep".into(), AMQPValue::Boolean(true));
        let list = vec![AMQPValue::LongString("a".into()), AMQPValue::FieldTable(deep)];
        let mut wanted = FieldTable::default();
        wanted.insert("text".into(), AMQPValue::LongString("é".into()));
        wanted.insert("list".into(), AMQPValue::FieldArray(list.into()));
        wanted.insert("int".into(), AMQPValue::LongInt(7));
        wanted.insert("long".into(), AMQPValue::LongLongInt(1 << 40));
        wanted.insert("double".into(), AMQPValue::Double(0.5));
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
        wire.insert("bytes".into(), AMQPValue::ByteArray(vec![1].into()));
        wire.insert("garbled".into(), AMQPValue::LongString(vec![0xff].into()));
        wire.insert("time".into(), AMQPValue::Timestamp(1));
        wire.insert("void".into(), AMQPValue::Void);
        assert_eq!(headers(Some(&wire)), sent);
        assert_eq!(headers(None), []);
    }

    #[test]
    fn names_that_do_not_fit_never_panic() {
        assert_eq!(short("x".repeat(256)).as_str(), "");
    }
}
