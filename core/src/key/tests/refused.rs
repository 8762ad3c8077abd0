//! What has no key, and why.

use serde::ser::SerializeSeq;

use super::{cases::nested, *};

/// Proves: 61, K6, K9, K12.
#[test]
fn what_has_no_key_says_why() {
    let scope = Prefix::new("", "s", &Context::new(), Vary::default()).unwrap();
    fn why<A: IntoArgs>(scope: &Prefix, args: A) -> Unkeyable {
        written(scope, "m", &args.into_args()).unwrap_err()
    }
    assert_eq!(why(&scope, (f64::NAN,)), Unkeyable::NotFinite);
    assert_eq!(why(&scope, (f32::INFINITY,)), Unkeyable::NotFinite);
    assert_eq!(why(&scope, (nested(64),)), Unkeyable::TooDeep);
    assert!(written(&scope, "m", &(nested(63),).into_args()).is_ok());
    assert_eq!(why(&scope, ("x".repeat(16 << 20),)), Unkeyable::TooLarge);
    assert_eq!(why(&scope, (vec![0u8; 17 << 20],)), Unkeyable::TooLarge);
    assert_eq!(why(&scope, Args::new("text")), Unkeyable::Shape);
    assert_eq!(why(&scope, Args::keywords([1])), Unkeyable::Shape);
    let twice = Shuffled(&[("a".into(), 1), ("b".into(), 2), ("a".into(), 3)]);
    assert_eq!(why(&scope, Args::keywords(&twice)), Unkeyable::DuplicateKey);
}

#[test]
fn positional_arguments_are_a_sequence_and_keywords_a_map_however_they_are_wrapped() {
    #[derive(Serialize)]
    struct Wrapped<T>(T);
    #[derive(Serialize)]
    enum Kind {
        Unit,
        New(u8),
    }
    fn positional<T: Serialize>(args: T) -> Result<Key, Unkeyable> {
        let scope = Prefix::new("", "s", &Context::new(), Vary::default())?;
        written(&scope, "m", &Args::new(args))
    }
    fn keywords<T: Serialize>(args: T) -> Result<Key, Unkeyable> {
        let scope = Prefix::new("", "s", &Context::new(), Vary::default())?;
        written(&scope, "m", &Args::keywords(args))
    }
    let (one, pair) = (positional((1,)), keywords(BTreeMap::from([("a", 1)])));
    assert!(one.is_ok() && pair.is_ok());
    assert!(positional([1]) == one && positional(vec![1]) == one && positional(Some([1])) == one);
    assert!(positional(Wrapped([1])) == one && positional(Wrapped(Some(&[1]))) == one);
    assert!(keywords(Some(json!({"a": 1}))) == pair && keywords(Wrapped(json!({"a": 1}))) == pair);
    let none = positional([0; 0]);
    assert!(none.is_ok() && positional(()) == none && positional(None::<[u8; 1]>) == none);
    assert!(keywords(()) == none && keywords(json!({})) == none && keywords(crate::NoKeywords) == none);
    let refused = Err(Unkeyable::Shape);
    assert!(positional(1) == refused && positional(-1i8) == refused && positional(1.5) == refused);
    assert!(positional(1i128) == refused && positional(u128::MAX) == refused && positional('a') == refused);
    assert!(positional(true) == refused && positional("a") == refused && positional(Kind::Unit) == refused);
    assert!(positional(json!({})) == refused && positional(Kind::New(7)) == refused);
    assert!(positional("x".repeat(17 << 20)) == refused && keywords([nested(70)]) == refused);
    assert!(keywords([1]) == refused && keywords(Some(1)) == refused && keywords(Wrapped("a")) == refused);
}

/// Writes its items and looks away where one fails.
struct Lax<T>(Vec<T>);

impl<T: Serialize> Serialize for Lax<T> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut seq = serializer.serialize_seq(None)?;
        for item in &self.0 {
            let _ = seq.serialize_element(item);
        }
        seq.end()
    }
}

/// Proves: 60, S3.
#[test]
fn what_can_not_be_written_makes_no_key_even_if_its_own_serialize_goes_on() {
    let scope = Prefix::new("", "s", &Context::new(), Vary::default()).unwrap();
    fn why<A: IntoArgs>(scope: &Prefix, args: A) -> Unkeyable {
        written(scope, "m", &args.into_args()).unwrap_err()
    }
    let deep = |end: u8| (0..70).fold(json!(end), |value, _| json!([value]));
    for end in [1, 2] {
        assert_eq!(why(&scope, (Lax(vec![deep(end)]),)), Unkeyable::TooDeep);
    }
    let nan = || Lax(vec![BTreeMap::from([("aa", 1.0), ("b", f64::NAN)])]);
    assert_eq!(why(&scope, args![b = nan(), a = 2]), Unkeyable::NotFinite);
    assert_eq!(why(&scope, args![a = 2, b = nan()]), Unkeyable::NotFinite);
    assert_eq!(
        why(&scope, (Lax(vec![Lax(vec![f64::NAN])]), 1)),
        Unkeyable::NotFinite
    );
    let large = Lax(vec!["x".repeat(9 << 20); 3]);
    assert_eq!(why(&scope, (large,)), Unkeyable::TooLarge);
    // And nothing of it is left.
    let (one, other) = (args![b = 1, a = Lax(vec![1.5])], args![a = [1.5], b = 1]);
    assert!(written(&scope, "m", &one).is_ok());
    assert_eq!(
        written(&scope, "m", &one).unwrap(),
        written(&scope, "m", &other).unwrap()
    );
}
