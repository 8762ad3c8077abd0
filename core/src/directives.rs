//! What a service says of one reply's life in the cache, in the reply's headers.
//!
//! They are this library's own, among nameko's context headers: nameko's services send none unless they are told to (the
//! guide, "Invalidation", has the lines of Python). They count only where the policy allows it: whoever may set headers
//! may keep an answer alive.

use std::time::Duration;

use serde_json::Value;

use crate::message::Headers;

/// How long this reply is fresh, in seconds, instead of the policy's `fresh_for`: a number, not negative.
pub(crate) const FRESH_FOR: &str = "nameko.cache_fresh_for";
/// By what this reply can be invalidated: a list of texts, at most 64 of at most 255 bytes.
pub(crate) const TAGS: &str = "nameko.cache_tags";
/// `true`: this reply is not to be stored.
pub(crate) const NO_STORE: &str = "nameko.cache_no_store";

const MOST_TAGS: usize = 64;
const LONGEST_TAG: usize = 255;

/// What one reply says.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Directives {
    pub(crate) fresh_for: Option<Duration>,
    pub(crate) tags: Vec<String>,
    pub(crate) no_store: bool,
}

impl Directives {
    /// Reads them. A reply that says something unreadable is not stored: it may have said that it dies soon.
    pub(crate) fn read(headers: &Headers) -> Self {
        Self::parse(headers).unwrap_or(Self {
            no_store: true,
            ..Self::default()
        })
    }

    fn parse(headers: &Headers) -> Option<Self> {
        let mut directives = Self::default();
        for (name, value) in headers {
            match name.as_ref() {
                FRESH_FOR => directives.fresh_for = Some(seconds(value)?),
                TAGS => directives.tags = tags(value)?,
                NO_STORE => directives.no_store = value.as_bool()?,
                _ => {}
            }
        }
        Some(directives)
    }
}

fn seconds(value: &Value) -> Option<Duration> {
    let seconds = value.as_f64().filter(|seconds| *seconds >= 0.0)?;
    Some(Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX))
}

fn tags(value: &Value) -> Option<Vec<String>> {
    let tags = value.as_array().filter(|tags| tags.len() <= MOST_TAGS)?;
    let tag = |tag: &Value| {
        tag.as_str()
            .filter(|tag| tag.len() <= LONGEST_TAG)
            .map(str::to_owned)
    };
    tags.iter().map(tag).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn read(headers: &[(&'static str, Value)]) -> Directives {
        Directives::read(
            &headers
                .iter()
                .map(|(name, value)| ((*name).into(), value.clone()))
                .collect(),
        )
    }

    fn nothing_stored() -> Directives {
        Directives {
            no_store: true,
            ..Directives::default()
        }
    }

    #[test]
    fn all_of_them_are_read_and_other_headers_are_not() {
        let read = self::read(&[
            ("nameko.cache_fresh_for", json!(1.5)),
            ("nameko.cache_tags", json!(["a", "b"])),
            ("nameko.cache_no_store", json!(false)),
            ("nameko.language", json!("sv")),
            ("cache_no_store", json!(true)),
        ]);
        let expected = Directives {
            fresh_for: Some(Duration::from_millis(1500)),
            tags: vec!["a".into(), "b".into()],
            no_store: false,
        };
        assert_eq!(read, expected);
        assert_eq!(self::read(&[]), Directives::default());
        assert_eq!(self::read(&[(NO_STORE, json!(true))]), nothing_stored());
        assert_eq!(
            self::read(&[(FRESH_FOR, json!(0))]).fresh_for,
            Some(Duration::ZERO)
        );
        assert_eq!(
            self::read(&[(FRESH_FOR, json!(1e300))]).fresh_for,
            Some(Duration::MAX)
        );
    }

    #[test]
    fn what_cannot_be_read_keeps_the_reply_out_of_the_cache() {
        for (name, value) in [
            (FRESH_FOR, json!(-1)),
            (FRESH_FOR, json!("60")),
            (FRESH_FOR, json!(null)),
            (TAGS, json!("a")),
            (TAGS, json!(["a", 1])),
            (TAGS, json!(["a".repeat(256)])),
            (TAGS, json!(vec!["a"; 65])),
            (NO_STORE, json!("yes")),
        ] {
            assert_eq!(
                read(&[(name, value.clone())]),
                nothing_stored(),
                "{name}: {value}"
            );
        }
        assert_eq!(read(&[(TAGS, json!(vec!["a".repeat(255); 64]))]).tags.len(), 64);
    }
}
