//! The echo service, which counts how often it was asked for each call, and comes back when its connection is lost.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU8, AtomicUsize, Ordering},
    },
    time::Duration,
};

use nameko_cachetools_interop::Responder;
use tokio::{sync::watch, time::sleep};

pub(crate) const NAME: &str = "soak";

pub(crate) struct Service {
    executions: Vec<AtomicU8>,
    total: AtomicUsize,
    up: watch::Sender<bool>,
}

impl Service {
    pub(crate) fn new(calls: usize) -> Self {
        Self {
            executions: (0..calls).map(|_| AtomicU8::new(0)).collect(),
            total: AtomicUsize::new(0),
            up: watch::Sender::new(false),
        }
    }

    pub(crate) fn executions(&self, call: usize) -> u8 {
        self.executions[call].load(Ordering::Relaxed)
    }

    /// Waits until it serves.
    pub(crate) async fn ready(&self) {
        let _ = self.up.subscribe().wait_for(|up| *up).await;
    }

    /// Waits until no request has come for a while.
    pub(crate) async fn drained(&self) {
        let mut seen = usize::MAX;
        while seen != self.total.load(Ordering::Relaxed) {
            seen = self.total.load(Ordering::Relaxed);
            sleep(Duration::from_secs(1)).await;
        }
    }

    fn execute(&self, body: &[u8]) {
        self.total.fetch_add(1, Ordering::Relaxed);
        if let Some(count) = number(body).and_then(|call| self.executions.get(call)) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// For ever: on a new connection after each lost one.
pub(crate) async fn serve(service: Arc<Service>, uri: String) {
    loop {
        let counting = service.clone();
        let answer = move |asked: nameko_cachetools_interop::Asked,
                           replies: &nameko_cachetools_interop::Replies| {
            counting.execute(&asked.body);
            replies.send(&asked, asked.body.clone());
        };
        if let Ok(responder) = Responder::start(&uri, "nameko-rpc", NAME, answer).await {
            service.up.send_replace(true);
            while responder.is_connected() {
                sleep(Duration::from_millis(20)).await;
            }
            service.up.send_replace(false);
        }
        sleep(Duration::from_millis(100)).await;
    }
}

/// A request's body, longer for some calls than for others.
pub(crate) fn body(call: usize) -> String {
    let padding = match call % 100 {
        0 => 200_000, // beyond a frame
        1..10 => 4_000,
        n => n,
    };
    let padding = "x".repeat(padding);
    format!(r#"{{"args": [{call}, "{padding}"], "kwargs": {{}}}}"#)
}

/// The call that a body is of.
fn number(body: &[u8]) -> Option<usize> {
    let digits = body.strip_prefix(br#"{"args": ["#)?;
    let end = digits.iter().position(|byte| !byte.is_ascii_digit())?;
    std::str::from_utf8(&digits[..end]).ok()?.parse().ok()
}
