//! Hosts that share a store, and whose clocks differ.

use std::sync::{Arc, Mutex, MutexGuard};

use async_trait::async_trait;
use nameko_cachetools::{CachedRpcProxy, Entry, Failover, Key, Moment, Put, Reply, Store, StoreError};
use nameko_cachetools_testkit::FakeBroker;
use serde_json::json;
use tokio::time::sleep;

use crate::{MS, S, client, told};

/// A store outside of the process with room for one entry: its time by everybody's clock, in nanoseconds, and its text.
type Shared = Arc<Mutex<Option<(u64, Vec<u8>)>>>;

/// The store as a host sees it whose clock is so many nanoseconds ahead of when it should be, which is always some.
struct Host {
    shared: Shared,
    ahead: u64,
}

impl Host {
    fn shared(&self) -> MutexGuard<'_, Option<(u64, Vec<u8>)>> {
        self.shared.lock().unwrap()
    }

    fn wall_clock(&self, entry: &Entry) -> u64 {
        entry.sent_at().as_nanos() + self.ahead
    }
}

#[async_trait]
impl Store for Host {
    async fn get(&self, _: &Key, _: Moment) -> Result<Option<Entry>, StoreError> {
        let revived = |(sent, body): &(u64, Vec<u8>)| {
            Entry::new(Moment::from_nanos(sent.saturating_sub(self.ahead)), body.clone())
        };
        Ok(self.shared().as_ref().map(revived))
    }

    async fn put(&self, _: &Key, entry: Entry) -> Result<Put, StoreError> {
        let (sent, mut shared) = (self.wall_clock(&entry), self.shared());
        if shared.as_ref().is_some_and(|(there, _)| *there > sent) {
            return Ok(Put::Older);
        }
        *shared = Some((sent, entry.body().to_vec()));
        Ok(Put::Stored)
    }

    async fn remove(&self, _: &Key, seen: Option<&Entry>) -> Result<bool, StoreError> {
        let mut shared = self.shared();
        let is_seen = |(sent, _): &(u64, _)| seen.is_none_or(|seen| self.wall_clock(seen) == *sent);
        let removes = shared.as_ref().is_some_and(is_seen);
        if removes {
            *shared = None;
        }
        Ok(removes)
    }

    async fn clear(&self) -> Result<(), StoreError> {
        *self.shared() = None;
        Ok(())
    }
}

fn host(broker: &FakeBroker, shared: &Shared, ahead: u64) -> CachedRpcProxy {
    let (shared, ahead) = (Arc::clone(shared), ahead * 1_000_000_000);
    CachedRpcProxy::builder("shop")
        .policy(Failover::after(MS(300)).breaker(None))
        .cache(Host { shared, ahead })
        .build(&client(broker))
}

/// It took from the store what all others had to fall back on, since to its own clock that came from the future.
///
/// Proves: 41, R30.
#[tokio::test(start_paused = true)]
async fn a_host_whose_clock_lags_takes_nothing_from_the_others() {
    let (broker, shared) = (FakeBroker::new(), Shared::default());
    broker.on("shop.get").reply(json!(7));
    let (right, lags) = (host(&broker, &shared, 1000), host(&broker, &shared, 900));
    let _: Reply<u64> = right.call("get", ()).await.unwrap();
    let outage = broker.down();
    assert!(lags.call::<u64, _>("get", ()).await.is_err(), "no answer to it");
    assert_eq!(*right.call::<u64, _>("get", ()).await.unwrap(), 7);
    outage.end();
}

/// What such a clock brought makes room for a good reply, or it would keep its place until its time has come.
///
/// Proves: 41, R30.
#[tokio::test(start_paused = true)]
async fn what_comes_from_the_future_makes_room_for_the_next_reply() {
    let (broker, shared) = (FakeBroker::new(), Shared::default());
    broker.on("shop.get").sequence([json!(1), json!(2)]);
    let (right, runs_ahead) = (host(&broker, &shared, 1000), host(&broker, &shared, 90_000));
    let _: Reply<u64> = runs_ahead.call("get", ()).await.unwrap();
    let outage = broker.down();
    assert!(right.call::<u64, _>("get", ()).await.is_err(), "no answer to it");
    outage.end();
    assert_eq!(*right.call::<u64, _>("get", ()).await.unwrap(), 2);
    sleep(S(1)).await;
    let _outage = broker.down();
    let last: Reply<u64> = right.call("get", ()).await.unwrap();
    assert_eq!(
        (*last, told(&last).contains("ttl=-1")),
        (2, true),
        "{}",
        told(&last)
    );
}
