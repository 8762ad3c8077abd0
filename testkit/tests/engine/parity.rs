//! The four behaviours that the Python original's own tests check, under their names.

use nameko_cachetools::{CacheFirstRpcProxy, CachedRpcProxy, MemoryStore, Reply, Store, args};
use nameko_cachetools_testkit::{Answer, FakeBroker};
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::{MS, S, client};

#[tokio::test(start_paused = true)]
async fn cached_response() {
    let broker = FakeBroker::new();
    let broken = || Answer::error("Exception", "hmm");
    broker
        .on("some_other_service.some_method")
        .with(args!["test"])
        .reply(json!("hi"))
        .then(broken());
    broker
        .on("some_other_service.some_method")
        .with(args!["unknown"])
        .reply(broken());
    let store = MemoryStore::new();
    let cached = CachedRpcProxy::builder("some_other_service")
        .cache(store.clone())
        .failover_timeout(S(1))
        .build(&client(&broker));

    for _ in 0..2 {
        let hi: Reply<String> = cached.call("some_method", args!["test"]).await.unwrap();
        assert_eq!(*hi, "hi");
    }
    let unknown = cached.call::<String, _>("some_method", args!["unknown"]).await;
    assert!(unknown.unwrap_err().remote().unwrap().is("Exception"));

    store.clear().await.unwrap();
    let emptied = cached.call::<String, _>("some_method", args!["test"]).await;
    assert_eq!(
        emptied.unwrap_err().remote().unwrap().to_string(),
        "Exception hmm"
    );
}

#[tokio::test(start_paused = true)]
async fn cached_response_on_timeout() {
    let broker = FakeBroker::new();
    broker
        .on("some_other_service.some_method")
        .reply(json!("hi"))
        .then(Answer::ok("hi").after(S(3)));
    let store = MemoryStore::new();
    let cached = CachedRpcProxy::builder("some_other_service")
        .cache(store.clone())
        .failover_timeout(S(1))
        .build(&client(&broker));
    let call = || async { cached.call::<String, _>("some_method", args![]).await.unwrap() };
    assert_eq!(*call().await, "hi");

    let start = Instant::now();
    assert_eq!(*call().await, "hi");
    assert_eq!(start.elapsed(), S(1), "within the bound, and not before");

    tokio::time::sleep(S(10)).await; // the late reply has come, and was cached
    store.clear().await.unwrap();
    let start = Instant::now();
    assert_eq!(*call().await, "hi");
    assert_eq!(start.elapsed(), S(3), "with nothing cached it waits");
}

#[tokio::test(start_paused = true)]
async fn cached_rich_args_rich_response() {
    let rich = |word: &str, number: f64| -> Value {
        (0..400)
            .map(|i| {
                (
                    format!("{}", i * 7919 % 1000),
                    json!([word, [2, 3], {"b": number}]),
                )
            })
            .collect()
    };
    let (request, response) = (rich("b", 8.9), rich("a", 4.3));
    let broker = FakeBroker::new();
    broker
        .on("some_other_service.some_method")
        .with((&request,))
        .reply(Answer::ok(&response))
        .then(Answer::error("Exception", "hmm"));
    let cached = CachedRpcProxy::builder("some_other_service")
        .failover_timeout(S(1))
        .build(&client(&broker));
    for stale in [false, true] {
        let reply: Reply<Value> = cached.call("some_method", args![&request]).await.unwrap();
        assert_eq!((&*reply, reply.outcome().is_stale()), (&response, stale));
    }
}

#[tokio::test(start_paused = true)]
async fn cache_first() {
    let broker = FakeBroker::new();
    broker
        .on("some_other_service.some_method")
        .with(args!["ho"])
        .expect(2)
        .reply(Answer::ok("hi").after(MS(5)));
    let store = MemoryStore::new();
    let cache_first = CacheFirstRpcProxy::builder("some_other_service")
        .cache(store.clone())
        .build(&client(&broker));
    let call = || async {
        cache_first
            .call::<String, _>("some_method", args!["ho"])
            .await
            .unwrap()
    };

    call().await;
    broker.calls("some_other_service.some_method").assert_times(1);
    call().await;
    broker.calls("some_other_service.some_method").assert_times(1);
    store.clear().await.unwrap();
    call().await;
    broker.calls("some_other_service.some_method").assert_times(2);
}
