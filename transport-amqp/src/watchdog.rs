//! Notices a connection that looks alive but does nothing: heartbeats of the library are not enough.
//!
//! - No reply came for half a heartbeat: the broker is asked about the reply queue. An answer that nobody consumes it,
//!   or neither an answer nor anything else within a heartbeat, and the link is over. This finds half-open connections,
//!   frames that never end, and a consumer that was lost without a word.
//! - A request that the socket did not take within `send_timeout`: the link is over, so that it can't be written
//!   later, when its caller has given up. Half-way the broker is asked, too, and whenever a request waits for room: an
//!   answer shows that it has read all that was sent before.
//!
//! A blocked broker doesn't read, so it can't answer: then it is not asked.

use std::{sync::Arc, time::Duration};

use tokio::time::{Instant, MissedTickBehavior, interval_at, sleep, timeout};

use crate::{calls::Calls, link::Link, settings::Settings};

pub(crate) struct Watchdog {
    calls: Arc<Calls>,
    link: Arc<dyn Link>,
    heartbeat: Duration,
    send_timeout: Duration,
    ticks: tokio::time::Interval,
    replies: u64,
    heard_at: Instant,
    probe: Option<Probe>,
    pub(crate) blocked: bool,
}

type Probe = std::pin::Pin<Box<dyn Future<Output = Option<String>> + Send>>;

impl Watchdog {
    pub(crate) fn new(settings: &Settings, calls: Arc<Calls>, link: Arc<dyn Link>) -> Self {
        // What happens between two ticks counts from the later one.
        let period = (settings.heartbeat / 16)
            .min(settings.send_timeout / 8)
            .max(MIN_PERIOD);
        let mut ticks = interval_at(Instant::now() + period, period);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self {
            replies: calls.replies(),
            heard_at: Instant::now(),
            calls,
            link,
            heartbeat: settings.heartbeat,
            send_timeout: settings.send_timeout,
            ticks,
            probe: None,
            blocked: false,
        }
    }

    /// Waits until there is a reason to give the link up. May be dropped and called again.
    pub(crate) async fn bite(&mut self) -> String {
        loop {
            let probed = tokio::select! {
                biased;
                found = async { match &mut self.probe { Some(probe) => probe.await, None => std::future::pending().await } } => Some(found),
                _ = self.ticks.tick() => None,
            };
            if let Some(found) = probed {
                self.probe = None;
                self.heard_at = Instant::now();
                match found {
                    Some(trouble) if !self.blocked => return trouble,
                    _ => continue,
                }
            }
            if self.calls.fail_unwritten(self.send_timeout) {
                return format!("the socket took no request for {:?}", self.send_timeout);
            }
            self.listen();
        }
    }

    /// Starts a probe after a silence, and when a request is not known to be written: a link that can't see it learns it
    /// from the answer.
    fn listen(&mut self) {
        let replies = self.calls.replies();
        if replies != self.replies {
            self.replies = replies;
            self.heard_at = Instant::now();
        }
        let is_due =
            || self.heard_at.elapsed() >= self.heartbeat / 2 || self.calls.is_stalled(self.send_timeout / 2);
        if self.probe.is_some() || self.blocked || !is_due() {
            return;
        }
        let (link, calls, limit) = (self.link.clone(), self.calls.clone(), self.heartbeat);
        let heard = calls.heard();
        self.probe = Some(Box::pin(async move {
            let trouble = match timeout(limit, link.probe()).await {
                Ok(Ok(0)) => "nobody consumes the reply queue any more".to_owned(),
                Ok(Ok(_)) => return None,
                Ok(Err(reason)) => reason,
                Err(_) if calls.heard() != heard => return None,
                Err(_) => return Some(format!("the broker has not answered for {limit:?}")),
            };
            sleep(LAST_WORDS).await;
            Some(trouble)
        }));
    }
}

/// Whoever asks hears of a link's end at once; the link itself tells it when it has handed on what came before.
const LAST_WORDS: Duration = Duration::from_secs(1);

const MIN_PERIOD: Duration = Duration::from_millis(1);
