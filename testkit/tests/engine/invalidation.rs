//! Invalidation always wins: over fills under way, late replies, refreshes, and whoever joins them.

use nameko_cachetools::{CacheFirst, CacheFirstRpcProxy, CachedRpcProxy, Client, MemoryStore, Reply, Scope};
use nameko_cachetools_testkit::{Answer, FakeBroker};
use serde_json::json;
use tokio::time::sleep;

use crate::{MS, S, client, told};

/// Answers with the number of the request, after a second.
fn numbered(broker: &FakeBroker) {
    broker
        .on("shop.get")
        .after(S(1))
        .reply_with(|call| Answer::ok(call.number));
}

fn cache_first(client: &Client) -> CacheFirstRpcProxy {
    CacheFirstRpcProxy::builder("shop")
        .policy(CacheFirst::fresh_for(S(100)))
        .build(client)
}

/// Every way to say that the answer to `get(1)` is outdated.
async fn invalidate(how: usize, client: &Client, shop: &CacheFirstRpcProxy) {
    match how {
        0 => shop.call::<u64, _>("get", (1,)).invalidate().await,
        1 => client.invalidate(&Scope::method("shop", "get")),
        2 => client.invalidate(&Scope::service("shop")),
        3 => client.invalidate(&Scope::tag("one")),
        _ => client.invalidate(&Scope::Everything),
    }
}

/// Proves: 3, 9, 10, S5.
#[tokio::test(start_paused = true)]
async fn a_stored_answer_is_gone_at_once_and_for_failover_too() {
    for how in 0..5 {
        let broker = FakeBroker::new();
        numbered(&broker);
        let client = client(&broker);
        let shop = cache_first(&client);
        let call = || async { shop.call::<u64, _>("get", (1,)).tag("one").await };
        assert_eq!((*call().await.unwrap(), *call().await.unwrap()), (1, 1));
        invalidate(how, &client, &shop).await;
        let outage = broker.down();
        assert!(
            call().await.unwrap_err().is_unavailable(),
            "{how}: an error, never what was cleared"
        );
        outage.end();
        assert_eq!((*call().await.unwrap(), *call().await.unwrap()), (2, 2), "{how}");
    }
}

/// Who waits gets the reply; it is not stored, and no later caller joins.
///
/// Proves: 1, 2, 3, E10.
#[tokio::test(start_paused = true)]
async fn a_request_under_way_neither_fills_the_cache_nor_is_joined() {
    for how in 0..5 {
        let broker = FakeBroker::new();
        numbered(&broker);
        let client = client(&broker);
        let shop = cache_first(&client);
        let call = || {
            let shop = shop.clone();
            tokio::spawn(async move {
                let reply: Reply<u64> = shop.call("get", (1,)).tag("one").await.unwrap();
                (*reply, told(&reply))
            })
        };
        let first = call();
        sleep(MS(500)).await;
        invalidate(how, &client, &shop).await;
        let second = call();
        assert_eq!(first.await.unwrap(), (1, "fwd=miss".into()), "{how}");
        assert_eq!(second.await.unwrap(), (2, "fwd=miss; stored".into()), "{how}");
        assert_eq!(call().await.unwrap(), (2, "hit; ttl=99".into()), "{how}");
    }
}

/// A refresh and a late reply of before the invalidation come to nothing, also when a new answer was stored
/// and invalidated again meanwhile.
///
/// Proves: 4, E10, R7.
#[tokio::test(start_paused = true)]
async fn late_replies_and_refreshes_do_not_bring_it_back() {
    let broker = FakeBroker::new();
    broker
        .on("shop.get")
        .reply(json!(1))
        .then(Answer::ok("late").after(S(5)))
        .then(json!(3))
        .then(Answer::error("Boom", "x"));
    let client = client(&broker);
    let shop = CachedRpcProxy::builder("shop")
        .failover_timeout(S(1))
        .build(&client);
    let call = || async { shop.call::<u64, _>("get", ()).await };
    assert_eq!((*call().await.unwrap(), *call().await.unwrap()), (1, 1));
    client.invalidate(&Scope::service("shop"));
    assert_eq!(*call().await.unwrap(), 3);
    client.invalidate(&Scope::service("shop"));
    sleep(S(10)).await;
    assert!(call().await.unwrap_err().remote().unwrap().is("Boom"));
}

/// Expired is stale, and may still stand in.
///
/// Proves: 10.
#[tokio::test(start_paused = true)]
async fn what_is_expired_stands_in_for_an_error_only() {
    for one in [true, false] {
        let broker = FakeBroker::new();
        broker
            .on("shop.get")
            .reply(json!(1))
            .then(Answer::error("Boom", "x"))
            .then(json!(3));
        let client = client(&broker);
        let shop = cache_first(&client);
        let call = || shop.call::<u64, _>("get", ());
        let _: Reply<u64> = call().await.unwrap();
        sleep(S(10)).await;
        if one {
            call().expire().await;
        } else {
            client.expire(&Scope::method("shop", "get"));
        }
        assert_eq!(told(&call().only_if_cached().await.unwrap()), "hit; ttl=0");
        let stale = call().await.unwrap();
        assert_eq!(
            (*stale, told(&stale)),
            (1, "fwd=stale; fwd-status=500; ttl=0; detail=server-fault".into())
        );
        assert!(stale.outcome().is_stale());
        assert_eq!(
            (*call().await.unwrap(), told(&call().await.unwrap())),
            (3, "hit; ttl=100".into())
        );
    }
}

#[tokio::test(start_paused = true)]
async fn others_are_left_alone() {
    let broker = FakeBroker::new();
    broker.on("shop.get").reply_with(|call| Answer::ok(call.number));
    broker.on("shop.list").reply_with(|call| Answer::ok(call.number));
    let client = client(&broker);
    let shop = cache_first(&client);
    let get = |n: u64| shop.call::<u64, _>("get", (n,));
    let list = || shop.call::<u64, _>("list", (1,));
    assert_eq!(
        (
            *get(1).tag("a").await.unwrap(),
            *get(2).await.unwrap(),
            *list().await.unwrap()
        ),
        (1, 2, 3)
    );
    get(1).invalidate().await;
    client.invalidate(&Scope::tag("b"));
    client.invalidate(&Scope::method("shop", "search"));
    client.invalidate(&Scope::service("store"));
    assert_eq!(
        (
            *get(1).await.unwrap(),
            *get(2).await.unwrap(),
            *list().await.unwrap()
        ),
        (4, 2, 3)
    );
}

/// One store, two proxies of one client: what one invalidates, the other no longer has, nor brings in.
///
/// Proves: 1.
#[tokio::test(start_paused = true)]
async fn it_reaches_all_proxies_of_the_client() {
    let broker = FakeBroker::new();
    numbered(&broker);
    let client = client(&broker);
    let store = MemoryStore::new();
    let proxy = || {
        CacheFirstRpcProxy::builder("shop")
            .cache(store.clone())
            .build(&client)
    };
    let (one, two) = (proxy(), proxy());
    let under_way = tokio::spawn({
        let two = two.clone();
        async move { *two.call::<u64, _>("get", ()).await.unwrap() }
    });
    sleep(MS(500)).await;
    one.call::<u64, _>("get", ()).invalidate().await;
    assert_eq!(under_way.await.unwrap(), 1);
    assert!(store.is_empty());
    assert_eq!(*one.call::<u64, _>("get", ()).await.unwrap(), 2);
}

/// A method that changes something passes through, and invalidates whenever the change may have happened.
#[tokio::test(start_paused = true)]
async fn a_setter_invalidates_after_success_and_after_doubt() {
    let broker = FakeBroker::new();
    broker.on("shop.get").reply_with(|call| Answer::ok(call.number));
    broker
        .on("shop.set")
        .reply(json!(true))
        .then(Answer::error("Boom", "x"))
        .then(Answer::never())
        .then(Answer::never())
        .then(Answer::unknown_service());
    let client = client(&broker);
    let shop = CacheFirstRpcProxy::builder("shop")
        .invalidates("set", [Scope::method("shop", "get")])
        .build(&client);
    let get = || async { *shop.call::<u64, _>("get", ()).await.unwrap() };
    let set = || shop.call::<bool, _>("set", ()).timeout(S(1));
    assert_eq!((get().await, get().await), (1, 1));
    assert_eq!(told(&set().await.unwrap()), "fwd=bypass");
    assert_eq!((get().await, get().await), (3, 3), "after success");
    assert!(set().await.is_err());
    assert_eq!((get().await, get().await), (5, 5), "after an error");
    assert!(set().await.unwrap_err().is_timeout());
    assert_eq!((get().await, get().await), (7, 7), "after a spent limit");
    let _ = tokio::time::timeout(MS(1), set().into_future()).await;
    assert_eq!((get().await, get().await), (9, 9), "after its caller left");
    assert!(!set().await.unwrap_err().may_have_executed());
    assert_eq!(get().await, 9, "not if it certainly was not sent");
}

#[tokio::test(start_paused = true)]
async fn a_method_may_have_a_policy_of_its_own() {
    let broker = FakeBroker::new();
    for method in ["get", "rates", "buy"] {
        broker
            .on(&format!("shop.{method}"))
            .reply_with(|call| Answer::ok(call.number));
    }
    let shop = CacheFirstRpcProxy::builder("shop")
        .only(["get"])
        .policy(CacheFirst::fresh_for(S(100)))
        .method("rates", CacheFirst::fresh_for(S(1)))
        .build(&client(&broker));
    let call = |method: &'static str| {
        let shop = &shop;
        async move { told(&shop.call::<u64, _>(method, ()).await.unwrap()) }
    };
    for method in ["get", "rates", "buy"] {
        call(method).await;
    }
    sleep(S(1)).await;
    assert_eq!(call("get").await, "hit; ttl=99");
    assert_eq!(call("rates").await, "fwd=stale; stored");
    assert_eq!(call("buy").await, "fwd=bypass");
}

/// A call that bypasses the cache had the limit of the proxy's policy, not of its method's.
#[tokio::test(start_paused = true)]
async fn a_methods_own_limit_holds_past_the_cache_too() {
    let broker = FakeBroker::new();
    broker.on("shop.rates").reply(Answer::never());
    let shop = CacheFirstRpcProxy::builder("shop")
        .method("rates", CacheFirst::fresh_for(S(1)).call_timeout(S(2)))
        .build(&client(&broker));
    let start = tokio::time::Instant::now();
    let error = shop.call::<u64, _>("rates", ()).bypass().await.unwrap_err();
    assert!(error.is_timeout(), "{error}");
    assert_eq!(start.elapsed(), S(2));
}

/// However many other calls are invalidated, one that was stays so, in every store of the client.
///
/// Proves: 9.
#[tokio::test(start_paused = true)]
async fn what_was_invalidated_long_ago_does_not_come_back() {
    let broker = FakeBroker::new();
    broker.on("shop.get").reply_with(|call| Answer::ok(call.number));
    let client = client(&broker);
    let (one, two) = (cache_first(&client), cache_first(&client));
    assert_eq!(*two.call::<u64, _>("get", (0,)).await.unwrap(), 1);
    for n in 0..70_000u64 {
        one.call::<u64, _>("get", (n,)).invalidate().await;
    }
    assert_eq!(*two.call::<u64, _>("get", (0,)).await.unwrap(), 2);
}

/// What a method invalidates may be said in parts; a policy that is named again replaces the first.
#[tokio::test(start_paused = true)]
async fn settings_of_one_method_add_up_or_replace() {
    let broker = FakeBroker::new();
    for method in ["get", "list", "set"] {
        broker
            .on(&format!("shop.{method}"))
            .reply_with(|call| Answer::ok(call.number));
    }
    let shop = CacheFirstRpcProxy::builder("shop")
        .method("get", CacheFirst::fresh_for(S(1)))
        .method("get", CacheFirst::fresh_for(S(100)))
        .invalidates("set", [Scope::method("shop", "get")])
        .invalidates("set", [Scope::method("shop", "list")])
        .build(&client(&broker));
    let call = |method: &'static str| {
        let shop = &shop;
        async move { *shop.call::<u64, _>(method, ()).await.unwrap() }
    };
    assert_eq!((call("get").await, call("list").await), (1, 2));
    sleep(S(2)).await;
    assert_eq!((call("get").await, call("set").await), (1, 3));
    assert_eq!((call("get").await, call("list").await), (4, 5));
}
