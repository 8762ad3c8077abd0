//! A service that struggles.

use std::{fmt, ops::AddAssign, time::Duration};

use crate::{Answer, Latency, latency::Dice};

/// One brown-out: how much longer a service's answers take, and how many of them are errors.
pub(crate) struct BrownOut {
    pub(crate) service: String,
    latency: Latency,
    error_rate: f64,
    dice: Dice,
}

/// What brown-outs do to one answer.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Throw {
    pub(crate) extra: Duration,
    pub(crate) fails: bool,
}

impl BrownOut {
    pub(crate) fn new(service: &str, latency: Latency, error_rate: f64) -> Self {
        Self {
            service: service.to_owned(),
            latency,
            error_rate,
            dice: Dice::new(0, 0),
        }
    }

    /// Chance of its own: a brown-out changes no rule's throws.
    pub(crate) fn with_dice(self, seed: u64, number: usize) -> Self {
        let dice = Dice::new(seed, STREAM - number as u64);
        Self { dice, ..self }
    }

    pub(crate) fn throw(&mut self) -> Throw {
        Throw {
            extra: self.dice.draw(self.latency),
            fails: self.dice.chance(self.error_rate),
        }
    }
}

impl Throw {
    /// The answer in a brown-out.
    pub(crate) fn spoil(self, answer: Answer) -> Answer {
        if self.fails {
            let after = answer.after;
            let error = Answer::error("TimeoutError", "the service is overloaded");
            Answer { after, ..error }
        } else {
            answer
        }
    }
}

impl AddAssign for Throw {
    fn add_assign(&mut self, other: Self) {
        self.extra += other.extra;
        self.fails |= other.fails;
    }
}

impl fmt::Debug for BrownOut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "BrownOut({}, {:?}, {})",
            self.service, self.latency, self.error_rate
        )
    }
}

/// The first brown-out's stream of chance; rules count up from 0, brown-outs down from here.
const STREAM: u64 = u64::MAX - 1;
