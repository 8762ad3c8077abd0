//! Python values that JSON has no form for, as kombu writes them, in both of its dialects.
//!
//! kombu 5.3 and later writes a `Decimal` as `{"__type__": "decimal", "__value__": "1.10"}`, and dates, times, UUIDs
//! and bytes likewise, at any depth; earlier versions write the text alone. These types read both and write the
//! first. To write to a service with an old kombu, send the text: it is all that kombu understands.
//!
//! They keep Python's text and lose nothing; parse it into a type of your choice (`rust_decimal`, `jiff`, `chrono`).
//!
//! ```
//! use nameko_cachetools::types::{Date, Decimal};
//!
//! #[derive(serde::Deserialize)]
//! struct Invoice { total: Decimal, due: Date }
//!
//! let new = r#"{"total": {"__type__": "decimal", "__value__": "1.10"},
//!               "due": {"__type__": "date", "__value__": "2024-02-29"}}"#;
//! let old = r#"{"total": "1.10", "due": "2024-02-29T00:00:00"}"#;
//! for json in [new, old] {
//!     let invoice: Invoice = serde_json::from_str(json)?;
//!     assert_eq!((invoice.total.as_str(), invoice.due.as_str()), ("1.10", "2024-02-29"));
//! }
//! # Ok::<(), serde_json::Error>(())
//! ```
//!
//! Whole numbers need no type of this module: `i128` and `u128` hold those beyond 64 bits, `Box<RawValue>` of
//! `serde_json` any; `serde_json::Value` rounds them to a float. NaN and the infinities, which Python writes as bare
//! words, are not JSON: a reply that has one is [malformed](crate::CallError::MalformedReply).

use std::fmt;

use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _, ser::SerializeStruct};

/// Either dialect. Exactly these two keys make an envelope: with a third, kombu leaves it a dict.
#[derive(Deserialize)]
#[serde(
    untagged,
    expecting = "neither a text nor an object of `__type__` and `__value__`"
)]
enum Dialect<V> {
    Plain(String),
    Typed(Typed<V>),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Typed<V> {
    #[serde(rename = "__type__")]
    kind: String,
    #[serde(rename = "__value__")]
    value: V,
}

fn write<S: Serializer>(
    serializer: S,
    kind: &'static str,
    value: &impl Serialize,
) -> Result<S::Ok, S::Error> {
    let mut envelope = serializer.serialize_struct("Typed", 2)?;
    envelope.serialize_field("__type__", kind)?;
    envelope.serialize_field("__value__", value)?;
    envelope.end()
}

fn other_kind<E: serde::de::Error>(expected: &str) -> E {
    E::custom(format_args!("an envelope of another `__type__` than {expected}"))
}

macro_rules! text_types {
    ($($(#[$doc:meta])* $name:ident $kind:literal $(, $normalise:expr)?;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(String);

        impl $name {
            /// A value by Python's text of it, which is not checked here.
            pub fn new(text: impl Into<String>) -> Self {
                Self(text.into())
            }

            /// Python's text of it.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        /// The value is shown: it is the caller's own.
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self.0)
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                write(serializer, $kind, &self.0)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                match Dialect::<String>::deserialize(deserializer)? {
                    Dialect::Plain(text) => Ok(Self($($normalise)?(text))),
                    Dialect::Typed(typed) if typed.kind == $kind => Ok(Self(typed.value)),
                    Dialect::Typed(_) => Err(other_kind($kind)),
                }
            }
        }
    )*};
}

text_types! {
    /// A `decimal.Decimal`, e.g. `1.10` or `1E+30`. Money stays exact.
    Decimal "decimal";
    /// A `datetime.date`, e.g. `2024-02-29`.
    Date "date", without_midnight;
    /// A `datetime.time`, e.g. `12:34:56.789012`.
    Time "time";
    /// A `datetime.datetime`, e.g. `2024-02-29T12:34:56+05:30`; without an offset if it was naive. New kombu writes
    /// UTC as `+00:00`, old as `Z`.
    DateTime "datetime";
}

/// Old kombu writes a date as a datetime.
fn without_midnight(text: String) -> String {
    text.strip_suffix("T00:00:00").map(str::to_owned).unwrap_or(text)
}

/// A `uuid.UUID`: 32 hexadecimal digits in groups of 8, 4, 4, 4 and 12.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Uuid(u128);

impl Uuid {
    /// A UUID by its number.
    pub const fn from_u128(number: u128) -> Self {
        Self(number)
    }

    /// Its number.
    pub const fn as_u128(self) -> u128 {
        self.0
    }
}

impl fmt::Display for Uuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&uuid::Uuid::from_u128(self.0), f)
    }
}

impl fmt::Debug for Uuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Uuid({self})")
    }
}

/// What kombu writes in a UUID's envelope; 5.3.0 adds a version, which says nothing that the digits don't.
#[derive(Serialize, Deserialize)]
struct Hex {
    hex: String,
}

impl Serialize for Uuid {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        write(
            serializer,
            "uuid",
            &Hex {
                hex: format!("{:032x}", self.0),
            },
        )
    }
}

impl<'de> Deserialize<'de> for Uuid {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = match Dialect::<Hex>::deserialize(deserializer)? {
            Dialect::Plain(text) => text,
            Dialect::Typed(typed) if typed.kind == "uuid" => typed.value.hex,
            Dialect::Typed(_) => return Err(other_kind("uuid")),
        };
        let uuid = uuid::Uuid::try_parse(&text).map_err(|_| D::Error::custom("a text that is no UUID"))?;
        Ok(Self(uuid.as_u128()))
    }
}

/// A `bytes`. Old kombu can't write them.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Bytes(pub Vec<u8>);

impl fmt::Debug for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Bytes({})", self.0.len())
    }
}

/// As text where it is text, else in base64: as kombu does.
impl Serialize for Bytes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match std::str::from_utf8(&self.0) {
            Ok(text) => write(serializer, "bytes", &text),
            Err(_) => write(serializer, "base64", &BASE64.encode(&self.0)),
        }
    }
}

impl<'de> Deserialize<'de> for Bytes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match Dialect::<String>::deserialize(deserializer)? {
            Dialect::Plain(text) => Ok(Self(text.into_bytes())),
            Dialect::Typed(typed) => match typed.kind.as_str() {
                "bytes" => Ok(Self(typed.value.into_bytes())),
                "base64" => BASE64
                    .decode(typed.value)
                    .map(Self)
                    .map_err(|_| D::Error::custom("a text that is no base64")),
                _ => Err(other_kind("bytes")),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::de::DeserializeOwned;

    fn read<T: DeserializeOwned>(json: &str) -> T {
        serde_json::from_str(json).unwrap()
    }

    fn written(value: impl Serialize) -> String {
        serde_json::to_string(&value).unwrap()
    }

    #[test]
    fn both_dialects_are_read() {
        for json in [
            r#"{"__type__": "uuid", "__value__": {"hex": "12345678123456781234567812345678"}}"#,
            r#"{"__type__": "uuid", "__value__": {"hex": "12345678123456781234567812345678", "version": null}}"#,
            r#""12345678-1234-5678-1234-567812345678""#,
        ] {
            assert_eq!(
                read::<Uuid>(json).to_string(),
                "12345678-1234-5678-1234-567812345678"
            );
        }
        for json in [
            r#"{"__type__": "datetime", "__value__": "2024-02-29T12:34:56"}"#,
            r#""2024-02-29T12:34:56""#,
        ] {
            assert_eq!(read::<DateTime>(json).as_str(), "2024-02-29T12:34:56");
        }
        for json in [
            r#"{"__value__": "12:34:56.789012", "__type__": "time"}"#,
            r#""12:34:56.789012""#,
        ] {
            assert_eq!(read::<Time>(json).as_str(), "12:34:56.789012");
        }
        assert_eq!(
            read::<Bytes>(r#"{"__type__": "bytes", "__value__": "h\u00e9llo"}"#).0,
            "héllo".as_bytes()
        );
        assert_eq!(
            read::<Bytes>(r#"{"__type__": "base64", "__value__": "//4AAQ=="}"#).0,
            b"\xff\xfe\x00\x01"
        );
    }

    #[test]
    fn what_is_written_is_read_back() {
        assert_eq!(
            written(Decimal::new("1E+30")),
            r#"{"__type__":"decimal","__value__":"1E+30"}"#
        );
        assert_eq!(
            written(Bytes(vec![0xff])),
            r#"{"__type__":"base64","__value__":"/w=="}"#
        );
        let uuid = Uuid::from_u128(7);
        assert_eq!(read::<Uuid>(&written(uuid)), uuid);
        for bytes in [&b"text"[..], b"\xff\x00"] {
            assert_eq!(read::<Bytes>(&written(Bytes(bytes.into()))).0, bytes);
        }
    }

    #[test]
    fn other_envelopes_are_refused() {
        for json in [
            r#"{"__type__": "date", "__value__": "2024-02-29"}"#,
            r#"{"__type__": "decimal", "__value__": "1", "more": 1}"#,
            r#"{"__type__": "decimal"}"#,
            "1.5",
            "null",
        ] {
            assert!(serde_json::from_str::<Decimal>(json).is_err(), "{json}");
        }
        assert!(serde_json::from_str::<Uuid>(r#""not a uuid""#).is_err());
        assert!(serde_json::from_str::<Bytes>(r#"{"__type__": "base64", "__value__": "?"}"#).is_err());
    }
}
