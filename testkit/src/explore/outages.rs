//! Bad weather.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::Sim;
use crate::FakeBroker;

impl Sim {
    /// Outages of `broker` and of these services, one after the other, for `within`: the broker is down or blocked, a
    /// service is silent or unknown. Each lasts up to a quarter of the time, with as long a pause before it.
    /// Run it beside the callers (`tokio::join!`); dropping it ends the outage.
    pub async fn outages(&self, broker: &FakeBroker, services: &[&str], within: Duration) {
        let (start, longest) = (Instant::now(), within / 4);
        loop {
            sleep(self.between(Duration::from_millis(1), longest)).await;
            let left = within.saturating_sub(start.elapsed());
            if left.is_zero() {
                return;
            }
            let service = self.below(services.len() as u64) as usize;
            let _outage = match (self.below(4), services.get(service)) {
                (0, Some(service)) => broker.silent(service),
                (1, Some(service)) => broker.unknown(service),
                (2, _) => broker.blocked(),
                _ => broker.down(),
            };
            sleep(self.between(Duration::ZERO, longest).min(left)).await;
        }
    }
}
