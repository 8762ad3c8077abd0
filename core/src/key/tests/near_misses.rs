//! Calls that are nearly the same, and calls that are the same in another order.

use super::*;

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
        written(&scope, method, &args).unwrap().as_bytes().to_vec()
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
