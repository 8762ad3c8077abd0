//! Many callers, many keys, and callers who leave at every possible moment.

use std::{
    future::poll_fn,
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicIsize, AtomicUsize, Ordering::Relaxed},
    },
    task::Poll,
};

use async_trait::async_trait;
use nameko_cachetools::{
    CacheFirst, CacheFirstRpcProxy, CachedRpcProxy, Entry, Failover, Key, Moment, Put, Reply, Store,
    StoreError,
};
use nameko_cachetools_testkit::{Answer, FakeBroker};
use serde::{Deserialize, Deserializer};
use serde_json::json;
use tokio::{
    runtime::Handle,
    time::{Instant, sleep},
};

use crate::{MS, S, client};

/// A store that has room for nothing.
struct Full;

#[async_trait]
impl Store for Full {
    async fn get(&self, _: &Key, _: Moment) -> Result<Option<Entry>, StoreError> {
        Ok(None)
    }

    async fn put(&self, _: &Key, _: Entry) -> Result<Put, StoreError> {
        Ok(Put::TooLarge)
    }

    async fn remove(&self, _: &Key, _: Option<&Entry>) -> Result<bool, StoreError> {
        Ok(false)
    }

    async fn clear(&self) -> Result<(), StoreError> {
        Ok(())
    }
}

/// An answer that counts how many of its kind there are.
struct Counted;

static THERE: AtomicIsize = AtomicIsize::new(0);

impl<'de> Deserialize<'de> for Counted {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        u64::deserialize(deserializer)?;
        THERE.fetch_add(1, Relaxed);
        Ok(Self)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        THERE.fetch_sub(1, Relaxed);
    }
}

/// A flight that stayed would keep its answer.
///
/// Proves: 19, E8.
#[tokio::test(start_paused = true)]
async fn ten_thousand_keys_leave_nothing_behind() {
    let broker = FakeBroker::new();
    broker.on("shop.get").reply(json!(7));
    let shop = CacheFirstRpcProxy::builder("shop")
        .cache(Full)
        .build(&client(&broker));
    for n in 0..10_000u64 {
        let reply: Reply<Counted> = shop.call("get", (n,)).await.unwrap();
        assert!(!reply.outcome().is_stored());
        assert!(THERE.load(Relaxed) > 0);
    }
    broker.settle().await;
    assert_eq!(THERE.load(Relaxed), 0);
    assert_eq!(Handle::current().metrics().num_alive_tasks(), 0);
}

/// Proves: 20.
#[tokio::test(start_paused = true)]
async fn a_thousand_callers_who_leave_do_not_disturb_one_who_stays() {
    let broker = FakeBroker::new();
    broker.on("shop.get").expect(1).reply(Answer::ok(7).after(S(2)));
    let shop = CacheFirstRpcProxy::new("shop", &client(&broker));
    let call = || {
        let shop = shop.clone();
        tokio::spawn(async move { *shop.call::<u64, _>("get", ()).await.unwrap() })
    };
    let mut patient = None;
    for n in 0..1000 {
        let leaving = call();
        sleep(MS(1)).await;
        leaving.abort();
        if n == 500 {
            patient = Some(call());
        }
    }
    assert_eq!(patient.unwrap().await.unwrap(), 7);
}

/// Proves: 23.
#[tokio::test(start_paused = true)]
async fn each_who_waits_is_woken_once() {
    let broker = FakeBroker::new();
    broker.on("shop.get").expect(1).reply(Answer::ok(7).after(MS(5)));
    let shop = CacheFirstRpcProxy::new("shop", &client(&broker));
    let polls = Arc::new(AtomicUsize::new(0));
    let callers: Vec<_> = (0..1000)
        .map(|_| {
            let (shop, polls) = (shop.clone(), Arc::clone(&polls));
            tokio::spawn(async move {
                let mut call = pin!(shop.call::<u64, _>("get", ()).into_future());
                poll_fn(|cx| {
                    polls.fetch_add(1, Relaxed);
                    call.as_mut().poll(cx).map(|reply| reply.is_ok())
                })
                .await
            })
        })
        .collect();
    for caller in callers {
        assert!(caller.await.unwrap());
    }
    assert_eq!(polls.load(Relaxed), 2 * 1000);
}

/// Proves: E17.
#[tokio::test(start_paused = true)]
async fn a_hot_key_starves_no_cold_ones() {
    let broker = FakeBroker::new();
    broker.on("shop.get").reply(Answer::ok(7).after(MS(10)));
    let shop = CacheFirstRpcProxy::builder("shop")
        .policy(CacheFirst::fresh_for(MS(1)))
        .build(&client(&broker));
    let call = |key: u64| {
        let shop = shop.clone();
        tokio::spawn(async move {
            let start = Instant::now();
            shop.call::<u64, _>("get", (key,)).await.unwrap();
            start.elapsed()
        })
    };
    let mut callers = Vec::new();
    for round in 0..10 {
        callers.extend((0..200).map(|_| call(0)));
        callers.extend((1..20).map(|cold| call(100 * round + cold)));
        sleep(MS(3)).await;
    }
    for caller in callers {
        assert!(caller.await.unwrap() <= MS(10));
    }
}

/// A store that takes a while for everything, so that calls await more often.
struct Slow(nameko_cachetools::MemoryStore);

#[async_trait]
impl Store for Slow {
    async fn get(&self, key: &Key, now: Moment) -> Result<Option<Entry>, StoreError> {
        sleep(MS(2)).await;
        self.0.get(key, now).await
    }

    async fn put(&self, key: &Key, entry: Entry) -> Result<Put, StoreError> {
        sleep(MS(2)).await;
        self.0.put(key, entry).await
    }

    async fn remove(&self, key: &Key, seen: Option<&Entry>) -> Result<bool, StoreError> {
        sleep(MS(2)).await;
        self.0.remove(key, seen).await
    }

    async fn clear(&self) -> Result<(), StoreError> {
        self.0.clear().await
    }
}

/// One caller leaves after each possible number of polls; another wants the same, and later calls work.
///
/// Proves: 12, 34, E8.
#[tokio::test(start_paused = true)]
async fn leaving_at_any_await_disturbs_nobody_and_leaves_nothing() {
    let mut most = 0;
    for case in 0..4 {
        for polls in 0..50 {
            let broker = FakeBroker::new();
            broker
                .on("shop.get")
                .reply(json!(1))
                .then(Answer::ok(2).after(MS(30)))
                .then(Answer::error("Boom", "as planned").after(MS(30)))
                .then(json!(3));
            let client = client(&broker);
            let policy = Failover::after(MS(10))
                .call_timeout(S(1))
                .single_flight(case % 2 == 0)
                .breaker(None);
            let builder = CachedRpcProxy::builder("shop").policy(policy);
            let shop = if case < 2 {
                builder.build(&client)
            } else {
                builder.cache(slow()).build(&client)
            };
            let call = || shop.call::<u64, _>("get", ());
            call().await.unwrap();
            sleep(MS(10)).await;

            let staying = async { call().await.unwrap() };
            let leaving = async {
                let mut call = Box::pin(call().into_future());
                let mut left = polls;
                poll_fn(|cx| {
                    if left == 0 {
                        return Poll::Ready(());
                    }
                    left -= 1;
                    call.as_mut().poll(cx).map(drop)
                })
                .await;
                polls - left
            };
            let (_, used) = tokio::join!(staying, leaving);
            most = most.max(used);
            sleep(S(2)).await;
            assert!(call().await.is_ok(), "case {case}, {polls} polls");
            sleep(S(2)).await;
            assert_eq!(broker.in_flight(), 0, "case {case}, {polls} polls");
            assert_eq!(shop.stats().harvests_forgotten, 0);
            drop(shop);
            assert_eq!(
                Handle::current().metrics().num_alive_tasks(),
                0,
                "case {case}, {polls} polls"
            );
        }
    }
    assert!(
        (4..50).contains(&most),
        "{most} polls at most: every await is met"
    );
}

fn slow() -> Slow {
    Slow(nameko_cachetools::MemoryStore::new())
}
