//! nameko's worker context: what travels with every call beside its arguments.

use std::{collections::BTreeMap, fmt, sync::Arc};

use serde_json::Value;

pub(crate) const AUTH_TOKEN: &str = "auth_token";
pub(crate) const LANGUAGE: &str = "language";
pub(crate) const USER_AGENT: &str = "user_agent";
pub(crate) const USER_ID: &str = "user_id";
pub(crate) const CALL_ID_STACK: &str = "call_id_stack";

/// Keys that tell calls apart, or programs, but not those who ask: user agent, and the trace context of W3C.
pub(crate) const NOT_IDENTITY: [&str; 4] = [USER_AGENT, "traceparent", "tracestate", "baggage"];

/// The caller's context data: identity, language, call ids, and anything else a service looks for.
///
/// It goes out as headers `nameko.{key}`, and the called worker reads it as its own context data. Who asks and in
/// which language is part of the cache key: see [`CachedRpcProxy`](crate::CachedRpcProxy). Cloning is cheap; the
/// setters make a changed copy.
///
/// ```
/// use nameko_cachetools::Context;
/// let context = Context::new().user_id(7).language("sv").set("traceparent", "00-..");
/// assert_eq!(context.get("language").unwrap(), "sv");
/// ```
///
/// # Limits
/// AMQP header names have at most 255 bytes, so keys at most 248; the transport refuses longer ones. A `null` value
/// is not sent, as in nameko.
#[derive(Clone, Default, PartialEq)]
pub struct Context(Arc<Parts>);

#[derive(Clone, Default, PartialEq)]
struct Parts {
    data: BTreeMap<String, Value>,
    call_ids: Vec<String>,
}

impl Context {
    /// An empty context.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets any key. All but `user_agent`, `traceparent`, `tracestate` and `baggage` vary the cache key; `auth_token` does
    /// where there is no `user_id`.
    ///
    /// `call_id_stack` is not set this way (use [`parent_calls`](Self::parent_calls)): a value of another shape kills
    /// a nameko process. It is ignored here.
    #[must_use]
    pub fn set(mut self, key: impl Into<String>, value: impl Into<Value>) -> Self {
        let key = key.into();
        if key != CALL_ID_STACK {
            Arc::make_mut(&mut self.0).data.insert(key, value.into());
        }
        self
    }

    /// The caller's token. It varies the cache key (as a digest) unless there is a user id.
    #[must_use]
    pub fn auth_token(self, token: impl Into<String>) -> Self {
        self.set(AUTH_TOKEN, token.into())
    }

    /// The user on whose behalf the call is made. It varies the cache key.
    #[must_use]
    pub fn user_id(self, id: impl Into<Value>) -> Self {
        self.set(USER_ID, id)
    }

    /// The language the answer is wanted in. It varies the cache key.
    #[must_use]
    pub fn language(self, language: impl Into<String>) -> Self {
        self.set(LANGUAGE, language.into())
    }

    /// The caller's user agent. It does not vary the cache key.
    #[must_use]
    pub fn user_agent(self, agent: impl Into<String>) -> Self {
        self.set(USER_AGENT, agent.into())
    }

    /// The ids of the calls that led here, oldest first: a service that calls on behalf of another call passes on the
    /// stack it was given. The call's own id is added to it.
    #[must_use]
    pub fn parent_calls<I: Into<String>>(mut self, ids: impl IntoIterator<Item = I>) -> Self {
        Arc::make_mut(&mut self.0).call_ids = ids.into_iter().map(Into::into).collect();
        self
    }

    /// This context with `other`'s keys set over its own; `other`'s parent calls, if it has any, replace its own.
    #[must_use]
    pub fn merged(&self, other: &Self) -> Self {
        if other.0.data.is_empty() && other.0.call_ids.is_empty() {
            return self.clone();
        }
        let mut parts = Parts::clone(&self.0);
        parts.data.extend(
            other
                .0
                .data
                .iter()
                .map(|(key, value)| (key.clone(), value.clone())),
        );
        if !other.0.call_ids.is_empty() {
            parts.call_ids.clone_from(&other.0.call_ids);
        }
        Self(Arc::new(parts))
    }

    /// The value of a key.
    pub fn get(&self, key: &str) -> Option<&Value> {
        self.0.data.get(key)
    }

    /// All keys but the call ids, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Value)> {
        self.0.data.iter().map(|(key, value)| (key.as_str(), value))
    }

    /// The ids of the calls that led here, oldest first.
    pub fn call_ids(&self) -> &[String] {
        &self.0.call_ids
    }
}

/// Keys only: values hold identities and tokens.
impl fmt::Debug for Context {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.data.keys()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn setting_changes_a_copy() {
        let first = Context::new().language("sv");
        let second = first.clone().language("en").user_id(7);
        assert_eq!(first.get("language").unwrap(), "sv");
        assert_eq!(
            second.iter().map(|(key, _)| key).collect::<Vec<_>>(),
            ["language", "user_id"]
        );
    }

    #[test]
    fn call_ids_cannot_take_a_shape_that_kills_a_service() {
        let context = Context::new().set("call_id_stack", 7).parent_calls(["a.b.1"]);
        assert!(context.get("call_id_stack").is_none());
        assert_eq!(context.call_ids(), ["a.b.1"]);
    }

    #[test]
    fn merging_prefers_the_other() {
        let base = Context::new().language("sv").user_id(1).parent_calls(["a"]);
        let merged = base.merged(&Context::new().user_id(2));
        assert_eq!(
            (merged.get("language").unwrap(), merged.get("user_id").unwrap()),
            (&"sv".into(), &2.into())
        );
        assert_eq!(merged.call_ids(), ["a"]);
    }

    /// Proves: 80, R12.
    #[test]
    fn debug_shows_no_values() {
        let shown = format!("{:?}", Context::new().auth_token("canary").set("k", "canary"));
        assert!(
            shown.contains("auth_token") && !shown.contains("canary"),
            "{shown}"
        );
    }
}
