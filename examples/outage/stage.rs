//! Where the service lives: what the play needs to be able to do to it.

use async_trait::async_trait;
use nameko_cachetools::Client;

pub(crate) type Error = Box<dyn std::error::Error + Send + Sync>;

/// A `catalog` service behind a broker. What is done to it also says, in words, what was done.
#[async_trait]
pub(crate) trait Stage: Send {
    /// What it is, for the title.
    fn name(&self) -> &'static str;

    /// A connection to the broker.
    fn client(&self) -> Client;

    /// The service's name.
    fn service(&self) -> &str;

    /// How the service is at first.
    async fn healthy(&mut self) -> Result<&'static str, Error>;

    /// Each reply takes 0.4 s from now on.
    async fn slow(&mut self) -> Result<&'static str, Error>;

    /// No reply comes any more, and no error either.
    async fn hang(&mut self) -> Result<&'static str, Error>;

    /// The service is gone.
    async fn kill(&mut self) -> Result<&'static str, Error>;

    /// The service is as it was at first.
    async fn bring_back(&mut self) -> Result<&'static str, Error>;

    /// Leaves nothing behind.
    async fn close(self: Box<Self>);
}
