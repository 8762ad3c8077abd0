//! The key of a large argument, beside canonical CBOR by a value tree that is sorted.

use std::collections::HashMap;

use ciborium::Value;
use nameko_cachetools_benches::{KEYS, Rounds, Row, Warm};
use serde::Serialize;

use crate::Rows;

#[derive(Serialize, Clone)]
struct Line {
    product: String,
    amount: u32,
    price: f64,
    options: HashMap<String, bool>,
}

pub(crate) fn rows() -> Rows {
    let order = order();
    let size = by_value_tree(&order).len();
    let warm = Warm::new::<u64, _>("7", KEYS, |n| (n, &order));
    let plain = Warm::new::<u64, _>("7", KEYS, |n| (n,));
    // What a hit with the map costs more than one without: its key, the hash and the comparison of it.
    let rounds = Rounds::run(
        41,
        2_000,
        &mut [
            &mut |number| warm.hits(number, |n, _| (n % KEYS, &order), |_: &u64| 0),
            &mut |number| plain.hits(number, |n, _| (n % KEYS,), |_: &u64| 0),
            &mut |number| {
                for _ in 0..number {
                    std::hint::black_box(by_value_tree(std::hint::black_box(&order)));
                }
            },
        ],
    );
    let (ours, noise) = rounds.difference(0, 1);
    let theirs = rounds.median(2);
    let name = format!("key of a nested map of {size} B, against ciborium's Value and sort");
    let row = Row::ratio(name, "ns", (ours, theirs));
    let value = row.value;
    Ok(vec![row.measured((value, noise)).target(0.3, 0.2)])
}

fn order() -> HashMap<String, Line> {
    (0..9)
        .map(|n| {
            let options = ["gift", "express", "insured", "returnable"];
            let line = Line {
                product: format!("the_odyssey_{n}"),
                amount: n,
                price: 12.25 * f64::from(n),
                options: options.map(|name| (name.to_owned(), n % 2 == 0)).into(),
            };
            (format!("line-{n}"), line)
        })
        .collect()
}

fn by_value_tree(value: &impl Serialize) -> Vec<u8> {
    fn bytes(value: &Value) -> Vec<u8> {
        let mut bytes = Vec::new();
        ciborium::into_writer(value, &mut bytes).expect("a vector takes everything");
        bytes
    }
    fn sort(value: &mut Value) {
        match value {
            Value::Array(items) => items.iter_mut().for_each(sort),
            Value::Map(entries) => {
                entries.iter_mut().for_each(|(_, value)| sort(value));
                entries.sort_by_cached_key(|(key, _)| bytes(key));
            }
            _ => {}
        }
    }
    let mut value = Value::serialized(value).expect("plain values");
    sort(&mut value);
    bytes(&value)
}
