//! Channels that are gone for good.

use std::sync::{
    Arc,
    atomic::{AtomicU32, Ordering},
};

/// Channels of a connection that the broker closed over what it refused, of which there may be so many.
///
/// lapin never uses the number of such a channel again, and amqprs never frees it; a connection has 2,047.
#[derive(Debug, Clone)]
pub struct Spent {
    channels: Arc<AtomicU32>,
    most: u32,
}

impl Spent {
    /// On looks at queues: 100.
    pub fn on_looks() -> Self {
        Self::at_most(100)
    }

    /// On listening to events: 1,000. What is refused is tried again every ten seconds, for almost three hours.
    pub fn on_listening() -> Self {
        Self::at_most(1000)
    }

    /// So many.
    pub fn at_most(most: u32) -> Self {
        Self {
            channels: Arc::default(),
            most,
        }
    }

    /// One more is gone.
    pub fn one(&self) {
        self.channels.fetch_add(1, Ordering::Relaxed);
    }

    /// Whether another may be risked.
    ///
    /// # Errors
    /// If not, that, in words.
    pub fn check(&self) -> Result<(), String> {
        if self.channels.load(Ordering::Relaxed) < self.most {
            return Ok(());
        }
        Err(format!(
            "the broker closed {} channels of this connection over what it refused",
            self.most
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn so_many_may_be_spent_by_all_that_share_it() {
        let spent = Spent::at_most(2);
        let shared = spent.clone();
        assert!(spent.check().is_ok());
        spent.one();
        assert!(shared.check().is_ok());
        shared.one();
        assert!(spent.check().unwrap_err().contains("closed 2 channels"));
    }
}
