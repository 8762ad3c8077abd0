//! What a broker knows of a service.

use std::fmt;

/// A service's request queue (`rpc-{service}`), as its broker sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ServiceQueue {
    /// There is none: the service has never run on this broker, or somebody deleted its queue with the requests in it.
    Missing,
    /// There is one.
    Exists {
        /// Instances of the service that read it. 0: the service is stopped, and requests wait for it.
        consumers: u32,
        /// Requests that wait in it, not counting those that instances have taken already.
        waiting: u32,
    },
}

impl fmt::Display for ServiceQueue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self::Exists { consumers, waiting } = self else {
            return f.write_str("it has no queue on this broker");
        };
        match consumers {
            0 => f.write_str("nobody reads")?,
            1 => f.write_str("1 instance reads")?,
            many => write!(f, "{many} instances read")?,
        }
        f.write_str(" its queue, where ")?;
        match waiting {
            1 => f.write_str("1 request waits"),
            many => write!(f, "{many} requests wait"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_says_what_is_known() {
        let text = |consumers, waiting| ServiceQueue::Exists { consumers, waiting }.to_string();
        assert_eq!(text(0, 7), "nobody reads its queue, where 7 requests wait");
        assert_eq!(text(1, 1), "1 instance reads its queue, where 1 request waits");
        assert_eq!(text(2, 0), "2 instances read its queue, where 0 requests wait");
        assert_eq!(
            ServiceQueue::Missing.to_string(),
            "it has no queue on this broker"
        );
    }
}
