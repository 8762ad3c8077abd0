//! The service as the testkit fakes it, in memory.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use nameko_cachetools::Client;
use nameko_cachetools_testkit::{Answer, FakeBroker, Latency, Outage};
use serde_json::json;

use crate::stage::{Error, Stage};

pub(crate) struct Fake {
    broker: FakeBroker,
    is_slow: Arc<AtomicBool>,
    /// As long as it is kept, the service is silent.
    outage: Option<Outage>,
}

impl Fake {
    pub(crate) fn new() -> Self {
        let (ms, broker, is_slow) = (
            Duration::from_millis,
            FakeBroker::new(),
            Arc::new(AtomicBool::new(false)),
        );
        let slow = Arc::clone(&is_slow);
        broker.on("catalog.get").reply_with(move |call| {
            let latency = match slow.load(Ordering::Relaxed) {
                false => Latency::lognormal(ms(5), ms(20)),
                true => Latency::from(ms(400)),
            };
            Answer::ok(json!({"id": call.args[0], "title": "The Odyssey", "price": 9.99})).after(latency)
        });
        Self {
            broker,
            is_slow,
            outage: None,
        }
    }
}

#[async_trait]
impl Stage for Fake {
    fn name(&self) -> &'static str {
        "faked, in memory. (With AMQP_URI set, it is a real one.)"
    }

    fn client(&self) -> Client {
        self.broker.client()
    }

    fn service(&self) -> &str {
        "catalog"
    }

    async fn healthy(&mut self) -> Result<&'static str, Error> {
        Ok("replies take some 5 ms")
    }

    async fn slow(&mut self) -> Result<&'static str, Error> {
        self.is_slow.store(true, Ordering::Relaxed);
        Ok("replies take 400 ms")
    }

    async fn hang(&mut self) -> Result<&'static str, Error> {
        self.outage = Some(self.broker.silent("catalog"));
        Ok("the service hangs: no reply, and no error either")
    }

    async fn kill(&mut self) -> Result<&'static str, Error> {
        Ok("the service is gone: its queue takes the requests, and keeps them")
    }

    async fn bring_back(&mut self) -> Result<&'static str, Error> {
        self.is_slow.store(false, Ordering::Relaxed);
        self.outage = None;
        Ok("the service runs again, and finds its queue full")
    }

    async fn close(self: Box<Self>) {}
}
