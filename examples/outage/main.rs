//! What a service's outage looks like through three proxies: `cargo run --release --example outage`.
//!
//! The same calls go through a plain proxy, a `CachedRpcProxy` and a `CacheFirstRpcProxy`, at a steady pace, while the
//! service is healthy, then slow, then dead, then back. Nothing else is needed: broker and service are faked in memory.
//! With `AMQP_URI` set they are a RabbitMQ and a real nameko service.
//!
//! | file | what |
//! |---|---|
//! | `traffic.rs` | the three proxies, and the calls: begin here |
//! | `play.rs` | what happens to the service, and when |
//! | `stage.rs` | where that happens: in memory (`fake.rs`), or on RabbitMQ (`real.rs`) |
//! | `tally.rs` | what became of the calls |
//! | `screen.rs`, `timeline.rs`, `table.rs` | how that is shown |
#![forbid(unsafe_code)]

mod fake;
mod play;
mod real;
mod screen;
mod stage;
mod table;
mod tally;
mod timeline;
mod traffic;

use std::{env, process::ExitCode, time::Duration};

use tokio::sync::{mpsc, watch};

use crate::{
    fake::Fake,
    play::{Director, Phase},
    real::Real,
    screen::Screen,
    stage::{Error, Stage},
    tally::Tally,
};

const USAGE: &str = "\
usage: cargo run --release --example outage [-- --seconds N]

Calls a service through three proxies while it is healthy, slow, dead and back, for N seconds in all (4 to 600, 16 if
not given). The service is faked in memory; with AMQP_URI set it is a real one of nameko's on that RabbitMQ.";

#[tokio::main]
async fn main() -> ExitCode {
    let Some(length) = length(env::args().skip(1)) else {
        eprintln!("{USAGE}");
        return ExitCode::from(2);
    };
    match outage(length).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("outage: {error}");
            ExitCode::FAILURE
        }
    }
}

/// The whole outage. Fails if a cached proxy did where it had an answer to give.
async fn outage(length: Duration) -> Result<(), Error> {
    let mut stage: Box<dyn Stage> = match env::var_os("AMQP_URI").filter(|uri| !uri.is_empty()) {
        None => Box::new(Fake::new()),
        Some(_) => Box::new(Real::start().await?),
    };
    let tally = perform(stage.as_mut(), length).await;
    stage.close().await;

    match tally?.broken_promise() {
        None => Ok(()),
        Some(error) => Err(format!("a cached proxy failed though it was warm: {error}").into()),
    }
}

async fn perform(stage: &mut dyn Stage, length: Duration) -> Result<Tally, Error> {
    let screen = Screen::new();
    screen.opening(stage.name(), length)?;

    let (events, seen) = mpsc::unbounded_channel();
    let (phase, now) = watch::channel(Phase::Healthy);
    traffic::start(&stage.client(), stage.service(), &now, &events);
    // The director leaves when the play ends, and that ends the traffic; the last call over, the show ends.
    let play = play::play(stage, length, Director::new(phase, events));
    let ((), tally) = tokio::try_join!(play, screen.follow(seen))?;

    screen.closing(&tally)?;
    Ok(tally)
}

/// `--seconds N`, or nothing.
fn length(mut args: impl Iterator<Item = String>) -> Option<Duration> {
    let seconds = match args.next().as_deref() {
        None => 16,
        Some("--seconds") => args.next()?.parse().ok()?,
        Some(_) => return None,
    };
    let is_usable = args.next().is_none() && (4..=600).contains(&seconds);
    is_usable.then(|| Duration::from_secs(seconds))
}
