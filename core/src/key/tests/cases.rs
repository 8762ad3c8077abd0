//! Single cases: shapes, limits, callers, and the format as it has to stay.

use super::*;

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

pub(super) fn nested(depth: usize) -> Value {
    (0..depth).fold(json!(1), |inner, _| json!([inner]))
}

#[test]
fn arguments_are_long_beyond_256_kib() {
    let with = |text: usize| key(("x".repeat(text),)).as_bytes().len();
    let heads = 1 + 5 + 1; // of the array, of the text, of the empty map
    let longest = (256 << 10) - heads;
    assert!(
        with(longest) > 256 << 10,
        "they stand there as they are, behind what keys begin with"
    );
    assert!(with(longest + 1) < 100);
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
    let golden = include_str!("../golden.txt");
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
            now += &line(&written(&scope(context), "get", &args).unwrap());
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

#[test]
fn raw_json_is_no_map_that_looks_like_it() {
    let raw = |text: &str| serde_json::value::RawValue::from_string(text.to_owned()).unwrap();
    let lookalike = json!({"$serde_json::private::RawValue": "7"});
    assert_ne!(serde_json::to_value(raw("7")).unwrap(), lookalike);
    let keys = [key((raw("7"),)), key((raw("8"),)), key((lookalike,)), key((7,))];
    assert_eq!(keys.iter().collect::<HashSet<_>>().len(), 4);
    assert!(key((raw("7"),)) == key((raw("7"),)));
}

/// As numbers are written where any crate of the program has turned on `serde_json`'s `arbitrary_precision`.
#[test]
fn a_number_of_any_precision_is_no_map_that_looks_like_it() {
    struct Number(&'static str);
    impl Serialize for Number {
        fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            use serde::ser::SerializeStruct as _;
            let mut number = serializer.serialize_struct("$serde_json::private::Number", 1)?;
            number.serialize_field("$serde_json::private::Number", self.0)?;
            number.end()
        }
    }
    let lookalike = json!({"$serde_json::private::Number": "7"});
    let keys = [
        key((Number("7"),)),
        key((Number("8"),)),
        key((lookalike,)),
        key((7,)),
    ];
    assert_eq!(keys.iter().collect::<HashSet<_>>().len(), 4);
}

/// Buffers keep what keys begin with. Whatever was written before, a key is what it is on a fresh thread.
#[test]
fn a_key_does_not_depend_on_the_keys_before_it() {
    fn write(n: usize, scopes: &[Prefix; 2]) -> Result<Key, Unkeyable> {
        let scope = &scopes[n % 2];
        let text = "x".repeat(n % 3 * DIGEST_BEYOND / 2 + 1);
        match n % 5 {
            0 => written(scope, "get", &(n, text).into_args()),
            1 => written(scope, "get_all", &args![z = n, y = 1, aa = &text]),
            2 => written(scope, "get", &(f64::NAN,).into_args()),
            3 => written(scope, "get", &Args::new(&text)),
            _ => written(scope, "get", &(nested(n),).into_args()),
        }
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

#[test]
fn arguments_may_be_16_mib_and_no_more() {
    let mut encoder = Encoder::new();
    encoder.byte_string(b"");
    assert!(encoder.room_for((16 << 20) - 1).is_ok());
    assert!(encoder.room_for(16 << 20).is_err());
}

#[test]
fn large_buffers_are_not_kept() {
    let mut encoder = Encoder::new();
    assert!(encoder.is_small());
    encoder.byte_string(&[0; 60 << 10]);
    assert!(encoder.is_small());
    encoder.byte_string(&[0; 60 << 10]);
    assert!(!encoder.is_small());
}

#[test]
fn what_stands_side_by_side_is_not_nested() {
    fn hundred<T: Serialize>(of: impl Fn() -> T) {
        let all: Vec<T> = (0..100).map(|_| of()).collect();
        assert_eq!(canonical(&all), Ok(oracle(&all)));
    }
    hundred(|| Some(1));
    hundred(|| [1]);
    hundred(|| json!({"a": 1}));
    hundred(|| Shape::New(1));
    hundred(|| Shape::Tuple(1, "a"));
    hundred(|| Shape::Struct { z: 1, a: None });
}

#[test]
fn long_names_of_fields_have_their_place_too() {
    #[derive(Serialize)]
    struct Names {
        a_name_of_40_bytes_which_is_long_for_one: u8,
        a_name_of_25_bytes_______: u8,
        a_name_of_24_bytes______: u8,
        a_name_of_23_bytes_____: u8,
        of_nine__: u8,
    }
    let names = Names {
        a_name_of_40_bytes_which_is_long_for_one: 1,
        a_name_of_25_bytes_______: 2,
        a_name_of_24_bytes______: 3,
        a_name_of_23_bytes_____: 4,
        of_nine__: 5,
    };
    assert_eq!(canonical(&names), Ok(oracle(&names)));
}

#[test]
fn names_that_begin_alike_are_told_apart_by_their_ends() {
    let names = ["begins_alike_b", "begins_alike_a", "begins_alike_c"].map(String::from);
    let entries: Vec<_> = names.iter().cloned().zip(1..).collect();
    let sorted: BTreeMap<_, _> = entries.iter().cloned().collect();
    assert_eq!(canonical(&Shuffled(&entries)), Ok(oracle(&sorted)));
    let twice = [entries[0].clone(), entries[1].clone(), entries[0].clone()];
    assert_eq!(canonical(&Shuffled(&twice)), Err(Unkeyable::DuplicateKey));
}

#[test]
fn wide_integers_are_integers() {
    for (narrow, wide) in [
        (-1, -1i128),
        (0, 0),
        (1, 1),
        (i64::MIN, i64::MIN.into()),
        (i64::MAX, i64::MAX.into()),
    ] {
        assert_eq!(key((narrow,)), key((wide,)), "{narrow}");
    }
    assert_eq!(key((u64::MAX,)), key((i128::from(u64::MAX),)));
}
