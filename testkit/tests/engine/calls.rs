//! Per-call options, context, and what goes out on the wire.

use nameko_cachetools::{
    CacheFirst, CacheFirstRpcProxy, CachedRpcProxy, CallError, Client, Context, Failover, Reply, args,
};
use nameko_cachetools_testkit::{Answer, FakeBroker};
use serde_json::json;
use tokio::time::sleep;

use crate::{S, client, told};

#[tokio::test(start_paused = true)]
async fn a_plain_proxy_calls_and_nothing_else() {
    let broker = FakeBroker::new();
    broker
        .on("shop.get")
        .with(args![1, "two", three = 3])
        .expect(2)
        .reply(json!([1, 2]));
    let client = client(&broker);
    for _ in 0..2 {
        let reply: Reply<Vec<u8>> = client
            .service("shop")
            .call("get", args![1, "two", three = 3])
            .await
            .unwrap();
        assert_eq!(
            (reply.as_slice(), told(&reply)),
            (&[1, 2][..], "fwd=bypass".into())
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_plain_call_has_a_limit_if_it_is_given_one() {
    let broker = FakeBroker::new();
    broker.on("shop.get").reply(Answer::never());
    let client = Client::builder(broker.transport()).call_timeout(S(3)).build();
    let start = tokio::time::Instant::now();
    assert!(
        client
            .service("shop")
            .call::<u64, _>("get", ())
            .await
            .unwrap_err()
            .is_timeout()
    );
    assert_eq!(start.elapsed(), S(3));
    assert_eq!(broker.in_flight(), 0, "a call that gave up holds nothing");
}

#[tokio::test(start_paused = true)]
async fn a_call_may_say_how_it_wants_the_cache_used() {
    let broker = FakeBroker::new();
    broker.on("shop.get").reply_with(|call| match call.number {
        4.. => Answer::error("Boom", "x"),
        n => Answer::ok(n),
    });
    let policy = CacheFirst::fresh_for(S(10)).stale_if_error(S(100));
    let shop = CacheFirstRpcProxy::builder("shop")
        .policy(policy)
        .build(&client(&broker));
    let call = || shop.call::<u64, _>("get", ());

    assert!(matches!(
        call().only_if_cached().await.unwrap_err(),
        CallError::NotCached { .. }
    ));
    assert_eq!(*call().await.unwrap(), 1);
    assert_eq!(*call().only_if_cached().await.unwrap(), 1);
    assert_eq!(*call().bypass().await.unwrap(), 2, "neither asked ..");
    assert_eq!(*call().await.unwrap(), 1, ".. nor filled");
    assert_eq!(*call().reload().await.unwrap(), 3);
    assert_eq!(*call().await.unwrap(), 3);
    assert!(
        call().reload().await.is_err(),
        "nothing stands in for what was to be reloaded"
    );

    sleep(S(20)).await;
    assert_eq!(told(&call().only_if_cached().await.unwrap()), "hit; ttl=-10");
    assert_eq!(*call().max_age(S(20)).await.unwrap(), 3);
    assert!(
        call().max_age(S(19)).await.is_err(),
        "too old for this call, even to stand in"
    );
    assert!(matches!(
        call().max_age(S(19)).only_if_cached().await,
        Err(CallError::NotCached { .. })
    ));
}

#[tokio::test(start_paused = true)]
async fn max_age_refuses_a_fresh_entry_too() {
    let broker = FakeBroker::new();
    broker.on("shop.get").reply_with(|call| Answer::ok(call.number));
    let shop = CacheFirstRpcProxy::new("shop", &client(&broker));
    let call = || shop.call::<u64, _>("get", ());
    assert_eq!(*call().await.unwrap(), 1);
    sleep(S(5)).await;
    assert_eq!(*call().max_age(S(5)).await.unwrap(), 1);
    assert_eq!(*call().max_age(S(4)).await.unwrap(), 2);
}

/// Proves: 59.
#[tokio::test(start_paused = true)]
async fn shared_answers_are_one_for_all_callers() {
    let broker = FakeBroker::new();
    broker.on("shop.rates").expect(1).reply(json!(1));
    let base = client(&broker);
    for user in 1..4 {
        // Proxies of one store, each for another user.
        let client = base.with_context(&Context::new().user_id(user));
        let shop = CacheFirstRpcProxy::builder("shop").cache(store()).build(&client);
        let _: Reply<u64> = shop.call("rates", ()).shared().await.unwrap();
    }

    fn store() -> nameko_cachetools::MemoryStore {
        static STORE: std::sync::LazyLock<nameko_cachetools::MemoryStore> =
            std::sync::LazyLock::new(Default::default);
        STORE.clone()
    }
}

/// Proves: 59, K10.
#[tokio::test(start_paused = true)]
async fn the_context_goes_out_and_varies_the_key() {
    let broker = FakeBroker::new();
    broker
        .on("shop.get")
        .reply_with(|call| Answer::ok(json!([call.context["language"], call.context.get("user_id")])));
    let client = Client::builder(broker.transport())
        .context(Context::new().language("sv"))
        .build();
    let shop = CacheFirstRpcProxy::new("shop", &client);
    for _ in 0..2 {
        let plain: Reply<serde_json::Value> = shop.call("get", ()).await.unwrap();
        let own: Reply<serde_json::Value> = shop
            .call("get", ())
            .context(Context::new().user_id(7))
            .await
            .unwrap();
        let agent: Reply<serde_json::Value> = shop
            .call("get", ())
            .context(Context::new().user_agent("curl"))
            .await
            .unwrap();
        assert_eq!(
            (&*plain, &*own, &*agent),
            (&json!(["sv", null]), &json!(["sv", 7]), &json!(["sv", null]))
        );
    }
    broker.calls("shop.get").assert_times(2);
}

#[tokio::test(start_paused = true)]
async fn publishing_options_reach_the_transport() {
    let broker = FakeBroker::new();
    broker.on("shop.get").reply(json!(1));
    let client = Client::builder(broker.transport())
        .expiration(S(9))
        .persistent(false)
        .build();
    let plain = client.service("shop");
    let _: Reply<u64> = plain.call("get", ()).await.unwrap();
    let _: Reply<u64> = plain
        .call("get", ())
        .persistent(true)
        .expiration(None)
        .await
        .unwrap();
    let cached = CachedRpcProxy::builder("shop")
        .persistent(true)
        .expiration(S(3))
        .build(&client);
    let _: Reply<u64> = cached.call("get", ()).await.unwrap();

    let default = CachedRpcProxy::builder("shop")
        .policy(Failover::after(S(1)))
        .build(&crate::client(&broker));
    let _: Reply<u64> = default.call("get", ()).await.unwrap();
    let original = CachedRpcProxy::new("shop", &crate::client(&broker));
    let _: Reply<u64> = original.call("get", ()).await.unwrap();

    let sent: Vec<_> = broker
        .all_calls()
        .iter()
        .map(|call| (call.request.persistent, call.request.expiration))
        .collect();
    assert_eq!(
        sent,
        [
            (false, Some(S(9))),
            (true, None),
            (true, Some(S(3))),
            (true, Some(S(30))),
            (true, None)
        ],
        "a call with a limit expires with it; one without, as in nameko, never"
    );
}

/// Whatever the reason that a call has no part in the cache, `only_if_cached` sends nothing.
#[tokio::test(start_paused = true)]
async fn only_if_cached_never_sends_anything() {
    let broker = FakeBroker::new();
    broker.on("shop.buy").expect(0).reply(json!(1));
    let client = client(&broker);
    let shop = CacheFirstRpcProxy::builder("shop").except(["buy"]).build(&client);
    let deep = (0..70).fold(json!(1), |inner, _| json!([inner]));
    for result in [
        shop.call::<u64, _>("buy", ()).only_if_cached().await,
        client
            .service("shop")
            .call::<u64, _>("buy", ())
            .only_if_cached()
            .await,
        shop.call::<u64, _>("get", (&deep,)).only_if_cached().await,
    ] {
        assert!(matches!(result, Err(CallError::NotCached { .. })));
    }
}

/// The read after one's own write must not be answered with a request of before it.
#[tokio::test(start_paused = true)]
async fn reload_joins_no_earlier_request() {
    let broker = FakeBroker::new();
    broker
        .on("shop.get")
        .expect(2)
        .after(S(1))
        .reply_with(|call| Answer::ok(call.number));
    let shop = CacheFirstRpcProxy::new("shop", &client(&broker));
    let call = || shop.call::<u64, _>("get", ());
    let (first, reloaded) = tokio::join!(call(), async {
        sleep(std::time::Duration::from_millis(500)).await;
        call().reload().await
    });
    assert_eq!((*first.unwrap(), *reloaded.unwrap()), (1, 2));
}
