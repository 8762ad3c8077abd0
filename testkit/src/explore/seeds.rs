//! Which seeds are run.

use std::{env, ops::Range};

use crate::fail;

/// The seeds of one [`explore`](crate::explore()): 0 to 99, if nothing else is said.
///
/// ```
/// # use nameko_cachetools_testkit::explore::Seeds;
/// let thousand = Seeds::default().count(1000);
/// let others = Seeds::default().from(1_000_000).count(1000);
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seeds {
    first: u64,
    count: u64,
    replay: Option<u64>,
}

impl Default for Seeds {
    /// 0 to 99, or what the environment says: `EXPLORE_SEED`, `EXPLORE_COUNT`.
    fn default() -> Self {
        Self {
            first: 0,
            count: 100,
            replay: number("EXPLORE_SEED"),
        }
    }
}

impl Seeds {
    /// How many seeds, unless `EXPLORE_COUNT` says otherwise. Default: 100.
    #[must_use]
    pub fn count(self, count: u64) -> Self {
        Self { count, ..self }
    }

    /// The first seed. Default: 0.
    #[must_use]
    pub fn from(self, first: u64) -> Self {
        Self { first, ..self }
    }

    /// The seeds themselves: what the environment asks for, else these.
    pub fn iter(&self) -> Range<u64> {
        match self.replay {
            Some(seed) => seed..seed.saturating_add(1),
            None => {
                self.first
                    ..self
                        .first
                        .saturating_add(number("EXPLORE_COUNT").unwrap_or(self.count))
            }
        }
    }

    /// Whether the environment asks for one seed only.
    pub(crate) fn is_replay(&self) -> bool {
        self.replay.is_some()
    }
}

#[track_caller]
fn number(variable: &str) -> Option<u64> {
    let text = env::var(variable).ok()?;
    match text.parse() {
        Ok(number) => Some(number),
        Err(_) => fail(format!("{variable} is a whole number, got {text:?}")),
    }
}

impl IntoIterator for Seeds {
    type Item = u64;
    type IntoIter = Range<u64>;

    fn into_iter(self) -> Range<u64> {
        self.iter()
    }
}
