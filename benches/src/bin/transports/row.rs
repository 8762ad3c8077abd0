//! One comparison.

use std::fmt;

/// `name ours peer ratio target ok|short`.
pub(crate) struct Row {
    pub(crate) name: String,
    pub(crate) ours: f64,
    pub(crate) peer: f64,
    pub(crate) ratio: f64,
    pub(crate) target: Target,
}

/// Of the ratio.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Target {
    AtLeast(f64),
    AtMost(f64),
}

impl Row {
    pub(crate) fn is_ok(&self) -> bool {
        match self.target {
            Target::AtLeast(least) => self.ratio >= least,
            Target::AtMost(most) => self.ratio <= most,
        }
    }
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let target = match self.target {
            Target::AtLeast(least) => format!(">={least}"),
            Target::AtMost(most) => format!("<={most}"),
        };
        let verdict = if self.is_ok() { "ok" } else { "short" };
        write!(
            f,
            "{} {:.1} {:.1} {:.3} {target} {verdict}",
            self.name, self.ours, self.peer, self.ratio
        )
    }
}
