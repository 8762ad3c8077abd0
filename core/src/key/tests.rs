//! Keys against ciborium as the oracle, and what must and must not be told apart.

use std::collections::{BTreeMap, HashSet};

use ciborium::Value as Cbor;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::{IntoArgs, args};

fn canonical<T: Serialize + ?Sized>(value: &T) -> Result<Vec<u8>, Unkeyable> {
    let mut encoder = Encoder::new();
    value.serialize(&mut encoder)?;
    Ok(encoder.key.bytes)
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
    with_key(&scope, method, &args.into_args(), |key| key.cloned()).expect("plain arguments")
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

proptest! {
    /// Proves: 57, K1.
    #[test]
    fn equal_to_the_sorted_tree_of_ciborium(value in json_value()) {
        prop_assert_eq!(canonical(&value).unwrap(), oracle(&value));
    }

    #[test]
    fn floats_are_shortest(bits in any::<u64>(), half in any::<u16>()) {
        for value in [f64::from_bits(bits), f64::from(f32::from_bits(bits as u32)), f64::from(half::f16::from_bits(half))] {
            prop_assume!(value.is_finite());
            prop_assert_eq!(canonical(&value).unwrap(), oracle(&value));
        }
    }

    /// Proves: K5.
    #[test]
    fn big_integers_keep_every_digit(value in any::<i128>(), unsigned in any::<u128>()) {
        prop_assert_eq!(canonical(&value).unwrap(), oracle(&value));
        prop_assert_eq!(canonical(&unsigned).unwrap(), oracle(&unsigned));
    }

    #[test]
    fn order_of_keys_does_not_matter(entries in prop::collection::btree_map("[a-z]{0,8}", any::<i32>(), 0..40), seed in any::<u64>()) {
        let mut shuffled: Vec<_> = entries.clone().into_iter().collect();
        shuffled.sort_by_key(|(key, value)| hash(format!("{seed}{key}{value}").as_bytes()));
        let unordered = Shuffled(&shuffled);
        prop_assert_eq!(canonical(&unordered).unwrap(), canonical(&entries).unwrap());
    }

    /// Near collisions: a string split elsewhere, an item moved between args and kwargs, service against method.
    ///
    /// Proves: 56, 57, 58, K3, K8, R9.
    #[test]
    fn moved_boundaries_give_other_keys(text in "[a-z.]{2,12}", at in 1usize..11) {
        prop_assume!(at < text.len());
        let (a, b) = text.split_at(at);
        let context = Context::new();
        let keys = [
            key((a, b)), key((text.as_str(),)), key(((a, b),)), key(vec![vec![a], vec![b]]),
            key(args![a, x = b]), key(args![x = text.as_str()]), key(args![x = a, y = b]),
            key_of(a, "m", &context, (b,)), key_of(&text, "m", &context, ()), key_of("s", &text, &context, ()),
            key_of("s", a, &context, (b,)), key_of("s", "m", &context.clone().set(a, b), ()),
        ];
        let distinct: HashSet<_> = keys.iter().map(Key::as_bytes).collect();
        prop_assert_eq!(distinct.len(), keys.len());
    }

    /// Proves: 57, K3, K4.
    #[test]
    fn different_values_have_different_keys(a in json_value(), b in json_value()) {
        let (text_a, text_b) = (a.to_string(), b.to_string()); // unlike their values, these tell 0.0 from -0.0
        prop_assert_eq!(text_a == text_b, canonical(&a).unwrap() == canonical(&b).unwrap());
    }
}

proptest! {
    /// Proves: K2.
    #[test]
    fn order_of_keys_does_not_matter_at_any_depth(value in json_value(), seed in any::<u64>()) {
        prop_assert_eq!(canonical(&Stirred(&value, seed)).unwrap(), canonical(&value).unwrap());
    }

    /// Any text, byte by byte.
    ///
    /// Proves: K3, K7.
    #[test]
    fn texts_are_compared_as_they_are(a in "\\PC{0,3}|[\u{0}-\u{ff}]{0,3}|[e\u{301}é\u{0}]{0,3}", b in "[e\u{301}é\u{0}]{0,3}") {
        prop_assert_eq!(key((a.as_str(),)) == key((b.as_str(),)), a == b);
        prop_assert_eq!(key(args![x = a.as_str()]) == key(args![x = b.as_str()]), a == b);
        prop_assert_eq!(key_of("s", &a, &Context::new(), ()) == key_of("s", &b, &Context::new(), ()), a == b);
    }

    /// Two calls have the same key only if they are the same call; each is held against many that nearly are.
    ///
    /// Proves: 57, 58, K3, K4, K8, R9.
    #[test]
    fn near_misses_have_other_keys(call in any_call(), near in near_misses()) {
        let mut other = call.clone();
        for change in near {
            change.apply(&mut other);
        }
        prop_assert_eq!(call.key() == other.key(), call.shown() == other.shown(), "{:?} {:?}", call, other);
    }
}

/// One call, as its caller sees it.
#[derive(Clone, Debug)]
struct Made {
    names: [String; 3],
    args: Vec<Value>,
    kwargs: BTreeMap<String, Value>,
}

impl Made {
    fn key(&self) -> Vec<u8> {
        let [namespace, service, method] = &self.names;
        let scope = Prefix::new(namespace, service, &Context::new(), Vary::default()).unwrap();
        let args = Args::new(&self.args).with_keywords(&self.kwargs);
        with_key(&scope, method, &args, |key| key.unwrap().as_bytes().to_vec())
    }

    /// Debug quotes texts, and tells 0.0 from -0.0, so it shows no two calls alike.
    fn shown(&self) -> String {
        format!("{self:?}")
    }
}

fn any_call() -> impl Strategy<Value = Made> {
    let small = prop_oneof![
        prop::sample::select(vec![
            json!(null),
            json!(0),
            json!(-0.0),
            json!(1),
            json!(1.0),
            json!("1"),
            json!(true),
            json!([]),
            json!({}),
            json!("")
        ]),
        "[a-c.,:]{0,4}".prop_map(Value::from),
        prop::collection::vec("[a-b]{0,2}".prop_map(Value::from), 0..3).prop_map(Value::from),
    ];
    let names = ["[a-b.]{0,3}", "[a-b.]{0,3}", "[a-b.]{0,3}"];
    let kwargs = prop::collection::btree_map("[a-b]{0,2}", small.clone(), 0..3);
    (names, prop::collection::vec(small, 0..4), kwargs).prop_map(|(names, args, kwargs)| Made {
        names,
        args,
        kwargs,
    })
}

/// A small change of a call, at a place of its own choice.
#[derive(Clone, Copy, Debug)]
enum Near {
    /// The last character of one name becomes the first of the next.
    MoveLetter(usize),
    SwapNames(usize),
    /// One text becomes two, or two one.
    Split(usize),
    Join(usize),
    /// A positional argument becomes a keyword argument, or the other way round.
    ToKeyword(usize),
    ToPositional,
    /// `1`, `1.0`, `"1"`, `[1]`.
    Retype(usize, u8),
    Swap(usize),
    Drop(usize),
    PushNull,
}

fn near_misses() -> impl Strategy<Value = Vec<Near>> {
    let near = prop_oneof![
        (0usize..2).prop_map(Near::MoveLetter),
        (0usize..2).prop_map(Near::SwapNames),
        (0usize..4).prop_map(Near::Split),
        (0usize..4).prop_map(Near::Join),
        (0usize..4).prop_map(Near::ToKeyword),
        Just(Near::ToPositional),
        (0usize..4, 0u8..4).prop_map(|(at, to)| Near::Retype(at, to)),
        (0usize..4).prop_map(Near::Swap),
        (0usize..4).prop_map(Near::Drop),
        Just(Near::PushNull),
    ];
    prop::collection::vec(near, 0..3)
}

impl Near {
    fn apply(self, call: &mut Made) {
        let args = &mut call.args;
        match self {
            Self::MoveLetter(at) => {
                if let Some(letter) = call.names[at].pop() {
                    call.names[at + 1].insert(0, letter);
                }
            }
            Self::SwapNames(at) => call.names.swap(at, at + 1),
            Self::Split(at) => {
                if let Some(text) = args.get(at).and_then(Value::as_str).map(str::to_owned) {
                    let (a, b) = text.split_at(text.len() / 2);
                    args.splice(at..=at, [json!(a), json!(b)]);
                }
            }
            Self::Join(at) => {
                if let Some([Value::String(a), Value::String(b)]) = args.get(at..(at + 2).min(args.len())) {
                    let joined = json!(format!("{a}{b}"));
                    args.splice(at..at + 2, [joined]);
                }
            }
            Self::ToKeyword(at) if at < args.len() => _ = call.kwargs.insert("a".to_owned(), args.remove(at)),
            Self::ToPositional => args.extend(call.kwargs.pop_first().map(|(_, value)| value)),
            Self::Retype(at, to) => {
                if let Some(value) = args.get_mut(at) {
                    *value = match (to, value.as_i64()) {
                        (0, Some(n)) => json!(n as f64),
                        (1, _) => json!(value.to_string()),
                        (2, _) => json!([value]),
                        _ => json!(null),
                    };
                }
            }
            Self::Swap(at) if at + 1 < args.len() => args.swap(at, at + 1),
            Self::Drop(at) if at < args.len() => _ = args.remove(at),
            Self::PushNull => args.push(json!(null)),
            Self::ToKeyword(_) | Self::Swap(_) | Self::Drop(_) => {}
        }
    }
}

/// A value whose maps serialise in another order, at every depth.
struct Stirred<'a>(&'a Value, u64);

impl Serialize for Stirred<'_> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self(value, seed) = self;
        match value {
            Value::Array(items) => serializer.collect_seq(items.iter().map(|item| Stirred(item, *seed))),
            Value::Object(map) => {
                let mut entries: Vec<_> = map.iter().collect();
                entries.sort_by_key(|(key, _)| hash(format!("{seed}{key}").as_bytes()));
                serializer.collect_map(entries.into_iter().map(|(key, item)| (key, Stirred(item, *seed))))
            }
            other => other.serialize(serializer),
        }
    }
}

/// The limit of depth is met before the stack's.
///
/// Proves: K9.
#[test]
fn endless_nesting_ends_at_the_limit() {
    struct Endless(std::cell::Cell<u32>);
    impl Serialize for Endless {
        fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            self.0.set(self.0.get() + 1);
            assert!(self.0.get() < 100, "nobody looks deeper than the limit");
            serializer.collect_seq([self])
        }
    }
    assert_eq!(canonical(&Endless(0.into())), Err(Unkeyable::TooDeep));
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

#[derive(Serialize)]
enum Shape {
    Unit,
    New(u8),
    Tuple(u8, &'static str),
    Struct { z: u8, a: Option<u8> },
}

#[test]
fn every_shape_of_serde_agrees_with_ciborium() {
    #[derive(Serialize)]
    struct Newtype(u8);
    #[derive(Serialize)]
    struct Pair(u8, char);
    #[derive(Serialize)]
    struct Unit;
    #[derive(Serialize)]
    struct Skips {
        zebra: u8,
        #[serde(skip_serializing_if = "Option::is_none")]
        gone: Option<u8>,
        a: Vec<u16>,
    }
    #[derive(Serialize)]
    struct Flat {
        z: u8,
        #[serde(flatten)]
        rest: BTreeMap<&'static str, u8>,
    }
    let long: BTreeMap<u32, u32> = (0..300).map(|n| (n * 7919 % 1000, n)).collect();
    macro_rules! agree {
        ($($value:expr),* $(,)?) => {$( assert_eq!(canonical(&$value).unwrap(), oracle(&$value), "{}", stringify!($value)); )*};
    }
    agree!(
        Shape::Unit,
        Shape::New(7),
        Shape::Tuple(1, "x"),
        Shape::Struct { z: 1, a: None },
        Newtype(3),
        Pair(1, 'é'),
        Unit,
        (),
        Some(Some(1)),
        None::<u8>,
        [1.0, 0.1, -0.0, 1e300],
        [0u8; 300].as_slice(),
        "x".repeat(70_000),
        Skips {
            zebra: 1,
            gone: None,
            a: vec![500, 70]
        },
        Flat {
            z: 1,
            rest: [("b", 1), ("a", 2)].into()
        },
        long,
        i64::MIN,
        u64::MAX,
        i128::MIN,
        u128::MAX,
        -1i8,
        [23, 24, 255, 256, 65_535, 65_536, 4_294_967_296u64],
    );
}

/// Proves: 57, 58, K4, K5, K7, K8.
#[test]
fn types_are_told_apart() {
    let one = [
        key(args![1]),
        key(args![1.0]),
        key(args!["1"]),
        key(args![true]),
        key(args![[1]]),
        key(args![x = 1]),
        key(args![json!(null)]),
        key(args!["null"]),
        key(args![]),
        key(args![0.0]),
        key(args![-0.0]),
        key(args![0]),
        key(args![json!([])]),
        key(args![json!({})]),
        key(args!["é"]),
        key(args!["e\u{301}"]),
        key(args!["\0"]),
        key(args![1u128 << 64]),
        key(args![(1u128 << 64) + 1]),
        key(args![1u64 << 53]),
        key(args![(1u64 << 53) + 1]),
    ];
    let distinct: HashSet<_> = one.iter().map(Key::as_bytes).collect();
    assert_eq!(distinct.len(), one.len());
    assert_eq!(key((0.1f32,)), key((0.1f64,)), "both go out as 0.1");
    assert_ne!(key((0.1f32,)), key((f64::from(0.1f32),)));
    assert_eq!(key(args![a = 1, bb = 2]), key(args![bb = 2, a = 1]));
    assert_eq!(key(vec![1, 2]), key((1, 2)));
    assert_eq!(key(()), key(args![]));
}

fn nested(depth: usize) -> Value {
    (0..depth).fold(json!(1), |inner, _| json!([inner]))
}

/// Proves: 61, K6, K9, K12.
#[test]
fn what_has_no_key_says_why() {
    let scope = Prefix::new("", "s", &Context::new(), Vary::default()).unwrap();
    fn why<A: IntoArgs>(scope: &Prefix, args: A) -> Unkeyable {
        with_key(scope, "m", &args.into_args(), |key| key.cloned())
            .unwrap_err()
            .into()
    }
    assert_eq!(why(&scope, (f64::NAN,)), Unkeyable::NotFinite);
    assert_eq!(why(&scope, (f32::INFINITY,)), Unkeyable::NotFinite);
    assert_eq!(why(&scope, (nested(64),)), Unkeyable::TooDeep);
    assert!(with_key(&scope, "m", &(nested(63),).into_args(), |key| key.is_ok()));
    assert_eq!(why(&scope, ("x".repeat(16 << 20),)), Unkeyable::TooLarge);
    assert_eq!(why(&scope, (vec![0u8; 17 << 20],)), Unkeyable::TooLarge);
    assert_eq!(why(&scope, Args::new("text")), Unkeyable::Shape);
    assert_eq!(why(&scope, Args::keywords([1])), Unkeyable::Shape);
    let twice = Shuffled(&[("a".into(), 1), ("b".into(), 2), ("a".into(), 3)]);
    assert_eq!(why(&scope, Args::keywords(&twice)), Unkeyable::DuplicateKey);
}

/// Proves: 62.
#[test]
fn long_arguments_become_a_digest_that_no_short_ones_can_equal() {
    let long = key(("x".repeat(300 << 10),));
    assert!(long.as_bytes().len() < 100, "{long:?}");
    assert_ne!(long, key(("y".repeat(300 << 10),)));
    assert_eq!(long, key(("x".repeat(300 << 10),)));
    assert_eq!(long.as_bytes()[0], ARRAY | 6);
}

/// Proves: 59, K10, R10.
#[test]
fn callers_do_not_share_keys_unless_they_are_the_same_to_the_service() {
    let of = |context: Context| key_of("s", "m", &context, ());
    let context = Context::new;
    let alice = of(context().auth_token("alice"));
    assert_ne!(alice, of(context().auth_token("bob")));
    assert_ne!(alice, of(context()));
    assert_ne!(of(context().user_id(1)), of(context().user_id("1")));
    assert_ne!(of(context().language("sv")), of(context().language("en")));
    assert_ne!(of(context().set("tenant", 1)), of(context()));
    assert_eq!(
        of(context()
            .user_agent("curl")
            .set("traceparent", "00-1")
            .parent_calls(["a"])),
        of(context())
    );
    assert_eq!(
        of(context().user_id(1).auth_token("old")),
        of(context().user_id(1).auth_token("new"))
    );
    assert!(
        !alice.as_bytes().windows(5).any(|w| w == b"alice"),
        "a key holds no token"
    );
}

/// Proves: K1, K11.
#[test]
fn keys_do_not_change_from_one_version_to_the_next() {
    let golden = include_str!("golden.txt");
    let scope = |context: &Context| Prefix::new("shop", "products", context, Vary::default()).unwrap();
    let hex = |bytes: &[u8]| bytes.iter().map(|b| format!("{b:02x}")).collect::<String>();
    let line = |key: &Key| format!("{} {}\n", hex(key.as_bytes()), hex(&key.digest()));
    let anonymous = Context::new();
    let known = Context::new()
        .auth_token("t")
        .language("sv")
        .set("tenant", json!({"b": 1, "a": [true, null]}));
    let mut now = String::new();
    let user = Context::new().user_id(7).auth_token("t").set("tenant", "b");
    let spoken = Context::new()
        .language("ü")
        .user_agent("curl")
        .parent_calls(["a"]);
    for context in [&anonymous, &known, &user, &spoken] {
        for n in 0..50u64 {
            let f = (n as f64).sqrt() * 1e3;
            let args = args![
                n * n * 7919,
                f,
                -(n as i64),
                "ü".repeat(n as usize % 30),
                even = n % 2 == 0,
                n = [n, 1 << n]
            ];
            now += &with_key(&scope(context), "get", &args, |key| line(key.unwrap()));
        }
    }
    assert_eq!(
        now, golden,
        "a changed key format needs a new VERSION and a new golden file"
    );
}

#[test]
fn a_serialize_that_makes_keys_itself_is_no_trouble() {
    struct Reentrant;
    impl Serialize for Reentrant {
        fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            serializer.serialize_u64(key((1,)).as_bytes().len() as u64)
        }
    }
    assert_eq!(key((Reentrant,)), key((key((1,)).as_bytes().len(),)));
}

/// Proves: 80, R13.
#[test]
fn debug_shows_no_arguments() {
    assert!(!format!("{:?}", key(("canary",))).contains("canary"));
}

/// Buffers keep what keys begin with. Whatever was written before, a key is what it is on a fresh thread.
#[test]
fn a_key_does_not_depend_on_the_keys_before_it() {
    fn write(n: usize, scopes: &[Prefix; 2]) -> Result<Key, Unkeyable> {
        let scope = &scopes[n % 2];
        let text = "x".repeat(n % 3 * DIGEST_BEYOND / 2 + 1);
        let key = match n % 5 {
            0 => with_key(scope, "get", &(n, text).into_args(), |key| key.cloned()),
            1 => with_key(scope, "get_all", &args![z = n, y = 1, aa = &text], |key| {
                key.cloned()
            }),
            2 => with_key(scope, "get", &(f64::NAN,).into_args(), |key| key.cloned()),
            3 => with_key(scope, "get", &Args::new(&text), |key| key.cloned()),
            _ => with_key(scope, "get", &(nested(n),).into_args(), |key| key.cloned()),
        };
        Ok(key?)
    }
    let scopes =
        ["a", "another"].map(|service| Prefix::new("", service, &Context::new(), Vary::default()).unwrap());
    for n in (0..60).chain((0..60).rev()) {
        let here = write(n, &scopes);
        let fresh = std::thread::scope(|threads| threads.spawn(|| write(n, &scopes)).join().unwrap());
        assert_eq!(here, fresh, "{n}");
        if let Ok(key) = here {
            assert_eq!(key, Key::from_bytes(key.as_bytes()), "{n}");
        }
    }
}
