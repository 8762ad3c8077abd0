//! What one call may ask for beside its arguments.

use std::time::Duration;

use crate::context::Context;

/// The options of one call; the default changes nothing.
#[derive(Debug, Clone, Default)]
pub(crate) struct Options {
    pub(crate) mode: Mode,
    /// `Some(None)`: no limit.
    pub(crate) timeout: Option<Option<Duration>>,
    pub(crate) max_age: Option<Duration>,
    pub(crate) context: Option<Context>,
    pub(crate) shared: bool,
    pub(crate) tags: Vec<String>,
    pub(crate) persistent: Option<bool>,
    /// `Some(None)`: none.
    pub(crate) expiration: Option<Option<Duration>>,
}

impl Options {
    /// Whether they say something of requests only, so that a hit is the same without them.
    pub(crate) fn leave_hits_alone(&self) -> bool {
        self.mode == Mode::Policy && self.max_age.is_none() && self.context.is_none() && !self.shared
    }
}

/// How a call wants the cache to be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Mode {
    /// As the policy says.
    #[default]
    Policy,
    /// Not at all.
    Bypass,
    /// Not for the answer, but to keep it.
    Reload,
    /// Nothing else.
    OnlyIfCached,
}
