//! Looks at services' queues: one at a time, since each takes a channel, and one for all who ask at once.

use std::{sync::Arc, time::Duration};

use nameko_cachetools::ServiceQueue;
use tokio::{
    sync::Mutex,
    time::{Instant, timeout},
};

use crate::link::Link;

/// The last look.
#[derive(Default)]
pub(crate) struct Looks(Mutex<Option<Look>>);

struct Look {
    service: String,
    found: Option<ServiceQueue>,
    at: Instant,
}

impl Looks {
    /// What is in the queue of `service`; `None` if that isn't known within a second.
    pub(crate) async fn at(&self, service: &str, link: Arc<dyn Link>) -> Option<ServiceQueue> {
        let look = async {
            let mut last = self.0.lock().await;
            if let Some(last) = &*last
                && last.service == service
                && last.at.elapsed() < FRESH
            {
                return last.found;
            }
            let found = link.service_queue(&format!("rpc-{service}")).await;
            let found = found
                .inspect_err(|reason| tracing::debug!(reason, "a service's queue can't be looked at"))
                .ok();
            *last = Some(Look {
                service: service.to_owned(),
                found,
                at: Instant::now(),
            });
            found
        };
        timeout(LIMIT, look).await.ok().flatten()
    }
}

/// The contract's: whoever asks has waited long enough already.
const LIMIT: Duration = Duration::from_secs(1);

/// When a service falls silent, many calls run out of time within a moment.
const FRESH: Duration = Duration::from_millis(100);
