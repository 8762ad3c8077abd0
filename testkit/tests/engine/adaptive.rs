//! Patience that follows the service.

use std::time::Duration;

use nameko_cachetools::{Adaptive, CachedRpcProxy, Context, Failover, Reply};
use nameko_cachetools_testkit::{Answer, FakeBroker};
use tokio::time::sleep;

use crate::{MS, S, client};

fn proxy(broker: &FakeBroker, policy: Failover) -> CachedRpcProxy {
    CachedRpcProxy::builder("shop")
        .policy(policy.breaker(None))
        .shared(["get"])
        .build(&client(broker))
}

/// A broker whose service takes as long as the argument of each call says, in milliseconds.
fn broker() -> FakeBroker {
    let broker = FakeBroker::new();
    broker
        .on("shop.get")
        .reply_with(|call| Answer::ok(1).after(MS(call.context["ms"].as_u64().unwrap())));
    broker
}

/// How long each of `calls` calls waits of a service that takes `ms`.
async fn waits(shop: &CachedRpcProxy, ms: u64, calls: usize) -> Vec<Duration> {
    let mut waits = Vec::new();
    for _ in 0..calls {
        let call = shop
            .call::<u64, _>("get", ())
            .context(Context::new().set("ms", ms));
        waits.push(call.await.unwrap().outcome().waited());
        sleep(S(2)).await; // late replies come in
    }
    waits
}

#[tokio::test(start_paused = true)]
async fn a_fast_service_that_falls_silent_is_not_waited_for_long() {
    let broker = broker();
    let shop = proxy(&broker, Failover::after(MS(500)).adaptive(Adaptive::default()));
    assert!(waits(&shop, 20, 15).await.iter().all(|wait| *wait == MS(20)));
    let silent = broker.silent("shop");
    let early: Reply<u64> = shop
        .call("get", ())
        .context(Context::new().set("ms", 20))
        .await
        .unwrap();
    assert_eq!(early.outcome().waited(), MS(500), "too little is known yet");
    silent.end();
    waits(&shop, 20, 20).await;
    let _silent = broker.silent("shop");
    let reply: Reply<u64> = shop
        .call("get", ())
        .context(Context::new().set("ms", 20))
        .await
        .unwrap();
    assert_eq!(reply.outcome().waited(), MS(40), "twice what it usually takes");
}

/// Late replies count with what they took. Were they left out, only replies in time would be seen, and patience would
/// never grow again.
///
/// Proves: 35.
#[tokio::test(start_paused = true)]
async fn it_grows_with_a_service_that_gets_slower_and_shrinks_again() {
    let broker = broker();
    let shop = proxy(&broker, Failover::after(MS(500)).adaptive(Adaptive::default()));
    waits(&shop, 20, 40).await;
    let slower = waits(&shop, 100, 40).await;
    assert_eq!(
        (slower[0], slower[39]),
        (MS(40), MS(100)),
        "first too short, then long enough: {slower:?}"
    );
    let slowest = waits(&shop, 1000, 150).await;
    assert_eq!(slowest[149], MS(500), "never beyond failover_timeout");
    waits(&shop, 20, 130).await;
    let _silent = broker.silent("shop");
    let reply: Reply<u64> = shop
        .call("get", ())
        .context(Context::new().set("ms", 20))
        .await
        .unwrap();
    assert_eq!(reply.outcome().waited(), MS(40));
}

/// What is lost counts as the longest that anybody would have waited for it.
///
/// Proves: 35.
#[tokio::test(start_paused = true)]
async fn losses_make_it_no_shorter() {
    let broker = broker();
    let shop = proxy(
        &broker,
        Failover::after(MS(500))
            .call_timeout(S(1))
            .adaptive(Adaptive::default()),
    );
    waits(&shop, 20, 20).await;
    let silent = broker.silent("shop");
    let mut longest = Duration::ZERO;
    for _ in 0..8 {
        let reply: Reply<u64> = shop
            .call("get", ())
            .context(Context::new().set("ms", 20))
            .await
            .unwrap();
        assert!(reply.outcome().waited() >= longest);
        longest = reply.outcome().waited();
        sleep(S(2)).await;
    }
    silent.end();
    assert_eq!(longest, MS(500));
}

#[tokio::test(start_paused = true)]
async fn it_shortens_no_patience_that_waits_for_errors_only_before_it_knows() {
    let broker = broker();
    let shop = proxy(
        &broker,
        Failover::original()
            .call_timeout(S(10))
            .adaptive(Adaptive::default()),
    );
    waits(&shop, 20, 20).await;
    let _silent = broker.silent("shop");
    let reply: Reply<u64> = shop
        .call("get", ())
        .context(Context::new().set("ms", 20))
        .await
        .unwrap();
    assert_eq!(
        reply.outcome().waited(),
        MS(40),
        "without failover_timeout, what was learned holds"
    );
}
