//! Requests under way: shared, owned by nobody who waits, harvested, and never in each other's way.

use nameko_cachetools::{
    CacheFirst, CacheFirstRpcProxy, CachedRpcProxy, CallError, Client, Reason, Reply, Request, Response,
    transport_fn,
};
use nameko_cachetools_testkit::{Answer, FakeBroker};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use crate::{MS, S, client, told};

fn cache_first(client: &Client) -> CacheFirstRpcProxy {
    CacheFirstRpcProxy::new("shop", client)
}

/// The caller who started the request leaves; the others get the answer of the one request.
///
/// Proves: 12.
#[tokio::test(start_paused = true)]
async fn the_first_caller_may_leave() {
    let broker = FakeBroker::new();
    broker.on("shop.get").expect(1).reply(Answer::ok(7).after(MS(30)));
    let shop = cache_first(&client(&broker));
    let call = || {
        let shop = shop.clone();
        tokio::spawn(async move { shop.call::<u64, _>("get", ()).await.map(|reply| told(&reply)) })
    };
    let (first, second) = (call(), call());
    sleep(MS(10)).await;
    first.abort();
    assert_eq!(second.await.unwrap().unwrap(), "fwd=miss; stored; collapsed");
}

/// An error goes to all who wait, in one call's time.
///
/// Proves: 15, 22.
#[tokio::test(start_paused = true)]
async fn a_failure_is_shared_and_not_remembered() {
    let broker = FakeBroker::new();
    broker
        .on("shop.get")
        .reply(Answer::error("Boom", "x").after(MS(30)))
        .then(json!(7));
    let shop = cache_first(&client(&broker));
    let start = Instant::now();
    let callers: Vec<_> = (0..20)
        .map(|_| {
            let shop = shop.clone();
            tokio::spawn(async move { shop.call::<u64, _>("get", ()).await })
        })
        .collect();
    for caller in callers {
        assert!(caller.await.unwrap().unwrap_err().remote().unwrap().is("Boom"));
    }
    assert_eq!(start.elapsed(), MS(30));
    broker.calls("shop.get").assert_times(1);
    assert_eq!(
        *shop.call::<u64, _>("get", ()).await.unwrap(),
        7,
        "the next call goes out"
    );
}

/// Each caller has its own limit, whoever's request it waits for.
///
/// Proves: 14.
#[tokio::test(start_paused = true)]
async fn each_who_waits_keeps_its_own_limit() {
    let broker = FakeBroker::new();
    broker.on("shop.get").reply(Answer::ok(7).after(S(5)));
    let shop = cache_first(&client(&broker));
    let call = |limit| {
        let shop = shop.clone();
        tokio::spawn(async move {
            let start = Instant::now();
            (
                shop.call::<u64, _>("get", ()).timeout(S(limit)).await.is_ok(),
                start.elapsed(),
            )
        })
    };
    let (short, long) = (call(1), call(9));
    assert_eq!(short.await.unwrap(), (false, S(1)));
    assert_eq!(long.await.unwrap(), (true, S(5)));
}

/// A request that hangs does not capture its key.
///
/// Proves: 17.
#[tokio::test(start_paused = true)]
async fn a_hung_request_is_not_joined_for_ever() {
    let broker = FakeBroker::new();
    broker
        .on("shop.get")
        .expect(2)
        .reply(Answer::never())
        .then(json!(7));
    let shop = cache_first(&client(&broker));
    let hung = tokio::spawn({
        let shop = shop.clone();
        async move { shop.call::<u64, _>("get", ()).timeout(S(20)).await }
    });
    sleep(S(11)).await;
    assert_eq!(*shop.call::<u64, _>("get", ()).await.unwrap(), 7);
    let late = hung.await.unwrap().unwrap();
    assert_eq!(
        (*late, late.outcome().reason()),
        (7, Reason::Unavailable),
        "what came meanwhile stands in"
    );
}

/// The broker drops a request from the queue of a stopped service when its time is up. Callers who went on joining it
/// kept the key dead long after the service was back.
#[tokio::test(start_paused = true)]
async fn a_request_that_the_broker_has_dropped_is_not_joined() {
    let broker = FakeBroker::new();
    broker.on("shop.get").reply(json!(7));
    let shop = CacheFirstRpcProxy::builder("shop")
        .call_timeout(S(1))
        .build(&client(&broker));
    let call = || {
        let shop = shop.clone();
        tokio::spawn(async move { shop.call::<u64, _>("get", ()).await })
    };

    let outage = broker.silent("shop");
    let first = call();
    sleep(MS(900)).await;
    let second = call(); // joins the first, which keeps its flight alive
    sleep(MS(600)).await;
    outage.end();

    assert_eq!(*call().await.unwrap().unwrap(), 7, "the service is back");
    assert!(first.await.unwrap().unwrap_err().is_timeout());
    assert_eq!(
        *second.await.unwrap().unwrap(),
        7,
        "what came meanwhile stands in"
    );
}

/// A transport that panics is an error for all who wait, and the key works on the next call.
///
/// Proves: 16.
#[tokio::test(start_paused = true)]
async fn a_panic_is_an_error_and_leaves_nothing_behind() {
    let transport = transport_fn({
        let calls = std::sync::atomic::AtomicUsize::new(0);
        move |_: Request| {
            let first = calls.fetch_add(1, std::sync::atomic::Ordering::Relaxed) == 0;
            async move {
                sleep(MS(10)).await;
                assert!(!first, "the first call panics, as it should");
                Ok(Response::json(r#"{"result": 7, "error": null}"#))
            }
        }
    });
    let shop = cache_first(&Client::new(transport));
    let call = || shop.call::<u64, _>("get", ());
    let (one, two) = tokio::join!(call(), call());
    for error in [one.unwrap_err(), two.unwrap_err()] {
        assert!(
            matches!(error, CallError::Aborted { .. }) && error.may_have_executed(),
            "{error}"
        );
    }
    assert_eq!(*call().await.unwrap(), 7);
}

/// Whatever callers do, nothing stays.
///
/// Proves: 13, 30, 33, E8.
#[tokio::test(start_paused = true)]
async fn everything_ends_when_everybody_has_left() {
    let broker = FakeBroker::new();
    broker.on("shop.get").reply(Answer::never());
    let shop = cache_first(&client(&broker));
    let callers: Vec<_> = (0..1000u64)
        .map(|n| {
            let shop = shop.clone();
            tokio::spawn(async move { shop.call::<u64, _>("get", (n,)).await })
        })
        .collect();
    broker.settle().await;
    assert_eq!(broker.in_flight(), 1000);
    callers.iter().for_each(tokio::task::JoinHandle::abort);
    sleep(S(59)).await;
    assert_eq!(broker.in_flight(), 1000, "late replies are still wanted");
    sleep(S(2)).await;
    assert_eq!(broker.in_flight(), 0);
}

/// At most 1,024 requests go on that nobody waits for.
///
/// Proves: 32, R19, E15.
#[tokio::test(start_paused = true)]
async fn the_harvest_is_bounded() {
    let broker = FakeBroker::new();
    broker.on("shop.get").reply(Answer::never());
    let shop = cache_first(&client(&broker));
    let callers: Vec<_> = (0..1100u64)
        .map(|n| {
            let shop = shop.clone();
            tokio::spawn(async move { shop.call::<u64, _>("get", (n,)).await })
        })
        .collect();
    broker.settle().await;
    callers.iter().for_each(tokio::task::JoinHandle::abort);
    broker.settle().await;
    assert_eq!((broker.in_flight(), shop.stats().harvests_forgotten), (1024, 76));
}

/// A caller who leaves before anything was sent sends nothing.
#[tokio::test(start_paused = true)]
async fn a_call_dropped_at_once_is_not_sent() {
    let broker = FakeBroker::new();
    broker.on("shop.get").expect(0).reply(json!(7));
    let shop = CachedRpcProxy::new("shop", &client(&broker));
    drop(shop.call::<u64, _>("get", ()).into_future());
    let mut polled = Box::pin(shop.call::<u64, _>("get", ()).into_future());
    assert!(futures_poll(&mut polled).await);
    drop(polled);
    broker.settle().await;
}

/// Polls once; says whether it is pending.
async fn futures_poll<F: Future + Unpin>(future: &mut F) -> bool {
    std::future::poll_fn(|cx| std::task::Poll::Ready(std::pin::Pin::new(&mut *future).poll(cx).is_pending()))
        .await
}

/// Two callers of one key want different types: each gets its own, of one reply.
#[tokio::test(start_paused = true)]
async fn callers_of_one_flight_may_want_different_types() {
    let broker = FakeBroker::new();
    broker
        .on("shop.get")
        .expect(1)
        .reply(Answer::ok(json!({"n": 7})).after(MS(5)));
    let shop = cache_first(&client(&broker));
    let (typed, untyped) = tokio::join!(shop.call::<u64, _>("get", ()), shop.call::<Value, _>("get", ()));
    assert!(matches!(typed.unwrap_err(), CallError::Decode { .. }));
    assert_eq!(*untyped.unwrap(), json!({"n": 7}));
}

#[tokio::test(start_paused = true)]
async fn one_entry_serves_callers_of_different_types() {
    let broker = FakeBroker::new();
    broker.on("shop.get").expect(1).reply(json!(7));
    let shop = CacheFirstRpcProxy::builder("shop")
        .policy(CacheFirst::fresh_for(S(10)))
        .build(&client(&broker));
    let number: Reply<u64> = shop.call("get", ()).await.unwrap();
    let small: Reply<u8> = shop.call("get", ()).await.unwrap();
    let value: Reply<Value> = shop.call("get", ()).await.unwrap();
    assert_eq!((*number, *small, &*value), (7, 7, &json!(7)));
    assert_eq!(
        (told(&small), told(&value)),
        ("hit; ttl=10".into(), "hit; ttl=10".into())
    );
}

/// With the proxy its requests go that nobody waits for.
///
/// Proves: 33, E15.
#[tokio::test(start_paused = true)]
async fn dropping_the_proxy_leaves_no_request_behind() {
    let broker = FakeBroker::new();
    broker
        .on("shop.get")
        .reply(Answer::never())
        .then(json!(1))
        .then(Answer::never());
    let policy = CacheFirst::fresh_for(S(1)).stale_while_revalidate(S(60));
    let shop = CacheFirstRpcProxy::builder("shop")
        .policy(policy)
        .build(&client(&broker));
    assert!(shop.call::<u64, _>("get", (1,)).timeout(MS(10)).await.is_err());
    let _: Reply<u64> = shop.call("get", (2,)).await.unwrap();
    sleep(S(2)).await;
    let _: Reply<u64> = shop.call("get", (2,)).await.unwrap(); // starts a refresh behind
    broker.settle().await;
    assert_eq!(broker.in_flight(), 2);
    drop(shop);
    broker.settle().await;
    assert_eq!(broker.in_flight(), 0);
}

/// A caller in a hurry takes nothing from those who join its request: it neither expires nor ends earlier for them.
///
/// Proves: 14.
#[tokio::test(start_paused = true)]
async fn a_hurried_caller_does_not_hurry_the_request() {
    let broker = FakeBroker::new();
    broker.on("shop.get").expect(1).reply(Answer::ok(7).after(S(5)));
    let policy = CacheFirst::fresh_for(S(60));
    let shop = CacheFirstRpcProxy::builder("shop")
        .policy(policy)
        .build(&client(&broker));
    let call = || shop.call::<u64, _>("get", ());
    let (hurried, patient) = tokio::join!(call().timeout(S(1)), call());
    assert!(hurried.unwrap_err().is_timeout());
    assert_eq!(*patient.unwrap(), 7);
    assert_eq!(
        broker.all_calls().first().unwrap().request.expiration,
        Some(S(30))
    );
}

/// Patience counts from the request, not from the caller: who joins one that has been silent for long gets the cached
/// answer at once. (Otherwise each caller of a hot key waited, and the breaker saw one failure in ten seconds.)
#[tokio::test(start_paused = true)]
async fn who_joins_a_silent_request_need_not_find_out_again() {
    let broker = FakeBroker::new();
    broker.on("shop.get").reply(json!(1)).then(Answer::never());
    let policy = CacheFirst::fresh_for(S(10)).failover_timeout(MS(200));
    let shop = CacheFirstRpcProxy::builder("shop")
        .policy(policy)
        .build(&client(&broker));
    let call = || async { shop.call::<u64, _>("get", ()).await.unwrap() };
    call().await;
    sleep(S(10)).await;
    let mut waited = std::time::Duration::ZERO;
    for _ in 0..100 {
        let start = Instant::now();
        assert_eq!(call().await.outcome().reason(), Reason::FailoverTimeout);
        waited += start.elapsed();
        sleep(MS(50)).await;
    }
    assert_eq!(waited, MS(200));
    broker.calls("shop.get").assert_times(2);
}

/// Proves: 18.
#[tokio::test(start_paused = true)]
async fn a_hung_request_holds_up_no_cached_answer() {
    let broker = FakeBroker::new();
    broker.on("shop.get").reply(json!(1)).then(Answer::never());
    let policy = CacheFirst::fresh_for(S(10)).stale_while_revalidate(S(100));
    let shop = CacheFirstRpcProxy::builder("shop")
        .policy(policy)
        .build(&client(&broker));
    let call = || shop.call::<u64, _>("get", ());
    call().await.unwrap();
    let hung = tokio::spawn(call().reload().into_future());
    broker.settle().await;
    assert_eq!(broker.in_flight(), 1);
    let start = Instant::now();
    assert_eq!(told(&call().await.unwrap()), "hit; ttl=10");
    assert_eq!(start.elapsed(), MS(0));
    sleep(S(15)).await;
    let start = Instant::now();
    assert_eq!(call().await.unwrap().outcome().reason(), Reason::Revalidating);
    assert_eq!(start.elapsed(), MS(0));
    broker.settle().await;
    assert!(!hung.is_finished());
    assert_eq!(broker.in_flight(), 2, "nor a refresh");
}

/// A service that is reached through this very process and asks for the same thing would wait for itself.
///
/// Proves: 21.
#[tokio::test(start_paused = true)]
async fn a_call_within_its_own_request_ends_with_its_limit() {
    let inner: std::sync::Arc<std::sync::OnceLock<CacheFirstRpcProxy>> = std::sync::Arc::default();
    let transport = transport_fn({
        let inner = std::sync::Arc::clone(&inner);
        move |_: Request| {
            let shop = inner.get().unwrap().clone();
            async move {
                let again = shop.call::<u64, _>("get", ()).timeout(S(1)).await;
                assert!(again.unwrap_err().is_timeout());
                Ok(Response::json(r#"{"result": 7, "error": null}"#))
            }
        }
    });
    let shop = cache_first(&Client::new(transport));
    inner.set(shop.clone()).unwrap();
    let start = Instant::now();
    assert_eq!(*shop.call::<u64, _>("get", ()).await.unwrap(), 7);
    assert_eq!(start.elapsed(), S(1));
}
