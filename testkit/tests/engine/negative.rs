//! Errors that are answers, remembered for a while where the policy says so.

use nameko_cachetools::{CacheFirst, CacheFirstRpcProxy, CachedRpcProxy, CallError, Failover, Reply, Scope};
use nameko_cachetools_testkit::{Answer, FakeBroker};
use tokio::time::sleep;

use crate::{MS, S, client};

fn not_found() -> Answer {
    Answer::error("NotFound", "o1")
}

fn cache_first(broker: &FakeBroker) -> CacheFirstRpcProxy {
    CacheFirstRpcProxy::builder("shop")
        .policy(
            CacheFirst::fresh_for(S(60))
                .definitive(["NotFound"])
                .negative_for(S(5)),
        )
        .build(&client(broker))
}

fn is_not_found(result: Result<Reply<u64>, CallError>) -> bool {
    result
        .unwrap_err()
        .remote()
        .is_some_and(|error| error.is("NotFound"))
}

#[tokio::test(start_paused = true)]
async fn the_service_is_not_asked_again_while_it_lives() {
    let broker = FakeBroker::new();
    broker.on("shop.get").sequence([not_found(), Answer::ok(1)]);
    let shop = cache_first(&broker);
    let call = || shop.call::<u64, _>("get", ("o1",));
    assert!(is_not_found(call().await));
    sleep(S(5) - MS(1)).await;
    assert!(is_not_found(call().await));
    assert!(is_not_found(call().only_if_cached().await), "it is an answer");
    broker.calls("shop.get").assert_times(1);
    assert_eq!(
        (shop.stats().errors, shop.stats().negatives, shop.stats().calls()),
        (3, 2, 3)
    );
    sleep(MS(1)).await;
    assert_eq!(*call().await.unwrap(), 1, "its life is over");
    assert_eq!(*call().await.unwrap(), 1);
}

#[tokio::test(start_paused = true)]
async fn failover_remembers_too_and_other_calls_are_not_concerned() {
    let broker = FakeBroker::new();
    broker.on("shop.get").with(("o1",)).expect(1).reply(not_found());
    broker.on("shop.get").with(("o2",)).expect(2).reply(Answer::ok(2));
    let policy = Failover::after(MS(100))
        .definitive(["NotFound"])
        .negative_for(S(5));
    let shop = CachedRpcProxy::builder("shop")
        .policy(policy)
        .build(&client(&broker));
    for _ in 0..2 {
        assert!(is_not_found(shop.call("get", ("o1",)).await));
        assert_eq!(*shop.call::<u64, _>("get", ("o2",)).await.unwrap(), 2);
    }
}

/// An outage never leaves one behind, nor does an exception that nobody declared.
///
/// Proves: 52, E11.
#[tokio::test(start_paused = true)]
async fn nothing_else_is_ever_remembered() {
    for answer in [
        Answer::error("ValueError", "o1"),
        Answer::unknown_service(),
        Answer::nack(),
        Answer::method_not_found("get"),
        Answer::raw("{", "application/json"),
    ] {
        let broker = FakeBroker::new();
        broker.on("shop.get").sequence([answer, Answer::ok(1)]);
        let shop = cache_first(&broker);
        shop.call::<u64, _>("get", ("o1",)).await.unwrap_err();
        assert_eq!(*shop.call::<u64, _>("get", ("o1",)).await.unwrap(), 1);
        assert_eq!(shop.stats().negatives, 0);
    }
}

#[tokio::test(start_paused = true)]
async fn reload_asks_all_the_same_and_a_good_answer_ends_it() {
    let broker = FakeBroker::new();
    broker
        .on("shop.get")
        .sequence([not_found(), not_found(), Answer::ok(1), Answer::ok(2)]);
    let shop = cache_first(&broker);
    let call = || shop.call::<u64, _>("get", ("o1",));
    assert!(is_not_found(call().await));
    sleep(S(2)).await;
    assert!(is_not_found(call().max_age(S(2)).await));
    assert!(
        is_not_found(call().max_age(S(2) - MS(1)).await),
        "asked again: it is too old"
    );
    assert_eq!(*call().reload().await.unwrap(), 1);
    assert_eq!(*call().await.unwrap(), 1);
    call().invalidate().await;
    assert_eq!(*call().await.unwrap(), 2, "it has been forgotten, not hidden");
}

/// Proves: 10.
#[tokio::test(start_paused = true)]
async fn every_invalidation_reaches_it() {
    for how in 0..6 {
        let broker = FakeBroker::new();
        broker.on("shop.get").sequence([not_found(), Answer::ok(1)]);
        let client = client(&broker);
        let shop = CacheFirstRpcProxy::builder("shop")
            .definitive(["NotFound"])
            .negative_for(S(5))
            .build(&client);
        let call = || shop.call::<u64, _>("get", ("o1",)).tag("one");
        assert!(is_not_found(call().await));
        match how {
            0 => call().invalidate().await,
            1 => call().expire().await,
            2 => client.invalidate(&Scope::method("shop", "get")),
            3 => client.expire(&Scope::service("shop")),
            4 => client.invalidate(&Scope::tag("one")),
            _ => client.invalidate(&Scope::Everything),
        }
        assert_eq!(*call().await.unwrap(), 1, "{how}");
    }
}

/// An older request's "no such record", coming in late, does not hide what a later one brought.
///
/// Proves: 6.
#[tokio::test(start_paused = true)]
async fn the_later_request_is_right() {
    let broker = FakeBroker::new();
    broker
        .on("shop.get")
        .sequence([not_found().after(S(1)), Answer::ok(1)]);
    let policy = Failover::original().definitive(["NotFound"]).negative_for(S(5));
    let shop = CachedRpcProxy::builder("shop")
        .policy(policy)
        .build(&client(&broker));
    let slow = tokio::spawn({
        let shop = shop.clone();
        async move { shop.call::<u64, _>("get", ("o1",)).await }
    });
    sleep(MS(10)).await;
    assert_eq!(*shop.call::<u64, _>("get", ("o1",)).await.unwrap(), 1);
    assert!(is_not_found(slow.await.unwrap()));
    assert_eq!(*shop.call::<u64, _>("get", ("o1",)).await.unwrap(), 1);
}
