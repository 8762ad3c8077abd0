//! What a transport over AMQP has to survive on the wire, as small named checks over the fake broker: no RabbitMQ is
//! needed. That it keeps the contract of [`Transport`] while nothing is wrong is checked by
//! [`transport_conformance`](crate::transport_conformance).
//!
//! ```no_run
//! use std::sync::Arc;
//!
//! use async_trait::async_trait;
//! use nameko_cachetools::Transport;
//! use nameko_cachetools_testkit::wire::conformance::{self, Harness};
//!
//! struct Mine;
//!
//! #[async_trait]
//! impl Harness for Mine {
//!     async fn connect(&self, uri: &str) -> Result<Arc<dyn Transport>, String> {
//!         # let _ = uri;
//!         Err("your transport, connected to `uri`".to_owned())
//!     }
//! }
//!
//! # async fn example() {
//! conformance::run_all(Arc::new(Mine)).await;
//! # }
//! ```

mod confirms;
mod ends;
mod frames;
mod handshake;
mod replies;

use std::{pin::Pin, sync::Arc, time::Duration};

use async_trait::async_trait;
use nameko_cachetools::{Delivery, Request, Response, Route, Transport, TransportError};
use tokio::{
    task::JoinSet,
    time::{Instant, sleep, timeout},
};

use super::WireBroker;
use crate::{
    Answer, FakeBroker,
    conformance::{checks, ensure, within},
    fail,
};

pub use crate::conformance::Outcome;

/// All checks, by name. [`run_all`] runs them; a test for each gives nicer names in a test run.
pub const CHECKS: &[(&str, Check)] = checks![
    confirms::a_refused_request_is_told,
    confirms::late_confirms_hold_up_no_reply,
    confirms::missing_confirms_hold_up_no_reply,
    confirms::gathered_confirms_are_confirms,
    confirms::a_returned_request_is_an_unknown_service,
    confirms::returns_reach_their_own_requests,
    ends::a_reset_ends_what_waits,
    ends::a_fin_ends_what_waits,
    ends::a_closed_connection_ends_what_waits,
    ends::a_closed_channel_ends_what_waits,
    ends::a_cancelled_consumer_ends_what_waits,
    ends::a_deleted_reply_queue_ends_what_waits,
    ends::a_broker_that_is_down_is_waited_for,
    ends::half_open_is_noticed,
    ends::a_short_silence_is_survived,
    ends::a_blocked_broker_takes_nothing,
    frames::a_wrong_frame_end_ends_what_waits,
    frames::an_unknown_frame_type_ends_what_waits,
    frames::a_bogus_length_ends_what_waits,
    frames::half_a_frame_ends_what_waits,
    frames::what_is_not_amqp_ends_what_waits,
    frames::slow_octets_are_waited_for,
    frames::missing_heartbeats_are_survived,
    handshake::a_silent_handshake_ends_in_time,
    handshake::refused_logins_are_told,
    handshake::refused_vhosts_are_told,
    handshake::extreme_limits_are_agreed_to,
    replies::duplicates_end_no_other_request,
    replies::strays_end_no_request,
    replies::a_misdirected_reply_ends_one_request,
    replies::an_id_that_is_no_text_is_survived,
    replies::a_connection_lost_after_a_reply_loses_no_reply,
    replies::a_connection_closed_after_replies_loses_no_reply,
    replies::a_channel_closed_after_replies_loses_no_reply,
    replies::a_consumer_cancelled_after_replies_loses_no_reply,
];

/// One check.
pub type Check = fn(Arc<dyn Harness>) -> Pin<Box<dyn Future<Output = Outcome> + Send>>;

/// What the checks need of a transport's tests.
#[async_trait]
pub trait Harness: Send + Sync {
    /// A transport connected to `uri`. With a heartbeat of at most 4 s, pauses between attempts to connect of at most
    /// 1 s, and 5 s for an attempt; otherwise the checks take too long.
    ///
    /// # Errors
    /// Why there is no connection, in words.
    async fn connect(&self, uri: &str) -> Result<Arc<dyn Transport>, String>;

    /// Whether it can do without a limit to frames, if the broker proposes none (`frame_max` 0). The default is that
    /// it can; some libraries can't, and few brokers are set up so.
    fn takes_unlimited_frames(&self) -> bool {
        true
    }
}

/// Runs all checks, all at once: most of them wait.
///
/// # Panics
/// If any failed, naming each and saying how.
pub async fn run_all(harness: Arc<dyn Harness>) {
    let mut running: JoinSet<Option<String>> = CHECKS
        .iter()
        .map(|(name, check)| {
            let check = tokio::spawn(check(Arc::clone(&harness)));
            async move {
                let why = match check.await {
                    Ok(Ok(())) => return None,
                    Ok(Err(why)) => why,
                    Err(panic) => panic.to_string(),
                };
                Some(format!("  {name}: {why}"))
            }
        })
        .collect();
    let mut failed = Vec::new();
    while let Some(ended) = running.join_next().await {
        failed.extend(ended.ok().flatten());
    }
    if !failed.is_empty() {
        let (failed, lines) = (failed.len(), failed.join("\n"));
        fail(format!(
            "{failed} of {} checks of wire::conformance failed:\n{lines}",
            CHECKS.len()
        ));
    }
}

/// A broker on a port and one transport to it.
struct Scene {
    transport: Arc<dyn Transport>,
    wire: WireBroker,
    broker: FakeBroker,
}

impl Scene {
    async fn new(harness: &Arc<dyn Harness>) -> Result<Self, String> {
        let (broker, wire) = stage().await;
        let transport = harness.connect(&wire.uri()).await?;
        Ok(Self {
            transport,
            wire,
            broker,
        })
    }

    /// Calls, and expects the argument back.
    async fn echo(&self, mark: &str) -> Outcome {
        let answer = within(PATIENCE, "an echo", self.transport.request(request("echo", mark))).await?;
        let response = answer.map_err(|error| format!("an echo failed: {error}"))?;
        ensure!(
            response
                .body
                .windows(mark.len())
                .any(|part| part == mark.as_bytes()),
            "an echo of {mark:?} brought another's reply"
        );
        Ok(())
    }

    /// Calls that get no answer, and have all arrived at the broker.
    async fn waiting(&self) -> Result<Waiting, String> {
        self.waiting_calls(WAITING).await
    }

    async fn waiting_calls(&self, number: usize) -> Result<Waiting, String> {
        self.has_in_flight("ended with their connection", |calls| calls == 0)
            .await?;
        let calls = (0..number)
            .map(|n| {
                let (transport, request) = (Arc::clone(&self.transport), request("silent", &n.to_string()));
                async move { transport.request(request).await }
            })
            .collect();
        self.has_in_flight("arrived", |calls| calls >= number).await?;
        Ok(Waiting(calls))
    }

    async fn has_in_flight(&self, what: &str, enough: impl Fn(usize) -> bool) -> Outcome {
        let start = Instant::now();
        while !enough(self.broker.in_flight()) {
            let calls = self.broker.in_flight();
            ensure!(start.elapsed() < PATIENCE, "requests have not {what}: {calls}");
            sleep(TICK).await;
        }
        Ok(())
    }

    /// Works again, within the time it takes to notice and to connect.
    async fn recovers(&self) -> Outcome {
        let start = Instant::now();
        loop {
            let last = match timeout(PATIENCE, self.transport.request(request("echo", "again"))).await {
                Ok(Ok(_)) => return Ok(()),
                Ok(Err(error)) => error.to_string(),
                Err(_) => "no reply".to_owned(),
            };
            ensure!(
                start.elapsed() < RECOVERY,
                "no call works {RECOVERY:?} later: {last}"
            );
            sleep(TICK).await;
        }
    }
}

/// Calls without an answer.
struct Waiting(JoinSet<Result<Response, TransportError>>);

impl Waiting {
    /// Each ends with a reply.
    async fn are_answered(self) -> Outcome {
        let ended = within(PATIENCE, "the end of the waiting calls", self.0.join_all()).await?;
        let lost = ended.iter().filter_map(|ended| ended.as_ref().err());
        let lost: Vec<_> = lost.map(ToString::to_string).collect();
        match &*lost {
            [] => Ok(()),
            [why, ..] => Err(format!("{} replies were lost: {why}", lost.len())),
        }
    }

    /// Each ends with its connection, which is noticed within `limit`, and says that it may have been executed.
    async fn are_lost(self, limit: Duration) -> Outcome {
        for ended in within(limit, "the end of the waiting calls", self.0.join_all()).await? {
            match ended {
                Err(error @ TransportError::Disconnected { .. }) if error.delivery() == Delivery::Unknown => {
                }
                other => return Err(format!("a waiting call ended with {other:?}")),
            }
        }
        Ok(())
    }
}

async fn stage() -> (FakeBroker, WireBroker) {
    let broker = FakeBroker::new();
    broker
        .on("svc.echo")
        .reply_with(|call| Answer::raw(call.request.body.clone(), "application/json"));
    broker.on("svc.silent").reply(Answer::never());
    let wire = broker.serve().await;
    (broker, wire)
}

fn request(method: &'static str, mark: &str) -> Request {
    match Route::new("svc", method) {
        Ok(route) => Request::new(route, format!(r#"{{"args": ["{mark}"], "kwargs": {{}}}}"#)),
        Err(error) => fail(error), // all names are written here
    }
}

/// How many calls wait for a connection's end.
const WAITING: usize = 20;
/// What takes no time, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(10);
/// An end that TCP or the broker tells of.
const AT_ONCE: Duration = Duration::from_secs(5);
/// An end that only watching tells of: two heartbeats of four seconds, and some.
const UNTOLD: Duration = Duration::from_secs(20);
const RECOVERY: Duration = Duration::from_secs(20);
const TICK: Duration = Duration::from_millis(10);
