//! `explain`: says what a call would do, does nothing, and tells the truth.

use nameko_cachetools::{CacheFirst, CacheFirstRpcProxy, CachedRpcProxy, Context, Failover, Scope};
use nameko_cachetools_testkit::{Answer, FakeBroker};
use tokio::time::sleep;

use crate::{MS, S, client};

/// The last lines of an explanation; the first names the policy.
macro_rules! why {
    ($call:expr) => {{
        let text = $call.explain().await.unwrap();
        text.split_once('\n').unwrap().1.trim_end().to_owned()
    }};
}

fn cache_first(broker: &FakeBroker) -> CacheFirstRpcProxy {
    let policy = CacheFirst::fresh_for(S(10))
        .stale_while_revalidate(S(5))
        .stale_if_error(S(60));
    CacheFirstRpcProxy::builder("shop")
        .policy(policy.definitive(["NotFound"]).negative_for(S(3)))
        .build(&client(broker))
}

#[tokio::test(start_paused = true)]
async fn it_follows_an_entry_through_its_life() {
    let broker = FakeBroker::new();
    broker.on("shop.get").reply(Answer::ok(1));
    let shop = cache_first(&broker);
    let call = || shop.call::<u64, _>("get", ("canary",));
    assert_eq!(why!(call()), "store: nothing\nso: sends a request, for up to 30s");
    assert_eq!(
        why!(call().only_if_cached()),
        "store: nothing\nso: fails, as the call allows no other answer than a cached one"
    );
    call().await.unwrap();
    sleep(S(4)).await;
    let fresh =
        "store: an answer of 4s ago, fresh for another 6s; may stand in for an answer that fails or is slow";
    assert_eq!(
        why!(call()),
        format!("{fresh}\nso: answers with it, asking nobody")
    );
    assert_eq!(
        why!(call().reload()),
        format!("{fresh}\nso: sends a request, for up to 30s")
    );
    sleep(S(7)).await;
    let stale =
        "store: an answer of 11s ago, stale since 1s; may stand in for an answer that fails or is slow";
    assert_eq!(
        why!(call()),
        format!("{stale}\nso: answers with it, and fetches a new one behind")
    );
    assert_eq!(
        why!(call().only_if_cached()),
        format!("{stale}\nso: answers with it: the call allows nothing else")
    );
    assert_eq!(
        why!(call().max_age(S(1)).timeout(None)),
        "store: an answer of 11s ago, stale since 1s; older than the call accepts\n\
         so: sends a request, as long as the connection lives"
    );
    sleep(S(10)).await;
    assert_eq!(
        why!(call()),
        "store: an answer of 21s ago, stale since 11s; may stand in for an answer that fails or is slow\n\
         so: sends a request, for up to 30s; after an error or 1s, answers with what is stored"
    );
    assert!(!call().explain().await.unwrap().contains("canary"));
    broker.calls("shop.get").assert_times(1);
    assert_eq!(shop.stats().calls(), 1, "explaining is no call");
}

#[tokio::test(start_paused = true)]
async fn it_knows_that_a_refresh_failed_just_now() {
    let broker = FakeBroker::new();
    broker
        .on("shop.get")
        .reply(Answer::ok(1))
        .then(Answer::error("Boom", "x").after(MS(20)));
    let shop = cache_first(&broker);
    let call = || shop.call::<u64, _>("get", ());
    call().await.unwrap();
    sleep(S(11)).await;
    call().await.unwrap();
    broker.settle().await;
    assert!(why!(call()).ends_with("so: answers with it, and a request for a new one is under way"));
    sleep(MS(100)).await;
    assert!(
        why!(call()).ends_with("so: answers with it, and fetches none yet: the last attempt failed just now")
    );
}

#[tokio::test(start_paused = true)]
async fn it_knows_invalidations_remembered_errors_and_requests_under_way() {
    let broker = FakeBroker::new();
    broker.on("shop.get").sequence([
        Answer::ok(1),
        Answer::error("NotFound", "x"),
        Answer::ok(2).after(S(1)),
    ]);
    let client = client(&broker);
    let shop = CacheFirstRpcProxy::builder("shop")
        .policy(
            CacheFirst::fresh_for(S(10))
                .definitive(["NotFound"])
                .negative_for(S(3)),
        )
        .build(&client);
    let call = || shop.call::<u64, _>("get", ());
    call().await.unwrap();
    client.expire(&Scope::service("shop"));
    let stand_in = "may stand in for an answer that fails or is slow";
    assert_eq!(
        why!(call()),
        format!(
            "store: an answer of 0ns ago, expired by an invalidation; {stand_in}\n\
             so: sends a request, for up to 30s; after an error or 1s, answers with what is stored"
        )
    );
    client.invalidate(&Scope::service("shop"));
    assert_eq!(
        why!(call()),
        "store: an answer of 0ns ago, invalidated; may not stand in for another\nso: sends a request, for up to 30s"
    );
    call().await.unwrap_err();
    sleep(S(1)).await;
    assert_eq!(
        why!(call()),
        "store: nothing\nremembered: NotFound was the answer 1s ago, for another 2s\nso: answers with that error"
    );
    sleep(S(2)).await;
    let waiting = tokio::spawn(shop.call::<u64, _>("get", ()).into_future());
    sleep(MS(300)).await;
    assert_eq!(
        why!(call()),
        "store: nothing\nso: joins a request of 300ms ago, for up to 30s"
    );
    waiting.await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn it_knows_the_circuit() {
    let broker = FakeBroker::new();
    broker.on("shop.get").reply(Answer::ok(1));
    let shop = CachedRpcProxy::builder("shop")
        .policy(Failover::after(MS(100)))
        .build(&client(&broker));
    let call = || shop.call::<u64, _>("get", ());
    call().await.unwrap();
    let _silent = broker.silent("shop");
    for _ in 0..5 {
        call().await.unwrap();
    }
    let text = call().explain().await.unwrap();
    assert!(
        text.contains("\ncircuit: open; the service is looked at again in "),
        "{text}"
    );
    assert!(
        text.ends_with("so: answers with it at once, while the circuit is open\n"),
        "{text}"
    );
    sleep(S(2)).await;
    let text = call().explain().await.unwrap();
    assert!(
        text.contains("\ncircuit: open; the next call looks whether the service is back\n"),
        "{text}"
    );
    assert_eq!(
        text,
        call().explain().await.unwrap(),
        "to look at it is not to probe"
    );
}

#[tokio::test(start_paused = true)]
async fn it_says_why_a_call_is_not_cached() {
    let broker = FakeBroker::new();
    let client = client(&broker);
    let shop = CacheFirstRpcProxy::builder("shop")
        .except(["list"])
        .invalidates("set", [])
        .build(&client);
    for (text, why, limit) in [
        (
            shop.call::<u64, _>("list", ()).explain().await,
            "the method is not among the cached ones",
            "as long as the connection lives",
        ),
        (
            shop.call::<u64, _>("set", ()).explain().await,
            "the method is said to change something",
            "as long as the connection lives",
        ),
        (
            shop.call::<u64, _>("get", ())
                .bypass()
                .timeout(S(1))
                .explain()
                .await,
            "the call says bypass",
            "for up to 1s",
        ),
        (
            shop.call::<u64, _>("get", ("x".repeat(17 << 20),))
                .explain()
                .await,
            "its arguments are too deep or too large for a key",
            "as long as the connection lives",
        ),
        (
            client
                .service("shop")
                .call::<u64, _>("get", ())
                .context(Context::new().user_id("canary"))
                .explain()
                .await,
            "the proxy is a plain one",
            "as long as the connection lives",
        ),
    ] {
        let text = text.unwrap();
        assert!(
            text.ends_with(&format!(" is not cached ({why}): it asks the service, {limit}\n")),
            "{text}"
        );
    }
    assert!(shop.call::<u64, _>("a.b", ()).explain().await.is_err());
}
