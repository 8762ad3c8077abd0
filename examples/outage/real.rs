//! The service as nameko runs it, in Python, on a RabbitMQ.

use std::time::Duration;

use async_trait::async_trait;
use nameko_cachetools::{Client, Reply, args};
use nameko_cachetools_interop::Interop;
use nameko_cachetools_lapin::LapinTransport;

use crate::stage::{Error, Stage};

pub(crate) struct Real {
    nameko: Interop,
    client: Client,
    service: String,
}

impl Real {
    /// Starts a service on the broker of `AMQP_URI`, under a name that nobody else uses there.
    pub(crate) async fn start() -> Result<Self, Error> {
        let nameko = Interop::builder()
            .module("nk_catalog")
            .config("max_workers", "100") // nameko's 10 would make a slow service a dead one
            .start()
            .await
            .map_err(|missing| format!("{missing}\nWithout AMQP_URI, everything runs in memory."))?;
        let transport = LapinTransport::connect(nameko.uri()).await?;
        Ok(Self {
            client: Client::new(transport),
            service: nameko.service("catalog"),
            nameko,
        })
    }
}

#[async_trait]
impl Stage for Real {
    fn name(&self) -> &'static str {
        "run by nameko, in Python, on the RabbitMQ of AMQP_URI."
    }

    fn client(&self) -> Client {
        self.client.clone()
    }

    fn service(&self) -> &str {
        &self.service
    }

    async fn healthy(&mut self) -> Result<&'static str, Error> {
        Ok("a process of nameko's replies in some milliseconds")
    }

    async fn slow(&mut self) -> Result<&'static str, Error> {
        let catalog = self.client.service(self.service());
        let _: Reply<()> = catalog.call("set_slow", args![0.4]).timeout(SWITCH_LIMIT).await?;
        Ok("set_slow(0.4): replies take 400 ms")
    }

    async fn hang(&mut self) -> Result<&'static str, Error> {
        self.nameko.hang()?;
        Ok("SIGSTOP: the process takes requests and does nothing")
    }

    async fn kill(&mut self) -> Result<&'static str, Error> {
        self.nameko.kill().await?;
        Ok("SIGKILL: the process is gone; its queue takes the requests, and keeps them")
    }

    async fn bring_back(&mut self) -> Result<&'static str, Error> {
        self.nameko.restart().await?;
        Ok("a new process runs, and finds its queue full")
    }

    async fn close(self: Box<Self>) {
        self.client.close(Duration::from_secs(1)).await;
        self.nameko.close().await;
    }
}

/// Longest wait for a service that should be healthy.
const SWITCH_LIMIT: Duration = Duration::from_secs(10);
