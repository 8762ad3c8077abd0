//! JSON as text, taken apart without losing a digit.

use std::fmt;

use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, Visitor},
};
use serde_json::value::RawValue;

/// One value, one level deep; what is within is still text.
pub(crate) enum Json<'a> {
    Object(Vec<(String, &'a str)>),
    Array(Vec<&'a str>),
    Text(String),
    /// A number, a boolean or `null`; or a text that is none, with half of a surrogate pair.
    Plain(&'a str),
}

impl<'a> Json<'a> {
    /// `None` if it is no JSON.
    pub(crate) fn read(text: &'a str) -> Option<Self> {
        let text = text.trim();
        match text.as_bytes().first()? {
            b'{' => serde_json::from_str::<Members<'_>>(text)
                .ok()
                .map(|members| Self::Object(members.0)),
            b'[' => serde_json::from_str::<Vec<&RawValue>>(text)
                .ok()
                .map(|items| Self::Array(items.into_iter().map(RawValue::get).collect())),
            b'"' => match serde_json::from_str(text) {
                Ok(text) => Some(Self::Text(text)),
                Err(_) => serde_json::from_str::<&RawValue>(text)
                    .ok()
                    .map(|raw| Self::Plain(raw.get())),
            },
            _ => serde_json::from_str::<&RawValue>(text)
                .ok()
                .map(|raw| Self::Plain(raw.get())),
        }
    }
}

/// `text` as a JSON string.
pub(crate) fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// An object's members in their order.
struct Members<'a>(Vec<(String, &'a str)>);

impl<'de: 'a, 'a> Deserialize<'de> for Members<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reader;
        impl<'de> Visitor<'de> for Reader {
            type Value = Vec<(String, &'de str)>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Vec::new();
                while let Some((name, value)) = map.next_entry::<String, &RawValue>()? {
                    members.push((name, value.get()));
                }
                Ok(members)
            }
        }
        deserializer.deserialize_map(Reader).map(Self)
    }
}
