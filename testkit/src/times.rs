//! How often a rule is to be used.

use std::{
    fmt,
    ops::{Range, RangeFrom, RangeFull, RangeInclusive, RangeTo, RangeToInclusive},
};

/// How many calls a rule expects: `2`, `1..=3`, `1..`, `..=3`, or any number (`..`).
///
/// ```
/// # use nameko_cachetools_testkit::Times;
/// assert_eq!(Times::from(2).to_string(), "exactly 2 calls");
/// assert_eq!(Times::from(1..).to_string(), "at least 1 call");
/// assert_eq!(Times::from(1..=3).to_string(), "1 to 3 calls");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Times {
    least: u64,
    most: u64,
}

impl Times {
    pub(crate) const ANY: Self = Self {
        least: 0,
        most: u64::MAX,
    };

    pub(crate) fn contains(self, n: u64) -> bool {
        (self.least..=self.most).contains(&n)
    }

    /// Whether a rule that saw `n` calls takes another.
    pub(crate) fn allows_more_than(self, n: u64) -> bool {
        n < self.most
    }
}

impl fmt::Display for Times {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.least, self.most) {
            (0, 0) => f.write_str("no call"),
            (0, u64::MAX) => f.write_str("any number of calls"),
            (n, m) if n == m => write!(f, "exactly {}", calls(n)),
            (n, u64::MAX) => write!(f, "at least {}", calls(n)),
            (0, m) => write!(f, "at most {}", calls(m)),
            (n, m) => write!(f, "{n} to {}", calls(m)),
        }
    }
}

/// `1 call`, `2 calls`.
pub(crate) fn calls(n: u64) -> String {
    if n == 1 {
        "1 call".to_owned()
    } else {
        format!("{n} calls")
    }
}

impl From<u64> for Times {
    fn from(n: u64) -> Self {
        Self { least: n, most: n }
    }
}

impl From<RangeInclusive<u64>> for Times {
    fn from(range: RangeInclusive<u64>) -> Self {
        Self {
            least: *range.start(),
            most: *range.end(),
        }
    }
}

impl From<Range<u64>> for Times {
    fn from(range: Range<u64>) -> Self {
        Self {
            least: range.start,
            most: range.end.saturating_sub(1),
        }
    }
}

impl From<RangeFrom<u64>> for Times {
    fn from(range: RangeFrom<u64>) -> Self {
        Self {
            least: range.start,
            most: u64::MAX,
        }
    }
}

impl From<RangeTo<u64>> for Times {
    fn from(range: RangeTo<u64>) -> Self {
        Self {
            least: 0,
            most: range.end.saturating_sub(1),
        }
    }
}

impl From<RangeToInclusive<u64>> for Times {
    fn from(range: RangeToInclusive<u64>) -> Self {
        Self {
            least: 0,
            most: range.end,
        }
    }
}

impl From<RangeFull> for Times {
    fn from(_: RangeFull) -> Self {
        Self::ANY
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_range_means_what_it_says() {
        let accepted = |times: Times| (0..6).filter(|n| times.contains(*n)).collect::<Vec<_>>();
        assert_eq!(accepted(2.into()), [2]);
        assert_eq!(accepted((1..3).into()), [1, 2]);
        assert_eq!(accepted((1..=3).into()), [1, 2, 3]);
        assert_eq!(accepted((4..).into()), [4, 5]);
        assert_eq!(accepted((..2).into()), [0, 1]);
        assert_eq!(accepted((..=2).into()), [0, 1, 2]);
        assert_eq!(accepted((..).into()), [0, 1, 2, 3, 4, 5]);
        assert_eq!(Times::from(0).to_string(), "no call");
    }
}
