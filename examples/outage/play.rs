//! What happens to the service, and when.

use std::{fmt, time::Duration};

use tokio::{
    sync::{mpsc::UnboundedSender, watch},
    time::sleep,
};

use crate::{
    stage::{Error, Stage},
    timeline::Event,
};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    Healthy,
    Slow,
    Dead,
    Back,
}

impl Phase {
    pub(crate) const ALL: [Self; 4] = [Self::Healthy, Self::Slow, Self::Dead, Self::Back];
}

/// The whole outage. A phase begins when what makes it has been done, and traffic goes on all the time.
pub(crate) async fn play(stage: &mut dyn Stage, length: Duration, director: Director) -> Result<(), Error> {
    let sixteenths = |n| sleep(length * n / 16);

    director.begin(Phase::Healthy, stage.healthy().await?);
    sixteenths(3).await;
    director.begin(Phase::Slow, stage.slow().await?);
    sixteenths(4).await;
    director.begin(Phase::Dead, stage.hang().await?);
    sixteenths(2).await;
    director.begin(Phase::Dead, stage.kill().await?);
    sixteenths(3).await;
    director.begin(Phase::Back, stage.bring_back().await?);
    sixteenths(4).await;
    Ok(())
}

/// Tells the traffic and the audience which phase it is. Dropping it ends the traffic.
pub(crate) struct Director {
    phase: watch::Sender<Phase>,
    events: UnboundedSender<Event>,
}

impl Director {
    pub(crate) fn new(phase: watch::Sender<Phase>, events: UnboundedSender<Event>) -> Self {
        Self { phase, events }
    }

    fn begin(&self, phase: Phase, what: &'static str) {
        self.phase.send_replace(phase);
        let _ = self.events.send(Event::Began(phase, what)); // without an audience, the show goes on
    }
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Healthy => "healthy",
            Self::Slow => "slow",
            Self::Dead => "dead",
            Self::Back => "back",
        })
    }
}
