//! What a service says of one reply's life, where the policy listens.

use nameko_cachetools::{
    CacheFirst, CacheFirstRpcProxy, CachedRpcProxy, Client, Failover, MemoryStore, Reply, Scope,
};
use nameko_cachetools_testkit::{Answer, FakeBroker};
use serde_json::json;
use tokio::time::sleep;

use crate::{MS, S, client, told};

fn listening(client: &Client, policy: CacheFirst) -> CacheFirstRpcProxy {
    CacheFirstRpcProxy::builder("shop")
        .policy(policy.reply_directives(true))
        .build(client)
}

/// Answers each request by its number, with this header.
fn numbered(broker: &FakeBroker, name: &'static str, value: serde_json::Value) {
    broker
        .on("shop.get")
        .reply_with(move |call| Answer::ok(call.number).header(name, value.clone()));
}

async fn get(shop: &CacheFirstRpcProxy) -> (u64, String) {
    let reply: Reply<u64> = shop.call("get", ()).await.unwrap();
    (*reply, told(&reply))
}

#[tokio::test(start_paused = true)]
async fn a_reply_is_fresh_for_as_long_as_its_service_says() {
    let policy = || {
        CacheFirst::fresh_for(S(10))
            .stale_while_revalidate(S(5))
            .stale_if_error(S(20))
    };
    for (said, policy) in [
        (3, policy()),
        (60, policy()),
        (3, policy().jitter(1.0)),
        (0, policy()),
    ] {
        let broker = FakeBroker::new();
        numbered(&broker, "nameko.cache_fresh_for", json!(said));
        let shop = listening(&client(&broker), policy);
        get(&shop).await;
        if said > 0 {
            sleep(S(said) - MS(1)).await;
            assert_eq!(get(&shop).await, (1, "hit; ttl=0".into()), "{said}");
            sleep(MS(1)).await;
        }
        let outage = broker.silent("shop");
        assert_eq!(
            get(&shop).await,
            (1, "hit; ttl=0; detail=revalidating".into()),
            "{said}"
        );
        sleep(S(20) - MS(1)).await;
        let old: Reply<u64> = shop.call("get", ()).only_if_cached().await.unwrap();
        assert_eq!(
            told(&old),
            "hit; ttl=-19",
            "stale_if_error counts from the end of its freshness"
        );
        sleep(MS(1)).await;
        shop.call::<u64, _>("get", ()).only_if_cached().await.unwrap_err();
        outage.end();
    }
}

#[tokio::test(start_paused = true)]
async fn what_would_be_fresh_for_ever_is_not_if_its_service_says_so() {
    let broker = FakeBroker::new();
    numbered(&broker, "nameko.cache_fresh_for", json!(3));
    let shop = listening(&client(&broker), CacheFirst::original());
    get(&shop).await;
    sleep(S(3) - MS(1)).await;
    assert_eq!(get(&shop).await.0, 1);
    sleep(MS(1)).await;
    assert_eq!(get(&shop).await, (2, "fwd=stale; stored".into()));
}

#[tokio::test(start_paused = true)]
async fn what_is_not_to_be_stored_is_not_and_nor_is_what_cannot_be_read() {
    for (name, value) in [
        ("nameko.cache_no_store", json!(true)),
        ("nameko.cache_fresh_for", json!("soon")),
        ("nameko.cache_tags", json!([1])),
    ] {
        let broker = FakeBroker::new();
        numbered(&broker, name, value);
        let shop = listening(&client(&broker), CacheFirst::fresh_for(S(10)));
        assert_eq!(get(&shop).await, (1, "fwd=miss".into()));
        assert_eq!(get(&shop).await, (2, "fwd=miss".into()));
    }
}

/// An earlier answer stays: it is as good for failover as it was.
#[tokio::test(start_paused = true)]
async fn what_is_not_stored_replaces_nothing() {
    let broker = FakeBroker::new();
    broker.on("shop.get").sequence([
        Answer::ok(1),
        Answer::ok(2).header("nameko.cache_no_store", true),
        Answer::error("ValueError", ""),
    ]);
    let policy = Failover::after(S(1)).reply_directives(true);
    let shop = CachedRpcProxy::builder("shop")
        .policy(policy)
        .build(&client(&broker));
    let mut answers = Vec::new();
    for _ in 0..3 {
        answers.push(*shop.call::<u64, _>("get", ()).await.unwrap());
    }
    assert_eq!(answers, [1, 2, 1]);
}

/// What a service says of an error that is an answer counts for how that is remembered.
///
/// Proves: 3.
#[tokio::test(start_paused = true)]
async fn an_error_that_is_an_answer_may_say_so_too() {
    for (name, value) in [
        ("nameko.cache_no_store", json!(true)),
        ("nameko.cache_tags", json!(["customer:7"])),
    ] {
        let broker = FakeBroker::new();
        let not_found = Answer::error("NotFound", "o1").header(name, value);
        broker.on("shop.get").expect(2).reply(not_found);
        let client = client(&broker);
        let policy = CacheFirst::fresh_for(S(60))
            .definitive(["NotFound"])
            .negative_for(S(5));
        let shop = listening(&client, policy);
        shop.call::<u64, _>("get", ()).await.unwrap_err();
        client.invalidate(&Scope::tag("customer:7"));
        shop.call::<u64, _>("get", ()).await.unwrap_err();
        shop.call::<u64, _>("get", ()).only_if_cached().await.unwrap_err();
    }
}

#[tokio::test(start_paused = true)]
async fn nobody_listens_unless_told_to() {
    for (name, value) in [
        ("nameko.cache_no_store", json!(true)),
        ("nameko.cache_fresh_for", json!(0)),
        ("nameko.cache_tags", json!(["one"])),
    ] {
        let broker = FakeBroker::new();
        numbered(&broker, name, value);
        let client = client(&broker);
        let shop = CacheFirstRpcProxy::builder("shop")
            .policy(CacheFirst::fresh_for(S(10)))
            .build(&client);
        get(&shop).await;
        client.invalidate(&Scope::tag("one"));
        assert_eq!(get(&shop).await, (1, "hit; ttl=10".into()), "{name}");
    }
}

/// A hit at once said what the policy would have said, and one that had to wait what the service says.
#[tokio::test(start_paused = true)]
async fn a_hit_says_how_long_it_is_fresh_by_its_service() {
    for said in [3, 60] {
        let broker = FakeBroker::new();
        numbered(&broker, "nameko.cache_fresh_for", json!(said));
        let shop = listening(&client(&broker), CacheFirst::fresh_for(S(10)));
        get(&shop).await;
        sleep(S(1)).await;
        let expected = (1, format!("hit; ttl={}", said - 1));
        assert_eq!(get(&shop).await, expected);
        let waited: Reply<u64> = shop.call("get", ()).max_age(S(100)).await.unwrap();
        assert_eq!((*waited, told(&waited)), expected);
    }
}

/// The tag is known only from the reply.
///
/// Proves: 3.
#[tokio::test(start_paused = true)]
async fn a_tag_that_only_the_reply_knows_is_invalidated_before_and_after_it_comes() {
    let broker = FakeBroker::new();
    broker
        .on("shop.get")
        .after(S(1))
        .reply_with(|call| Answer::ok(call.number).header("nameko.cache_tags", json!(["one", "two"])));
    let client = client(&broker);
    let store = MemoryStore::default();
    let policy = CacheFirst::fresh_for(S(100)).reply_directives(true);
    let shop = CacheFirstRpcProxy::builder("shop")
        .policy(policy)
        .cache(store)
        .build(&client);
    let call = || {
        let shop = shop.clone();
        tokio::spawn(async move {
            let reply: Reply<u64> = shop.call("get", ()).tag("own").await.unwrap();
            (*reply, told(&reply))
        })
    };
    let first = call();
    sleep(MS(500)).await;
    client.invalidate(&Scope::tag("two"));
    let second = call();
    assert_eq!(
        first.await.unwrap(),
        (1, "fwd=miss".into()),
        "it came, and is not stored"
    );
    assert_eq!(
        second.await.unwrap(),
        (2, "fwd=miss; stored".into()),
        "and nobody joined it"
    );
    assert_eq!(call().await.unwrap().0, 2);
    for (tag, number) in [("other", 2), ("one", 3), ("two", 4), ("own", 5)] {
        client.invalidate(&Scope::tag(tag));
        assert_eq!(call().await.unwrap().0, number, "{tag}");
    }
    client.expire(&Scope::tag("one"));
    let _silent = broker.silent("shop");
    let stale: Reply<u64> = shop.call("get", ()).await.unwrap();
    assert_eq!(
        (*stale, told(&stale).as_str()),
        (5, "fwd=stale; fwd-status=504; ttl=0; detail=failover-timeout")
    );
}
