//! The callers, and what became of each call.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU8, AtomicUsize, Ordering},
    },
    time::Duration,
};

use nameko_cachetools::{Delivery, Request, Route, Transport};
use tokio::{
    sync::watch,
    task::JoinSet,
    time::{Instant, sleep, timeout},
};

use crate::service::{NAME, Service, body};

/// Longer than any silence takes to be noticed: a call without an end by then is lost.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);
const CALLERS: usize = 64;

pub(crate) struct Traffic<T> {
    transport: T,
    service: Arc<Service>,
    shared: Arc<Shared>,
}

struct Shared {
    next: AtomicUsize,
    /// Calls below this number may be made: one more share with each fault, so that calls meet all of them.
    allowed: watch::Sender<usize>,
    share: usize,
    outcomes: Vec<AtomicU8>,
}

/// How a call ended.
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
enum Outcome {
    None,
    Answered,
    Mistaken,
    NotSent,
    Unknown,
    Lost,
}

impl<T: Transport + Clone> Traffic<T> {
    pub(crate) fn new(transport: T, service: Arc<Service>, calls: usize, faults: usize) -> Self {
        let share = calls.div_ceil(faults + 1);
        let shared = Shared {
            next: AtomicUsize::new(0),
            allowed: watch::Sender::new(share),
            share,
            outcomes: (0..calls).map(|_| AtomicU8::new(Outcome::None as u8)).collect(),
        };
        Self {
            transport,
            service,
            shared: Arc::new(shared),
        }
    }

    /// They end when there are no more calls to make.
    pub(crate) fn start(&self) -> JoinSet<()> {
        (0..CALLERS)
            .map(|_| call(self.transport.clone(), self.service.clone(), self.shared.clone()))
            .collect()
    }

    /// Waits until the present share of the calls has begun, and lets the next begin.
    pub(crate) async fn share(&self) {
        while self.shared.next.load(Ordering::Relaxed) < *self.shared.allowed.borrow() {
            sleep(Duration::from_millis(5)).await;
        }
        self.shared
            .allowed
            .send_modify(|allowed| *allowed += self.shared.share);
    }

    /// Waits until calls work; how long that took.
    pub(crate) async fn works(&self) -> Duration {
        let start = Instant::now();
        let probe = || Request::new(Route::new(NAME, "probe").expect("a route"), "\"probe\"");
        while !matches!(
            timeout(Duration::from_secs(20), self.transport.request(probe())).await,
            Ok(Ok(_))
        ) {
            sleep(Duration::from_millis(5)).await;
        }
        start.elapsed()
    }

    /// To be asked when no call is under way, and no request on its way to the service.
    pub(crate) fn judged(&self) -> Judged {
        let mut judged = Judged::default();
        for (call, outcome) in self.shared.outcomes.iter().enumerate() {
            let executions = self.service.executions(call);
            judged.duplicated += usize::from(executions > 1);
            match outcome.load(Ordering::Relaxed) {
                o if o == Outcome::Answered as u8 && executions > 0 => judged.answered += 1,
                o if o == Outcome::NotSent as u8 && executions == 0 => judged.not_sent += 1,
                o if o == Outcome::Unknown as u8 => judged.unknown += 1,
                o if o == Outcome::None as u8 || o == Outcome::Lost as u8 => judged.lost += 1,
                _ => judged.mismatched += 1,
            }
        }
        judged
    }
}

/// One caller. It doesn't call while there is no connection, or a long outage would use up all calls.
async fn call<T: Transport>(transport: T, service: Arc<Service>, shared: Arc<Shared>) {
    let (mut state, mut allowed) = (transport.state(), shared.allowed.subscribe());
    loop {
        let call = shared.next.fetch_add(1, Ordering::Relaxed);
        let Some(outcome) = shared.outcomes.get(call) else {
            return;
        };
        let _ = allowed.wait_for(|allowed| call < *allowed).await;
        let _ = state.wait_for(|state| state.is_ready()).await;
        service.ready().await;
        let route = Route::new(NAME, "echo").expect("a route");
        let body = body(call);
        let end = timeout(PATIENCE, transport.request(Request::new(route, body.clone()))).await;
        let ended = match end {
            Ok(Ok(response)) if response.body == body => Outcome::Answered,
            Ok(Ok(_)) => Outcome::Mistaken,
            Ok(Err(error)) if error.delivery() == Delivery::NotSent => Outcome::NotSent,
            Ok(Err(_)) => Outcome::Unknown,
            Err(_) => Outcome::Lost,
        };
        outcome.store(ended as u8, Ordering::Relaxed);
        if ended != Outcome::Answered {
            sleep(Duration::from_millis(5)).await;
        }
    }
}

#[derive(Default)]
pub(crate) struct Judged {
    answered: usize,
    not_sent: usize,
    unknown: usize,
    lost: usize,
    mismatched: usize,
    duplicated: usize,
}

impl Judged {
    pub(crate) fn counts(&self) -> [usize; 3] {
        [self.lost, self.mismatched, self.duplicated]
    }
}

impl fmt::Display for Judged {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            answered,
            not_sent,
            unknown,
            ..
        } = self;
        write!(
            f,
            "{answered} calls answered, {not_sent} not sent, {unknown} perhaps executed"
        )
    }
}
