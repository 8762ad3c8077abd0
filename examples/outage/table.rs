//! The closing table: what became of all calls, by proxy and phase.

use std::{
    io::{self, Write},
    time::Duration,
};

use crate::{
    play::Phase,
    screen::{BOLD, CYAN, DIM, GREEN, RED, Screen, YELLOW},
    tally::{Counts, Proxy, Tally},
};

impl Screen {
    /// Everything in numbers; the last three lines are for programs.
    pub(crate) fn closing(self, tally: &Tally) -> io::Result<()> {
        let mut out = io::stdout().lock();
        let title = "               calls   live cached  stale errors        p50        p99   oldest";
        writeln!(out, "\n{}", self.paint(BOLD, title))?;
        for proxy in Proxy::ALL {
            writeln!(out, "{}", self.paint(BOLD, &proxy.to_string()))?;
            for phase in Phase::ALL {
                writeln!(out, "  {phase:9}{}", self.row(&tally.counts(proxy, Some(phase))))?;
            }
            writeln!(out, "  {:9}{}", "all", self.row(&tally.counts(proxy, None)))?;
        }
        for proxy in Proxy::ALL {
            if let Some(error) = tally.first_error(proxy) {
                writeln!(out, "\nThe first error of {proxy}: {error}")?;
            }
        }
        writeln!(out)?;
        for proxy in Proxy::ALL {
            let all = tally.counts(proxy, None);
            writeln!(
                out,
                "outage: proxy={proxy} calls={} live={} cached={} stale={} errors={}",
                all.calls(),
                all.live,
                all.cached,
                all.stale,
                all.errors
            )?;
        }
        out.flush()
    }

    fn row(self, counts: &Counts) -> String {
        [
            format!("{:9}", counts.calls()),
            self.number(GREEN, 7, counts.live),
            self.number(CYAN, 7, counts.cached),
            self.number(YELLOW, 7, counts.stale),
            self.number(RED, 7, counts.errors),
            counts.quantile(0.5).map_or_else(String::new, short),
            counts.quantile(0.99).map_or_else(String::new, short),
            match counts.cached + counts.stale {
                0 => self.number(DIM, 9, 0),
                _ => format!("{:7.1} s", counts.oldest.as_secs_f64()),
            },
        ]
        .concat()
    }
}

/// In 11 columns.
fn short(took: Duration) -> String {
    let ms = took.as_secs_f64() * 1e3;
    match ms {
        ..1.0 => format!("{:8.0} µs", ms * 1e3),
        ..10.0 => format!("{ms:8.1} ms"),
        _ => format!("{ms:8.0} ms"),
    }
}
