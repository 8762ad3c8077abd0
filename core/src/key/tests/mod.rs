//! Keys against ciborium as the oracle, and what must and must not be told apart.

mod cases;
mod near_misses;
mod properties;
mod refused;

use std::collections::{BTreeMap, HashSet};

use ciborium::Value as Cbor;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::{writer::Within, *};
use crate::{IntoArgs, args};

fn canonical<T: Serialize + ?Sized>(value: &T) -> Result<Vec<u8>, Unkeyable> {
    let mut encoder = Encoder::new();
    value.serialize(Writer::<Within>::new(&mut encoder))?;
    Ok(encoder.key.bytes)
}

/// The key of a call, which is the same both ways.
fn written<P: Serialize, K: Serialize>(
    scope: &Prefix,
    method: &str,
    args: &Args<P, K>,
) -> Result<Key, Unkeyable> {
    let key = scope.key(method, args);
    let shown = scope.with_key(method, args, |key| Some(key.hashed().clone()));
    assert!(shown.as_ref() == key.as_ref().ok());
    key
}

/// The slow way: a value tree, maps sorted by their encoded keys.
fn oracle<T: Serialize + ?Sized>(value: &T) -> Vec<u8> {
    fn encoded(value: &Cbor) -> Vec<u8> {
        let mut bytes = Vec::new();
        ciborium::into_writer(value, &mut bytes).expect("a vector takes everything");
        bytes
    }
    fn sorted(value: Cbor) -> Cbor {
        match value {
            Cbor::Array(items) => Cbor::Array(items.into_iter().map(sorted).collect()),
            Cbor::Map(entries) => {
                let mut entries: Vec<_> = entries.into_iter().map(|(k, v)| (sorted(k), sorted(v))).collect();
                entries.sort_by_key(|(key, _)| encoded(key));
                Cbor::Map(entries)
            }
            other => other,
        }
    }
    encoded(&sorted(Cbor::serialized(value).expect("plain values")))
}

fn key(args: impl IntoArgs) -> Key {
    key_of("s", "m", &Context::new(), args)
}

fn key_of(service: &str, method: &str, context: &Context, args: impl IntoArgs) -> Key {
    let scope = Prefix::new("", service, context, Vary::default()).expect("plain context");
    written(&scope, method, &args.into_args()).expect("plain arguments")
}

fn json_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<f64>()
            .prop_filter("finite", |f| f.is_finite())
            .prop_map(Value::from),
        any::<f32>()
            .prop_filter("finite", |f| f.is_finite())
            .prop_map(|f| Value::from(f64::from(f))),
        any::<i16>().prop_map(|i| Value::from(f64::from(i) / 16.0)),
        ".{0,30}".prop_map(Value::from),
    ];
    leaf.prop_recursive(5, 64, 30, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..30).prop_map(Value::from),
            prop::collection::hash_map(".{0,26}", inner, 0..30)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

/// A map that serialises in the order given, without saying its length.
struct Shuffled<'a>(&'a [(String, i32)]);

impl Serialize for Shuffled<'_> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use serde::ser::SerializeMap;
        let mut map = serializer.serialize_map(None)?;
        for (key, value) in self.0 {
            map.serialize_entry(key, value)?;
        }
        map.end()
    }
}
