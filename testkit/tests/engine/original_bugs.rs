//! One test for each bug of the Python original that is not copied: rows of the table in the guide "Coming from Python".

use std::time::Duration;

use nameko_cachetools::{CacheFirstRpcProxy, CachedRpcProxy, Context, Failover, MemoryStore, Reply};
use nameko_cachetools_testkit::{Answer, FakeBroker};
use serde::Serialize;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use crate::{MS, S, client};

/// There: the key has no method, `get_email(1)` returns what `get_name(1)` cached.
///
/// Proves: 56.
#[tokio::test(start_paused = true)]
async fn methods_do_not_answer_for_each_other() {
    let broker = FakeBroker::new();
    broker.on("users.get_name").reply(json!("name of 1"));
    broker.on("users.get_email").reply(json!("email of 1"));
    let users = CacheFirstRpcProxy::new("users", &client(&broker));
    for _ in 0..2 {
        let name: Reply<String> = users.call("get_name", (1,)).await.unwrap();
        let email: Reply<String> = users.call("get_email", (1,)).await.unwrap();
        assert_eq!((name.as_str(), email.as_str()), ("name of 1", "email of 1"));
    }
}

/// There: the caller's identity is not in the key, one user gets another's answer.
///
/// Proves: 59, R10.
#[tokio::test(start_paused = true)]
async fn callers_do_not_get_each_others_answers() {
    let broker = FakeBroker::new();
    broker
        .on("users.whoami")
        .reply_with(|call| Answer::ok(call.context["auth_token"].clone()));
    let users = CacheFirstRpcProxy::new("users", &client(&broker));
    for _ in 0..2 {
        for token in ["token-A", "token-B"] {
            let context = Context::new().auth_token(token);
            let me: Reply<String> = users.call("whoami", ()).context(context).await.unwrap();
            assert_eq!(*me, token);
        }
    }
    broker.calls("users.whoami").assert_times(2);
}

/// There: `TTLCache(1024, 30)` holds one dict per service, so it bounds neither entries nor ages.
///
/// Proves: 69.
#[tokio::test(start_paused = true)]
async fn a_ttl_cache_bounds_entries_and_ages() {
    let broker = FakeBroker::new();
    broker.on("shop.get").reply_with(|call| Answer::ok(&call.args[0]));
    let store = MemoryStore::ttl(3, S(30));
    let shop = CacheFirstRpcProxy::builder("shop")
        .cache(store.clone())
        .build(&client(&broker));
    for n in 0..50 {
        let _: Reply<u64> = shop.call("get", (n,)).await.unwrap();
    }
    assert!(store.len() <= 3, "{}", store.len());

    let count = || broker.calls("shop.get").count();
    let _: Reply<u64> = shop.call("get", (99,)).await.unwrap();
    let before = count();
    for _ in 0..29 {
        sleep(S(1)).await; // traffic does not keep it alive
        let _: Reply<u64> = shop.call("get", (99,)).await.unwrap();
    }
    assert_eq!(count(), before);
    sleep(S(1)).await;
    let _: Reply<u64> = shop.call("get", (99,)).await.unwrap();
    assert_eq!(
        count(),
        before + 1,
        "30 s after it was asked for, it is asked for again"
    );
}

/// There: the documentation says of a failover proxy with a TTL cache "for the next 30 seconds, further queries will
/// not reach the target service"; the code always calls.
#[tokio::test(start_paused = true)]
async fn fresh_for_keeps_what_the_documentation_promises() {
    let broker = FakeBroker::new();
    broker
        .on("shop.get")
        .reply(json!(1))
        .then(Answer::error("Boom", "x"));
    let shop = CachedRpcProxy::builder("shop")
        .fresh_for(S(30))
        .build(&client(&broker));
    let call = || async { shop.call::<u64, _>("get", ()).await.unwrap() };
    call().await;
    sleep(S(30) - MS(1)).await;
    assert!(!call().await.outcome().is_stale());
    broker.calls("shop.get").assert_times(1);
    sleep(MS(1)).await;
    assert!(
        call().await.outcome().is_stale(),
        "and the entry stays for failover after that"
    );
    broker.calls("shop.get").assert_times(2);
}

/// There: arguments that plain `json.dumps` refuses raise from the cache layer, mixed keys too.
#[tokio::test(start_paused = true)]
async fn whatever_can_be_sent_can_be_cached() {
    #[derive(Serialize)]
    struct Odd<'a> {
        date: Value,
        bytes: &'a [u8],
        big: u128,
        mixed: std::collections::BTreeMap<i64, bool>,
    }
    let odd = Odd {
        date: json!({"__type__": "date", "__value__": "2024-02-29"}),
        bytes: b"\xff",
        big: 1 << 80,
        mixed: [(1, true)].into(),
    };
    let broker = FakeBroker::new();
    broker.on("shop.get").expect(1).reply(json!(1));
    let shop = CacheFirstRpcProxy::new("shop", &client(&broker));
    for _ in 0..2 {
        let _: Reply<u64> = shop.call("get", (&odd,)).await.unwrap();
    }
}

/// There: arguments without a key fail the call. Here it goes through, uncached.
///
/// Proves: 61.
#[tokio::test(start_paused = true)]
async fn arguments_without_a_key_go_through_uncached() {
    let broker = FakeBroker::new();
    broker.on("shop.get").expect(2).reply(json!(1));
    let shop = CacheFirstRpcProxy::new("shop", &client(&broker));
    let deep = (0..70).fold(json!(1), |inner, _| json!([inner]));
    for _ in 0..2 {
        let reply: Reply<u64> = shop.call("get", (&deep,)).await.unwrap();
        assert_eq!(
            reply.outcome().to_string(),
            "nameko-cachetools; fwd=bypass; detail=unkeyable"
        );
    }
}

/// There: a hit hands out the cached object itself, changing it changes the cache.
///
/// Proves: 64.
#[tokio::test(start_paused = true)]
async fn changing_an_answer_does_not_change_the_cached_one() {
    let broker = FakeBroker::new();
    broker.on("shop.rows").reply(json!([1, 2]));
    let shop = CacheFirstRpcProxy::new("shop", &client(&broker));
    for _ in 0..2 {
        let reply: Reply<Vec<u64>> = shop.call("rows", ()).await.unwrap();
        let mut own = reply.into_inner();
        assert_eq!(own, [1, 2]);
        own.push(3);
    }
}

/// There: a late reply after a failover is thrown away.
///
/// Proves: 29, E9.
#[tokio::test(start_paused = true)]
async fn a_late_reply_refreshes_the_cache() {
    let broker = FakeBroker::new();
    broker
        .on("shop.get")
        .reply(json!(1))
        .then(Answer::ok(2).after(S(5)))
        .then(Answer::error("Boom", "x"));
    let shop = CachedRpcProxy::builder("shop")
        .failover_timeout(S(1))
        .build(&client(&broker));
    let call = || async { *shop.call::<u64, _>("get", ()).await.unwrap() };
    assert_eq!((call().await, call().await), (1, 1));
    sleep(S(5)).await;
    assert_eq!(call().await, 2);
}

/// There: 50 concurrent misses are 50 requests.
///
/// Proves: E6, R24.
#[tokio::test(start_paused = true)]
async fn concurrent_misses_ask_once() {
    let broker = FakeBroker::new();
    broker.on("shop.get").expect(1).reply(Answer::ok(7).after(MS(30)));
    let shop = CacheFirstRpcProxy::new("shop", &client(&broker));
    let start = Instant::now();
    let callers: Vec<_> = (0..50)
        .map(|_| {
            let shop = shop.clone();
            tokio::spawn(async move { *shop.call::<u64, _>("get", ()).await.unwrap() })
        })
        .collect();
    for caller in callers {
        assert_eq!(caller.await.unwrap(), 7);
    }
    assert_eq!(start.elapsed(), MS(30));
}

/// There: `failover_timeout=0`, the default, means none. Here zero means zero, and none is `None`.
#[tokio::test(start_paused = true)]
async fn zero_patience_is_zero_patience() {
    let broker = FakeBroker::new();
    broker
        .on("shop.get")
        .reply(json!(1))
        .then(Answer::ok(2).after(S(5)));
    let shop = CachedRpcProxy::builder("shop")
        .failover_timeout(Duration::ZERO)
        .build(&client(&broker));
    let call = || async { *shop.call::<u64, _>("get", ()).await.unwrap() };
    assert_eq!(call().await, 1, "nothing cached: it waits");
    let start = Instant::now();
    assert_eq!((call().await, start.elapsed()), (1, Duration::ZERO));
}

/// There: mistakes of the caller are masked by old answers. Here only in the original's own preset.
#[tokio::test(start_paused = true)]
async fn the_safe_policy_hides_no_mistake_of_the_caller() {
    let broker = FakeBroker::new();
    broker
        .on("shop.get")
        .reply(json!(1))
        .then(Answer::incorrect_signature("get() takes 0 arguments"))
        .then(Answer::error("PermissionError", "no"));
    let shop = CachedRpcProxy::builder("shop")
        .policy(Failover::after(S(1)).definitive(["PermissionError"]))
        .build(&client(&broker));
    let call = || async { shop.call::<u64, _>("get", ()).await };
    call().await.unwrap();
    for exc_type in ["IncorrectSignature", "PermissionError"] {
        assert!(call().await.unwrap_err().remote().unwrap().is(exc_type));
    }
}

/// There: the remote methods `cache`, `options`, `service_name` can't be called.
#[tokio::test(start_paused = true)]
async fn every_method_can_be_called() {
    let broker = FakeBroker::new();
    for method in ["cache", "options", "service", "call", "stats"] {
        broker
            .on(&format!("shop.{method}"))
            .expect(1)
            .reply(json!(method));
        let shop = CachedRpcProxy::new("shop", &client(&broker));
        let reply: Reply<String> = shop.call(method, ()).await.unwrap();
        assert_eq!(*reply, method);
    }
}

/// There: nothing tells the caller that an answer is old.
#[tokio::test(start_paused = true)]
async fn an_old_answer_says_so() {
    let broker = FakeBroker::new();
    broker.on("shop.get").reply(json!(1)).then(Answer::never());
    let shop = CachedRpcProxy::builder("shop")
        .failover_timeout(S(1))
        .build(&client(&broker));
    let _: Reply<u64> = shop.call("get", ()).await.unwrap();
    sleep(S(36)).await;
    let reply: Reply<u64> = shop.call("get", ()).await.unwrap();
    assert_eq!(reply.outcome().age(), Some(S(37)));
    assert_eq!(reply.outcome().waited(), S(1));
}
