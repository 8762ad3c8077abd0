//! The terminal, or a pipe: plain lines of at most 80 columns, coloured where people look at them.

use std::{
    env,
    io::{self, IsTerminal, Write},
    time::Duration,
};

use crate::traffic::{CALL_TIMEOUT, CALLS_PER_SECOND, FAILOVER_TIMEOUT, FRESH_FOR};

#[derive(Clone, Copy)]
pub(crate) struct Screen {
    has_colours: bool,
}

impl Screen {
    /// Colours are for people: not for a pipe, and not for those who ask for none (<https://no-color.org>).
    pub(crate) fn new() -> Self {
        let refused = env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        Self {
            has_colours: io::stdout().is_terminal() && !refused,
        }
    }

    pub(crate) fn opening(self, stage: &str, length: Duration) -> io::Result<()> {
        writeln!(
            io::stdout(),
            "\
{CALLS_PER_SECOND} calls a second through each of three proxies, for {length:?}.
The service is {stage}

  plain        ServiceProxy: the service's answer, or an error after {CALL_TIMEOUT:?}
  cached       CachedRpcProxy: the same, or after {FAILOVER_TIMEOUT:?} the last good answer
  cache_first  CacheFirstRpcProxy: the last good answer for {FRESH_FOR:?}, then as above

  live  answered by the service             stale  by the cache, with an old one
  hit   by the cache, with a fresh answer   err    not at all
  ms    the slowest of the calls"
        )
    }

    /// A dot for none, so that the others are seen.
    pub(crate) fn number(self, colour: &str, width: usize, number: usize) -> String {
        match number {
            0 => self.paint(DIM, &format!("{:>width$}", ".")),
            _ => self.paint(colour, &format!("{number:width$}")),
        }
    }

    pub(crate) fn paint(self, colour: &str, text: &str) -> String {
        match self.has_colours {
            true => format!("\x1b[{colour}m{text}\x1b[0m"),
            false => text.to_owned(),
        }
    }
}

// How terminals are told (ECMA-48, "select graphic rendition").
pub(crate) const BOLD: &str = "1";
pub(crate) const DIM: &str = "2";
pub(crate) const RED: &str = "31";
pub(crate) const GREEN: &str = "32";
pub(crate) const YELLOW: &str = "33";
pub(crate) const CYAN: &str = "36";
