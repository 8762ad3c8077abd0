//! The arguments of a call: positional and keyword, by tuple, by `args!`, or by any serde type.

use serde::{Serialize, Serializer, ser::SerializeMap};

/// Positional and keyword arguments, still in the caller's own types: they are written straight into the key and
/// into the request, without a value tree between.
///
/// Made by [`args!`](crate::args), or from serde types that write a sequence and a map:
///
/// ```
/// use nameko_cachetools::{Args, args};
///
/// args!["the_odyssey", currency = "EUR"];               // get("the_odyssey", currency="EUR")
/// Args::new(("the_odyssey",));                          // get("the_odyssey")
/// #[derive(serde::Serialize)]
/// struct Search<'a> { state: &'a str, limit: u32 }
/// Args::keywords(Search { state: "open", limit: 50 });  // search(state="open", limit=50)
/// ```
///
/// No `Debug`: arguments never get into logs.
#[derive(Clone, Copy, Default)]
#[allow(missing_debug_implementations, reason = "arguments never get into logs")]
pub struct Args<P, K = NoKeywords> {
    pub(crate) positional: P,
    pub(crate) keyword: K,
}

impl<P: Serialize> Args<P> {
    /// Positional arguments: a tuple, an array, a `Vec`, or anything else that serde writes as a sequence.
    pub fn new(positional: P) -> Self {
        Self {
            positional,
            keyword: NoKeywords,
        }
    }

    /// Adds keyword arguments: a struct, a map, or anything else that serde writes as a map with text keys.
    pub fn with_keywords<K: Serialize>(self, keyword: K) -> Args<P, K> {
        Args {
            positional: self.positional,
            keyword,
        }
    }
}

impl<P, K> Args<P, K> {
    /// The positional and the keyword arguments.
    pub fn into_parts(self) -> (P, K) {
        (self.positional, self.keyword)
    }
}

impl<K: Serialize> Args<(), K> {
    /// Keyword arguments alone.
    pub fn keywords(keyword: K) -> Self {
        Self {
            positional: (),
            keyword,
        }
    }
}

/// What a call accepts as arguments: [`Args`], tuples of up to 16, arrays, slices and vectors of positional ones.
pub trait IntoArgs {
    /// The positional arguments, written as a sequence.
    type Positional: Serialize;
    /// The keyword arguments, written as a map.
    type Keyword: Serialize;

    /// The two together.
    fn into_args(self) -> Args<Self::Positional, Self::Keyword>;
}

impl<P: Serialize, K: Serialize> IntoArgs for Args<P, K> {
    type Positional = P;
    type Keyword = K;

    fn into_args(self) -> Self {
        self
    }
}

macro_rules! positional {
    ([$($generics:tt)*] $type:ty) => {
        impl<$($generics)*> IntoArgs for $type
        where
            Self: Serialize,
        {
            type Positional = Self;
            type Keyword = NoKeywords;

            fn into_args(self) -> Args<Self> {
                Args::new(self)
            }
        }
    };
}

positional!([]());
positional!([T] Vec<T>);
positional!([T] & [T]);
positional!([T, const N: usize] [T; N]);

/// Of so many types, and of fewer.
macro_rules! tuples {
    () => {};
    ($first:ident $($rest:ident)*) => {
        positional!([$first, $($rest),*] ($first, $($rest,)*));
        tuples!($($rest)*);
    };
}

tuples!(A B C D E F G H I J K L M N O P);

/// No keyword arguments: an empty map.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct NoKeywords;

/// One keyword argument before others: what [`args!`](crate::args) builds.
#[derive(Clone, Copy)]
#[allow(missing_debug_implementations, reason = "arguments never get into logs")]
pub struct Keyword<V, Rest> {
    name: &'static str,
    value: V,
    rest: Rest,
}

impl<V, Rest> Keyword<V, Rest> {
    #[doc(hidden)]
    pub const fn new(name: &'static str, value: V, rest: Rest) -> Self {
        Self { name, value, rest }
    }
}

/// A list of keyword arguments whose names and number are known when compiling.
trait KeywordList {
    const COUNT: usize;

    fn write<M: SerializeMap>(&self, map: &mut M) -> Result<(), M::Error>;
}

impl KeywordList for NoKeywords {
    const COUNT: usize = 0;

    fn write<M: SerializeMap>(&self, _: &mut M) -> Result<(), M::Error> {
        Ok(())
    }
}

impl<V: Serialize, Rest: KeywordList> KeywordList for Keyword<V, Rest> {
    const COUNT: usize = Rest::COUNT + 1;

    fn write<M: SerializeMap>(&self, map: &mut M) -> Result<(), M::Error> {
        map.serialize_entry(self.name, &self.value)?;
        self.rest.write(map)
    }
}

fn write_map<L: KeywordList, S: Serializer>(list: &L, serializer: S) -> Result<S::Ok, S::Error> {
    let mut map = serializer.serialize_map(Some(L::COUNT))?;
    list.write(&mut map)?;
    map.end()
}

impl Serialize for NoKeywords {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        write_map(self, serializer)
    }
}

#[allow(private_bounds, reason = "the list is closed: only `args!` makes one")]
impl<V: Serialize, Rest: KeywordList> Serialize for Keyword<V, Rest> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        write_map(self, serializer)
    }
}

/// The arguments of a call, as they would stand in Python: positional ones first, then `name = value`.
///
/// Values are anything that serde can serialise; names are any Python identifier, Rust's keywords included. Up to 16
/// positional arguments; for more, or for a list made at run time, pass a `Vec` (see [`Args`]).
///
/// ```
/// use nameko_cachetools::args;
///
/// let id = 7;
/// args![];                              // f()
/// args![id, "two", [3, 4]];             // f(7, "two", [3, 4])
/// args![id, state = "open", type = 1];  // f(7, state="open", type=1)
/// ```
///
/// A positional argument after a keyword is refused, as in Python:
///
/// ```compile_fail
/// nameko_cachetools::args![state = "open", 7];
/// ```
#[macro_export]
macro_rules! args {
    ($($input:tt)*) => { $crate::__args!([] [] $($input)*) };
}

/// The workings of [`args!`]: moves one argument at a time from the input into its list.
#[doc(hidden)]
#[macro_export]
macro_rules! __args {
    ([$($positional:expr,)*] [$($name:ident = $value:expr,)*]) => {
        $crate::Args::new(($($positional,)*)).with_keywords($crate::__keywords!($($name = $value,)*))
    };
    ([$($p:tt)*] [$($k:tt)*] $name:ident = $value:expr) => {
        $crate::__args!([$($p)*] [$($k)* $name = $value,])
    };
    ([$($p:tt)*] [$($k:tt)*] $name:ident = $value:expr, $($rest:tt)*) => {
        $crate::__args!([$($p)*] [$($k)* $name = $value,] $($rest)*)
    };
    ([$($p:tt)*] [] $value:expr) => { $crate::__args!([$($p)* $value,] []) };
    ([$($p:tt)*] [] $value:expr, $($rest:tt)*) => { $crate::__args!([$($p)* $value,] [] $($rest)*) };
    ([$($p:tt)*] [$($k:tt)+] $($rest:tt)+) => {
        ::core::compile_error!("a positional argument stands after a keyword argument")
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __keywords {
    () => { $crate::NoKeywords };
    ($name:ident = $value:expr, $($rest:tt)*) => {
        $crate::Keyword::new(::core::stringify!($name), $value, $crate::__keywords!($($rest)*))
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    fn json(args: impl IntoArgs) -> String {
        let args = args.into_args();
        let text = |value: serde_json::Result<String>| value.expect("plain values");
        text(serde_json::to_string(&args.positional)) + &text(serde_json::to_string(&args.keyword))
    }

    #[test]
    fn the_macro_reads_as_python_does() {
        assert_eq!(
            json(args![1, "two", three = 3, r = [4]]),
            r#"[1,"two"]{"three":3,"r":[4]}"#
        );
        assert_eq!(json(args![1 + 1, 2 == 2,]), "[2,true]{}");
        assert_eq!(json(args![0, type = 1, in = 2,]), r#"[0]{"type":1,"in":2}"#);
    }

    #[test]
    fn tuples_vectors_and_structs_are_arguments_too() {
        assert_eq!(json((1, "two")), r#"[1,"two"]{}"#);
        assert_eq!(json(vec![1, 2]), "[1,2]{}");
        assert_eq!(json(&[1, 2][..]), "[1,2]{}");
        assert_eq!(json([1, 2]), "[1,2]{}");
        let sixteen = (1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, "16");
        assert_eq!(json(sixteen), r#"[1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,"16"]{}"#);
        let keywords = std::collections::BTreeMap::from([("limit", 50)]);
        assert_eq!(
            json(Args::new((1,)).with_keywords(&keywords)),
            r#"[1]{"limit":50}"#
        );
    }
}
