//! Invalidation against requests under way, commits and those who join: what was invalidated is never an answer again.

use std::sync::{
    Arc, Mutex, PoisonError,
    atomic::{AtomicU64, Ordering::SeqCst},
};

use async_trait::async_trait;
use nameko_cachetools::{
    CacheFirst, CacheFirstRpcProxy, CachedRpcProxy, Client, Clock, Entry, Failover, Key, MemoryStore, Moment,
    Peek, Put, Scope, Store, StoreError,
};
use shuttle::future::block_on;

use crate::stage::{Service, below, linger, together};

/// Writers change the service's value and invalidate; whoever calls afterwards sees no older one.
///
/// Proves: 1, 2, 3, 5, E10.
pub(crate) fn versions() {
    let service = Service::default();
    let client = service.client();
    let shared = below(2) == 0;
    let policy = CacheFirst::original().single_flight(shared);
    let shop = CacheFirstRpcProxy::builder("shop").policy(policy).build(&client);
    let floor = Arc::new(AtomicU64::new(0));
    let reader = |_| {
        let (shop, floor) = (shop.clone(), Arc::clone(&floor));
        let task: Task = Box::pin(async move {
            for _ in 0..2 {
                linger(2).await;
                let floor = floor.load(SeqCst);
                let answer = shop
                    .call::<u64, _>("get", ())
                    .tag("t")
                    .await
                    .expect("the service is well");
                assert!(*answer >= floor, "{} was invalidated by {floor}", *answer);
            }
        });
        task
    };
    let writer = |_| {
        let (shop, client, service, floor) =
            (shop.clone(), client.clone(), service.clone(), Arc::clone(&floor));
        let task: Task = Box::pin(async move {
            linger(4).await;
            let value = service.change();
            invalidate(below(10), &client, &shop).await;
            floor.fetch_max(value, SeqCst);
        });
        task
    };
    together((0..2).map(reader).chain((0..2).map(writer)));
}

type Task = std::pin::Pin<Box<dyn Future<Output = ()> + Send>>;

/// Every way to say that the answer is outdated, hard or soft.
async fn invalidate(how: u64, client: &Client, shop: &CacheFirstRpcProxy) {
    let scope = match how {
        0 => return shop.call::<u64, _>("get", ()).invalidate().await,
        1 => return shop.call::<u64, _>("get", ()).expire().await,
        2 | 3 => Scope::method("shop", "get"),
        4 | 5 => Scope::service("shop"),
        6 | 7 => Scope::tag("t"),
        _ => Scope::Everything,
    };
    if how % 2 == 0 {
        client.invalidate(&scope);
    } else {
        client.expire(&scope);
    }
}

/// A call that was invalidated while it was committed leaves nothing in the store: whoever is last removes it.
///
/// Proves: 1, E10.
pub(crate) fn nothing_stays() {
    let service = Service::default();
    let client = service.client();
    let store = Watched::default();
    let shop = CachedRpcProxy::builder("shop")
        .policy(Failover::original())
        .cache(store.clone())
        .build(&client);
    let (caller, invalidator) = (shop.clone(), shop.clone());
    let (changing, task): (_, Task) = (
        service.clone(),
        Box::pin(async move {
            caller
                .call::<u64, _>("get", ())
                .await
                .expect("the service is well");
        }),
    );
    let invalidating: Task = Box::pin(async move {
        linger(6).await;
        changing.change();
        invalidator.call::<u64, _>("get", ()).invalidate().await;
    });
    together([task, invalidating]);
    let there = store.entry();
    assert!(
        there.as_ref().is_none_or(|there| there.body() == "1"),
        "the store still has {:?}",
        there.map(|there| there.body().clone())
    );
}

/// A store whose one entry can be looked at.
#[derive(Clone, Default)]
struct Watched(MemoryStore, Arc<Mutex<Option<Key>>>);

impl Watched {
    fn entry(&self) -> Option<Entry> {
        let key = self.1.lock().unwrap_or_else(PoisonError::into_inner).clone()?;
        block_on(self.0.get(&key, Clock::Tokio.now())).ok().flatten()
    }
}

#[async_trait]
impl Store for Watched {
    fn peek(&self, key: &Key, now: Moment) -> Peek {
        self.0.peek(key, now)
    }

    async fn get(&self, key: &Key, now: Moment) -> Result<Option<Entry>, StoreError> {
        self.0.get(key, now).await
    }

    async fn put(&self, key: &Key, entry: Entry) -> Result<Put, StoreError> {
        *self.1.lock().unwrap_or_else(PoisonError::into_inner) = Some(key.clone());
        self.0.put(key, entry).await
    }

    async fn remove(&self, key: &Key, seen: Option<&Entry>) -> Result<bool, StoreError> {
        self.0.remove(key, seen).await
    }

    async fn clear(&self) -> Result<(), StoreError> {
        self.0.clear().await
    }
}
