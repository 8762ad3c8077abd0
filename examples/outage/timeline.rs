//! A line every half second: what became of the calls that ended since the line before.

use std::{
    io::{self, Write},
    time::Duration,
};

use tokio::{
    sync::mpsc::UnboundedReceiver,
    time::{Instant, interval},
};

use crate::{
    play::Phase,
    screen::{BOLD, CYAN, GREEN, RED, Screen, YELLOW},
    stage::Error,
    tally::{Called, Counts, Proxy, Tally},
};

/// What the audience gets to see.
pub(crate) enum Event {
    /// The service is in this phase now, because of this.
    Began(Phase, &'static str),
    /// A call is over.
    Called(Called),
}

impl Screen {
    /// Shows what happens while it happens, until everything is over.
    pub(crate) async fn follow(self, mut events: UnboundedReceiver<Event>) -> Result<Tally, Error> {
        let (mut tally, mut phase, began) = (Tally::default(), None, Instant::now());
        let (mut tick, mut ticked) = (interval(TICK), began);
        loop {
            tokio::select! {
                biased;
                event = events.recv() => match event {
                    None => return Ok(tally),
                    Some(Event::Called(called)) => tally.add(called),
                    Some(Event::Began(next, what)) if phase == Some(next) => self.note(what)?,
                    Some(Event::Began(next, what)) => {
                        phase = Some(next);
                        if ticked.elapsed() > TICK / 4 {
                            self.line(began.elapsed(), &tally.news())?; // the end of the phase before
                        }
                        self.heading(next, what)?;
                        tick.reset();
                    }
                },
                _ = tick.tick() => {
                    ticked = Instant::now();
                    self.line(began.elapsed(), &tally.news())?;
                }
            }
        }
    }

    fn heading(self, phase: Phase, what: &str) -> io::Result<()> {
        let title = self.paint(BOLD, &format!("{phase}: {what}"));
        let names = Proxy::ALL.map(|proxy| format!("|{proxy:^24}")).concat();
        let columns = "| live hit stale err   ms".repeat(Proxy::ALL.len());
        writeln!(
            io::stdout(),
            "\n{title}\n     {}\n    s{columns}",
            names.trim_end()
        )
    }

    fn note(self, what: &str) -> io::Result<()> {
        writeln!(io::stdout(), "     | {}", self.paint(BOLD, what))
    }

    /// The calls that ended since the line before, if any.
    fn line(self, at: Duration, news: &[Counts; 3]) -> io::Result<()> {
        if news.iter().all(|counts| counts.calls() == 0) {
            return Ok(());
        }
        let mut line = format!("{:5.1}", at.as_secs_f64());
        for counts in news {
            let slowest = counts.quantile(1.0).map(|took| took.as_millis());
            line += "|";
            line += &self.number(GREEN, 5, counts.live);
            line += &self.number(CYAN, 4, counts.cached);
            line += &self.number(YELLOW, 6, counts.stale);
            line += &self.number(RED, 4, counts.errors);
            line += &slowest.map_or_else(|| " ".repeat(5), |ms| format!("{ms:5}"));
        }
        writeln!(io::stdout(), "{line}")
    }
}

const TICK: Duration = Duration::from_millis(500);
