//! Correlation ids.

use uuid::{Builder, Uuid};

/// 122 random bits from the system each: who knows one request's id must not be able to answer another's.
///
/// The system is asked for many at once: each question is a call into the kernel.
pub(crate) struct Ids {
    random: [u8; 64 * SIZE],
    used: usize,
}

const SIZE: usize = 16;

impl Ids {
    pub(crate) fn next(&mut self) -> Uuid {
        if self.used >= self.random.len() {
            if getrandom::fill(&mut self.random).is_err() {
                return Uuid::new_v4(); // which says what is wrong
            }
            self.used = 0;
        }
        let bytes = self.random[self.used..].first_chunk::<SIZE>();
        self.used += SIZE;
        bytes.map_or_else(Uuid::new_v4, |bytes| {
            Builder::from_random_bytes(*bytes).into_uuid()
        })
    }
}

impl Default for Ids {
    fn default() -> Self {
        let random = [0; 64 * SIZE];
        Self {
            used: random.len(),
            random,
        }
    }
}
