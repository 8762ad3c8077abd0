//! Whose answer it is: what of the context is part of the key.

use nameko_cachetools::{CacheFirst, CacheFirstRpcProxy, Client, Context, MemoryStore, ProxyBuilder, Reply};
use nameko_cachetools_testkit::{Answer, FakeBroker};

use crate::client;

type Builder = ProxyBuilder<CacheFirst, CacheFirstRpcProxy>;

/// How many requests reach the service when these two ask `method` one after the other, over one store.
async fn requests(method: &str, set: fn(Builder) -> Builder, callers: [Context; 2]) -> u64 {
    let broker = FakeBroker::new();
    broker.on(&format!("shop.{method}")).reply(Answer::ok(1));
    let (base, store) = (client(&broker), MemoryStore::default());
    let proxy = |client: &Client| set(CacheFirstRpcProxy::builder("shop").cache(store.clone())).build(client);
    let [by_client, by_call] = callers;
    let _: Reply<u64> = proxy(&base.with_context(&by_client))
        .call(method, ())
        .await
        .unwrap();
    let _: Reply<u64> = proxy(&base).call(method, ()).context(by_call).await.unwrap();
    broker.calls(&format!("shop.{method}")).count()
}

fn alice() -> Context {
    Context::new().user_id("alice").auth_token("one").language("sv")
}

/// Proves: 59, K10.
#[tokio::test(start_paused = true)]
async fn callers_share_what_the_key_does_not_tell_apart() {
    let bob = || alice().user_id("bob");
    let (renewed, english) = (|| alice().auth_token("two"), || alice().language("en"));
    for (name, set, bobs, renewals, englishs) in [
        (
            "identity and language",
            (|b| b) as fn(Builder) -> Builder,
            2,
            1,
            2,
        ),
        ("nothing", |b| b.shared(["get"]), 1, 1, 1),
        ("language", |b| b.vary(["language"]), 1, 1, 2),
        ("user and token", |b| b.vary(["user_id", "auth_token"]), 2, 2, 1),
        (
            "its own rule before the proxy's",
            |b| b.vary(["language"]).vary_method("get", ["user_id"]),
            2,
            1,
            1,
        ),
        (
            "the last word",
            |b| b.shared(["get"]).vary_method("get", ["language"]),
            1,
            1,
            2,
        ),
        (
            "a method with a policy",
            |b| b.method("get", CacheFirst::original()).shared(["get"]),
            1,
            1,
            1,
        ),
        (
            "other methods",
            |b| b.shared(["list"]).vary_method("find", ["language"]),
            2,
            1,
            2,
        ),
    ] {
        assert_eq!(
            requests("get", set, [alice(), alice()]).await,
            1,
            "{name}: the same"
        );
        assert_eq!(
            requests("get", set, [alice(), bob()]).await,
            bobs,
            "{name}: another user"
        );
        assert_eq!(
            requests("get", set, [alice(), renewed()]).await,
            renewals,
            "{name}: another token"
        );
        assert_eq!(
            requests("get", set, [alice(), english()]).await,
            englishs,
            "{name}: another language"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_not_cached_does_not_become_so_by_its_keys() {
    for set in [
        (|b| b.only(["list"]).shared(["get"])) as fn(Builder) -> Builder,
        |b| b.except(["get"]).vary_method("get", ["language"]),
        |b| b.invalidates("get", []).shared(["get"]),
    ] {
        assert_eq!(requests("get", set, [alice(), alice()]).await, 2);
    }
}

/// To invalidate one call of a shared method it doesn't matter who does it.
#[tokio::test(start_paused = true)]
async fn one_shared_answer_is_invalidated_by_anybody() {
    let broker = FakeBroker::new();
    broker.on("shop.get").expect(2).reply(Answer::ok(1));
    let shop = CacheFirstRpcProxy::builder("shop")
        .shared(["get"])
        .build(&client(&broker));
    let call = |user: u64| {
        shop.call::<u64, _>("get", ())
            .context(Context::new().user_id(user))
    };
    let _ = (call(1).await.unwrap(), call(2).await.unwrap());
    call(3).invalidate().await;
    call(1).await.unwrap();
}
