//! Headers of requests: JSON values on our side, AMQP field values on the wire.
//!
//! The types are those py-amqp writes for the same Python values, so that a service sees what a Python caller would
//! have sent it.

use nameko_cachetools::Headers;
use serde_json::Value;

use crate::received::Received;

/// Longest name of a header, in bytes (an AMQP short string).
pub const MAX_NAME_BYTES: usize = 255;
/// Most bytes all headers of a request take on the wire.
pub const MAX_HEADERS_BYTES: usize = 64 * 1024;
/// Deepest nesting of lists and maps in a header.
pub const MAX_DEPTH: usize = 16;

/// An AMQP field value of some library.
pub trait Field: Sized {
    /// Type `S`, a long string. (`s`, the short one, is a 16-bit integer to RabbitMQ.)
    fn text(text: &str) -> Self;
    /// Type `t`.
    fn boolean(value: bool) -> Self;
    /// Type `I`, 32 bits.
    fn int(value: i32) -> Self;
    /// Type `l` or `L`, 64 bits.
    fn long(value: i64) -> Self;
    /// Type `d`.
    fn double(value: f64) -> Self;
    /// Type `A`.
    fn array(items: Vec<Self>) -> Self;
    /// Type `F`. Every name has at most [`MAX_NAME_BYTES`].
    fn table(entries: Vec<(&str, Self)>) -> Self;
    /// What a received value is, one level of it.
    fn read(self) -> Received<Self>;
}

/// The headers in a library's own types; `null` is left out at any depth, as nameko leaves out `None`.
///
/// A request reaches a link only after its headers were checked, so nothing here can be too long.
pub fn fields<F: Field>(headers: &Headers) -> Vec<(&str, F)> {
    headers
        .iter()
        .filter_map(|(name, value)| Some((name.as_ref(), field(value)?)))
        .collect()
}

fn field<F: Field>(value: &Value) -> Option<F> {
    Some(match value {
        Value::Null => return None,
        Value::Bool(value) => F::boolean(*value),
        Value::String(text) => F::text(text),
        Value::Number(number) => match number.as_i64() {
            Some(whole) => i32::try_from(whole).map_or_else(|_| F::long(whole), F::int),
            None => F::double(number.as_f64()?),
        },
        Value::Array(items) => F::array(items.iter().filter_map(field).collect()),
        Value::Object(map) => F::table(
            map.iter()
                .filter_map(|(name, value)| Some((name.as_str(), field(value)?)))
                .collect(),
        ),
    })
}

/// A header that can't be sent, or must not be. Nothing was sent.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the header {name:?} can't be sent: {rule}")]
pub struct InvalidHeader {
    name: String,
    rule: &'static str,
}

/// Checks what AMQP can carry, the limits, and the one header that kills a nameko service if it is malformed.
pub(crate) fn check(headers: &Headers) -> Result<(), InvalidHeader> {
    let mut room = MAX_HEADERS_BYTES;
    for (name, value) in headers {
        let checked = match name.as_ref() {
            CALL_ID_STACK if !is_list_of_text(value) => Err("it must be a list of text"),
            name => weigh_entry(name, value, 0, &mut room),
        };
        checked.map_err(|rule| InvalidHeader {
            name: name.chars().take(64).collect(),
            rule,
        })?;
    }
    Ok(())
}

/// A service dies, and dies again at each restart, when it meets anything but texts in this header.
const CALL_ID_STACK: &str = "nameko.call_id_stack";

fn is_list_of_text(value: &Value) -> bool {
    value
        .as_array()
        .is_some_and(|items| items.iter().all(Value::is_string))
}

pub(crate) fn weigh_entry(
    name: &str,
    value: &Value,
    depth: usize,
    room: &mut usize,
) -> Result<(), &'static str> {
    if name.is_empty() || name.len() > MAX_NAME_BYTES {
        return Err("names have 1 to 255 bytes");
    }
    take(room, 1 + name.len())?;
    weigh(value, depth, room)
}

/// Counts the bytes on the wire: a type octet, then lengths of 4 bytes for whatever has one.
fn weigh(value: &Value, depth: usize, room: &mut usize) -> Result<(), &'static str> {
    if depth > MAX_DEPTH {
        return Err("lists and maps nest at most 16 deep");
    }
    match value {
        Value::Null => Ok(()),
        Value::Bool(_) => take(room, 2),
        Value::Number(number) if number.is_u64() && !number.is_i64() => {
            Err("whole numbers have at most 63 bits and a sign")
        }
        Value::Number(_) => take(room, 9),
        Value::String(text) => take(room, 5 + text.len()),
        Value::Array(items) => {
            take(room, 5)?;
            items.iter().try_for_each(|item| weigh(item, depth + 1, room))
        }
        Value::Object(map) => {
            take(room, 5)?;
            map.iter()
                .try_for_each(|(name, value)| weigh_entry(name, value, depth + 1, room))
        }
    }
}

fn take(room: &mut usize, bytes: usize) -> Result<(), &'static str> {
    *room = room
        .checked_sub(bytes)
        .ok_or("all headers together have at most 64 KiB")?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// Wire types as letters, values as text.
    impl Field for String {
        fn text(text: &str) -> Self {
            format!("S{text}")
        }
        fn boolean(value: bool) -> Self {
            format!("t{value}")
        }
        fn int(value: i32) -> Self {
            format!("I{value}")
        }
        fn long(value: i64) -> Self {
            format!("l{value}")
        }
        fn double(value: f64) -> Self {
            format!("d{value}")
        }
        fn array(items: Vec<Self>) -> Self {
            format!("A[{}]", items.join(" "))
        }
        fn table(entries: Vec<(&str, Self)>) -> Self {
            let shown: Vec<_> = entries
                .iter()
                .map(|(name, value)| format!("{name}={value}"))
                .collect();
            format!("F{{{}}}", shown.join(" "))
        }
        fn read(self) -> Received<Self> {
            Received::Other
        }
    }

    fn one(value: Value) -> Headers {
        vec![("h".into(), value)]
    }

    #[test]
    fn every_type_as_py_amqp_writes_it() {
        for (value, wire) in [
            (json!("é"), "Sé"),
            (json!(true), "ttrue"),
            (json!(-2147483648), "I-2147483648"),
            (json!(2147483648u64), "l2147483648"),
            (json!(i64::MIN), "l-9223372036854775808"),
            (json!(1.5), "d1.5"),
            (json!(["a", null, 1]), "A[Sa I1]"),
            (json!({"k": {"n": null, "v": []}}), "F{k=F{v=A[]}}"),
        ] {
            let headers = one(value);
            assert_eq!(check(&headers), Ok(()));
            assert_eq!(fields::<String>(&headers), [("h", wire.to_owned())]);
        }
        assert!(fields::<String>(&one(Value::Null)).is_empty());
    }

    /// Proves: R21.
    #[test]
    fn what_cannot_or_must_not_be_sent_is_refused_by_name() {
        let deep = (0..40).fold(json!(1), |inner, _| json!([inner]));
        let cases: [(Headers, &str); 9] = [
            (vec![("n".repeat(256).into(), json!(1))], "1 to 255"),
            (vec![("".into(), json!(1))], "1 to 255"),
            (one(json!({"n".repeat(256): 1})), "1 to 255"),
            (one(json!(u64::MAX)), "63 bits"),
            (one(json!("x".repeat(MAX_HEADERS_BYTES))), "64 KiB"),
            (one(deep), "16 deep"),
            (vec![(CALL_ID_STACK.into(), json!("a.b.c"))], "list of text"),
            (vec![(CALL_ID_STACK.into(), json!(["a", null]))], "list of text"),
            (vec![(CALL_ID_STACK.into(), json!(["a", 1]))], "list of text"),
        ];
        for (headers, rule) in cases {
            let error = check(&headers).unwrap_err().to_string();
            assert!(error.contains(rule), "{error}");
        }
        assert_eq!(check(&vec![(CALL_ID_STACK.into(), json!(["s.m.id"]))]), Ok(()));
    }

    /// Proves: R21.
    #[test]
    fn the_limit_counts_all_headers_together() {
        let half = || json!("x".repeat(MAX_HEADERS_BYTES / 2 - 7));
        assert_eq!(check(&vec![("a".into(), half()), ("b".into(), half())]), Ok(()));
        assert!(
            check(&vec![
                ("a".into(), half()),
                ("b".into(), half()),
                ("c".into(), json!(true))
            ])
            .is_err()
        );
    }
}
