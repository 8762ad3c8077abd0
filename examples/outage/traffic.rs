//! Three proxies of one service, and steady traffic through each.

use std::time::Duration;

use nameko_cachetools::{
    CacheFirst, CacheFirstRpcProxy, CachedRpcProxy, CallError, Client, Failover, Reply, ServiceProxy, args,
};
use serde::Deserialize;
use tokio::{
    sync::{mpsc::UnboundedSender, watch},
    time::{Instant, interval},
};

use crate::{
    play::Phase,
    tally::{Answer, Called, Proxy},
    timeline::Event,
};

/// Through each proxy.
pub(crate) const CALLS_PER_SECOND: u32 = 50;

/// The plain proxy's callers give up after this. (Without a limit they would wait for as long as the outage lasts.)
pub(crate) const CALL_TIMEOUT: Duration = Duration::from_secs(1);

/// How long the cached proxies wait for the service when they have an older answer.
pub(crate) const FAILOVER_TIMEOUT: Duration = Duration::from_millis(200);

/// How old an answer may be for the cache-first proxy not to ask the service.
pub(crate) const FRESH_FOR: Duration = Duration::from_secs(1);

const PRODUCTS: [&str; 4] = ["the_odyssey", "moby_dick", "middlemarch", "snow_country"];

/// What the service returns; any other fields are left alone.
#[derive(Deserialize)]
struct Product {
    id: String,
}

/// Begins calling through three proxies, until there is nobody left to say which phase it is.
pub(crate) fn start(
    client: &Client,
    service: &str,
    phase: &watch::Receiver<Phase>,
    events: &UnboundedSender<Event>,
) {
    let plain = client.service(service);
    let cached = CachedRpcProxy::builder(service)
        .policy(Failover::after(FAILOVER_TIMEOUT))
        .build(client);
    let cache_first = CacheFirstRpcProxy::builder(service)
        .policy(CacheFirst::fresh_for(FRESH_FOR).failover_timeout(FAILOVER_TIMEOUT))
        .build(client);

    for caller in [
        Caller::Plain(plain),
        Caller::Cached(cached),
        Caller::CacheFirst(cache_first),
    ] {
        tokio::spawn(caller.call_steadily(phase.clone(), events.clone()));
    }
}

/// Somebody who calls through one of the proxies, and does not care which.
#[derive(Clone)]
enum Caller {
    Plain(ServiceProxy),
    Cached(CachedRpcProxy),
    CacheFirst(CacheFirstRpcProxy),
}

impl Caller {
    async fn product(&self, id: &str) -> Result<Reply<Product>, CallError> {
        match self {
            // A request that nobody waits for any more is not worth the service's time: the broker drops it.
            Self::Plain(catalog) => {
                let call = catalog.call("get", args![id]);
                call.timeout(CALL_TIMEOUT).expiration(CALL_TIMEOUT).await
            }
            Self::Cached(catalog) => catalog.call("get", args![id]).await,
            Self::CacheFirst(catalog) => catalog.call("get", args![id]).await,
        }
    }

    /// One call and what became of it.
    async fn call(self, id: &'static str, phase: Phase, is_first: bool, events: UnboundedSender<Event>) {
        let started = Instant::now();
        let reply = self.product(id).await;
        let took = started.elapsed();

        let answer = match &reply {
            Ok(product) if product.id != id => Answer::Error("this is another product".to_owned()),
            Ok(product) if product.outcome().is_stale() => Answer::Stale,
            Ok(product) if product.outcome().is_cached() => Answer::Cached,
            Ok(_) => Answer::Live,
            Err(error) => Answer::Error(error.to_string()),
        };
        let called = Called {
            proxy: self.proxy(),
            phase,
            is_first,
            took,
            age: reply.ok().and_then(|product| product.outcome().age()),
            answer,
        };
        let _ = events.send(Event::Called(called)); // without an audience, nobody wants to know
    }

    /// Asks for each product once, then for one after the other at a steady pace, however long the answers take: as
    /// users do, who don't wait for each other.
    async fn call_steadily(self, phase: watch::Receiver<Phase>, events: UnboundedSender<Event>) {
        for id in PRODUCTS {
            let now = *phase.borrow();
            self.clone().call(id, now, true, events.clone()).await;
        }
        let mut pace = interval(Duration::from_secs(1) / CALLS_PER_SECOND);
        for id in PRODUCTS.into_iter().cycle() {
            pace.tick().await;
            if phase.has_changed().is_err() {
                return; // the play is over
            }
            tokio::spawn(self.clone().call(id, *phase.borrow(), false, events.clone()));
        }
    }

    fn proxy(&self) -> Proxy {
        match self {
            Self::Plain(_) => Proxy::Plain,
            Self::Cached(_) => Proxy::Cached,
            Self::CacheFirst(_) => Proxy::CacheFirst,
        }
    }
}
