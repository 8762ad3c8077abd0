//! A service that answers, mostly.

use std::time::Duration;

use super::Sim;
use crate::{Answer, Call, Malformed, When};

impl Sim {
    /// A handler for [`Rule::reply_with`](crate::Rule::reply_with) that mostly answers as `answer` does, after 0 to
    /// 50 ms; but two of ten calls take up to 5 s, and two of ten go wrong: no answer at all, an exception, a
    /// malformed reply, a request that the broker refuses, a connection that is lost.
    pub fn misbehaving(
        &self,
        mut answer: impl FnMut(&Call) -> Answer + Send + 'static,
    ) -> impl FnMut(&Call) -> Answer + Send + 'static {
        let sim = self.clone();
        move |call| {
            let good = answer(call);
            let (slowest, what) = match sim.below(10) {
                0 | 1 => (5000, good),
                2 | 3 => (500, sim.fault()),
                _ => (50, good),
            };
            what.after(sim.between(Duration::ZERO, Duration::from_millis(slowest)))
        }
    }

    fn fault(&self) -> Answer {
        match self.below(7) {
            0 | 1 => Answer::never(),
            2 => Answer::error("ValueError", "the service misbehaves"),
            3 => Answer::malformed(*self.pick(Malformed::ALL)),
            4 => Answer::nack(),
            5 => Answer::disconnect(When::BeforeSend),
            _ => Answer::disconnect(When::AfterSend),
        }
    }
}
