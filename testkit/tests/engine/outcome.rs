//! Each call has one outcome, and the counters add up.

use nameko_cachetools::{CacheFirst, CacheFirstRpcProxy, Reply, Source};
use nameko_cachetools_testkit::{Answer, FakeBroker};
use serde_json::json;
use tokio::time::sleep;

use crate::{S, client, told};

/// Proves: 82.
#[tokio::test(start_paused = true)]
async fn the_counters_add_up() {
    let broker = FakeBroker::new();
    broker
        .on("shop.get")
        .reply(json!(1))
        .then(Answer::error("Boom", "x"));
    broker.on("shop.buy").reply(json!(true));
    let policy = CacheFirst::fresh_for(S(10)).stale_if_error(S(10));
    let shop = CacheFirstRpcProxy::builder("shop")
        .policy(policy)
        .except(["buy"])
        .build(&client(&broker));
    for seconds in [0, 5, 10, 30] {
        sleep(S(seconds)).await;
        let _ = shop.call::<u64, _>("get", ()).await;
    }
    let _: Reply<bool> = shop.call("buy", ()).await.unwrap();
    assert!(shop.call::<u64, _>("not a method", ()).await.is_err());
    let stats = shop.stats();
    assert_eq!(
        (stats.live, stats.hits, stats.stale, stats.bypass, stats.errors),
        (1, 1, 1, 1, 2)
    );
    assert_eq!(stats.calls(), 6);
}

#[tokio::test(start_paused = true)]
async fn methods_are_cached_by_list() {
    let broker = FakeBroker::new();
    for method in ["get", "list", "buy"] {
        broker.on(&format!("shop.{method}")).reply(json!(1));
    }
    let client = client(&broker);
    let only = CacheFirstRpcProxy::builder("shop")
        .only(["get", "list"])
        .build(&client);
    let except = CacheFirstRpcProxy::builder("shop").except(["buy"]).build(&client);
    for shop in [only, except] {
        for method in ["get", "list", "buy"] {
            let first: Reply<u64> = shop.call(method, ()).await.unwrap();
            let second: Reply<u64> = shop.call(method, ()).await.unwrap();
            let cached = method != "buy";
            assert_eq!(
                second.outcome().source(),
                if cached { Source::Fresh } else { Source::Live }
            );
            assert_eq!(
                told(&first),
                if cached { "fwd=miss; stored" } else { "fwd=bypass" }
            );
        }
    }
}
