//! Single-flight: one request per key, an end for everybody who waits, and nothing left behind.

use std::time::Duration;

use nameko_cachetools::{CacheFirst, CacheFirstRpcProxy};
use shuttle::future::{block_on, yield_now};

use crate::stage::{Service, below, leaving, linger, together};

/// Longer than any schedule.
const LONG: Duration = Duration::from_secs(3600);
/// Passes at some step of a schedule.
const SHORT: Duration = Duration::from_millis(1);

/// Patient callers of one key and a service that answers: one request at a time, and whoever has the answer finds it again.
/// (A caller may find no answer yet, and then no request any more: the one extra request is allowed.)
///
/// Proves: E6.
pub(crate) fn calm() {
    let service = Service::default();
    let shop = CacheFirstRpcProxy::new("shop", &service.client());
    let answers = together((0..3).map(|_| {
        let shop = shop.clone();
        async move {
            let first = shop.call::<u64, _>("get", ()).await;
            let again = shop.call::<u64, _>("get", ()).await.expect("it is there");
            assert!(
                again.outcome().is_cached(),
                "who was answered asks for nothing more"
            );
            *first.expect("the service is well")
        }
    }));
    assert_eq!(answers, [0, 0, 0]);
    assert_eq!(service.most_in_flight(), 1, "two requests at once");
    let stats = shop.stats();
    assert_eq!((stats.calls(), stats.live, stats.errors), (6, 6 - stats.hits, 0));
}

/// Some leave at any await; whoever stays is answered.
///
/// Proves: 12, E8.
pub(crate) fn leaving_and_staying() {
    let service = Service::default();
    let shop = CacheFirstRpcProxy::new("shop", &service.client());
    let caller = |most_polls| {
        let shop = shop.clone();
        async move {
            linger(3).await;
            let answer = leaving(shop.call::<u64, _>("get", ()).into_future(), most_polls).await;
            assert!(answer.is_none_or(|answer| answer.is_ok()), "the service is well");
        }
    };
    let ends = together([caller(Some(6)), caller(Some(6)), caller(None), caller(None)]);
    assert_eq!(ends.len(), 4, "every call ends");
}

/// Who starts a request leaves before it is sent; whoever comes then is answered, by that request or another.
///
/// Proves: 12, E6.
pub(crate) fn leaving_at_once() {
    let service = Service::default();
    let shop = CacheFirstRpcProxy::new("shop", &service.client());
    let caller = |most_polls| {
        let shop = shop.clone();
        async move {
            let answer = leaving(shop.call::<u64, _>("get", ()).into_future(), most_polls).await;
            assert!(answer.is_none_or(|answer| answer.is_ok()), "the service is well");
        }
    };
    let ends = together([caller(Some(2)), caller(None)]);
    assert_eq!(ends.len(), 2, "every call ends");
}

/// Callers leave at any await, or run out of time; requests fail, and their tasks end midway, as by a panic.
///
/// Proves: 13, 16, E6, E7, E8.
pub(crate) fn restless() {
    let service = Service::default();
    service.set_trouble(40);
    let policy = CacheFirst::fresh_for(LONG).breaker(None);
    let shop = CacheFirstRpcProxy::builder("shop")
        .policy(policy)
        .build(&service.client());
    let ends = together((0..3).map(|_| {
        let (shop, service) = (shop.clone(), service.clone());
        async move {
            let call = shop.call::<u64, _>("get", ());
            let call = if below(4) == 0 { call.timeout(SHORT) } else { call };
            let polls = (below(2) == 0).then_some(6);
            match leaving(call.into_future(), polls).await {
                Some(Ok(answer)) => assert!(service.has_answered(*answer), "nobody said {}", *answer),
                Some(Err(_)) | None => {}
            }
        }
    }));
    assert_eq!(ends.len(), 3, "every call ends");
    assert!(service.most_in_flight() <= 1, "two requests at once");

    service.set_trouble(0);
    let last = block_on(shop.call::<u64, _>("get", ()).into_future());
    // It may have joined a request from before that fails yet; then the next one is of its own.
    let last = last.or_else(|_| block_on(shop.call::<u64, _>("get", ()).into_future()));
    assert!(last.is_ok(), "the key works on");

    drop(shop);
    while service.in_flight() > 0 {
        shuttle::thread::yield_now();
    }
}

/// A stale answer serves everybody at once, and one request at a time refreshes it behind.
///
/// Proves: 45, E6.
pub(crate) fn refreshing() {
    let service = Service::default();
    let policy = CacheFirst::fresh_for(Duration::ZERO)
        .stale_while_revalidate(LONG)
        .failover_timeout(None) // else the first answer may stand in before its own request has landed
        .breaker(None);
    let shop = CacheFirstRpcProxy::builder("shop")
        .policy(policy)
        .build(&service.client());
    block_on(async { shop.call::<u64, _>("get", ()).await }).expect("the service is well");
    let newest = service.change();
    together((0..3).map(|_| {
        let shop = shop.clone();
        async move {
            linger(2).await;
            let reply = shop.call::<u64, _>("get", ()).await.expect("there is an answer");
            assert!(reply.outcome().is_stale());
        }
    }));
    assert!(service.most_in_flight() <= 1, "one refresh at a time");
    while service.in_flight() > 0 {
        shuttle::thread::yield_now();
    }
    block_on(async {
        // The refresh ends after its request.
        while *shop
            .call::<u64, _>("get", ())
            .only_if_cached()
            .await
            .expect("it stays")
            != newest
        {
            yield_now().await;
        }
    });
}
