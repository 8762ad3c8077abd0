//! nameko-cachetools beside ours: one service, one scenario, two callers, the same answers.

use std::time::Duration;

use nameko_cachetools::{CacheFirstRpcProxy, CachedRpcProxy, Client, MemoryStore, Reply, ServiceProxy};
use nameko_cachetools_interop::{Interop, live};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use crate::client;

#[test]
fn both_fail_over_to_the_last_good_answer_and_back() {
    side_by_side(async |nameko, both| {
        let pair = Failover::of(both);
        both.set(1).await;
        assert_eq!(pair.call("get_count", KEY).await, [json!(1), json!(1)], "healthy");
        both.set(2).await;
        assert_eq!(
            pair.call("get_count", KEY).await,
            [json!(2), json!(2)],
            "healthy: the live answer"
        );

        nameko.hang().unwrap();
        let began = Instant::now();
        assert_eq!(pair.call("get_count", KEY).await, [json!(2), json!(2)], "hung");
        let waited = began.elapsed();
        assert!(
            2 * PATIENCE <= waited && waited < 8 * PATIENCE,
            "each after its failover_timeout: {waited:?}"
        );
        nameko.resume().unwrap();

        both.set(3).await;
        assert_eq!(pair.call("get_count", KEY).await, [json!(3), json!(3)], "back");
        nameko.kill().await.unwrap();
        assert_eq!(pair.call("get_count", KEY).await, [json!(3), json!(3)], "killed");
        nameko.restart().await.unwrap();
        assert_eq!(
            pair.call("get_count", KEY).await,
            [json!(0), json!(0)],
            "a new process that counts anew"
        );
    });
}

#[test]
fn both_mask_an_error_by_a_cached_answer_and_pass_it_on_without_one() {
    side_by_side(async |_, both| {
        let pair = Failover::of(both);
        both.set(1).await;
        assert_eq!(pair.call("fail_unless", KEY).await, [json!(1), json!(1)]);
        both.set(0).await;
        assert_eq!(
            pair.call("fail_unless", KEY).await,
            [json!(1), json!(1)],
            "masked"
        );
        let [python, ours] = pair.call("fail_unless", "another").await;
        assert_eq!(
            (python, &ours),
            (ours.clone(), &json!("CustomError switch another is off"))
        );
    });
}

#[test]
fn by_default_neither_fails_over_from_silence() {
    side_by_side(async |nameko, both| {
        let python = both.python("cached_no_timeout");
        let ours = CachedRpcProxy::new(both.target.as_str(), &both.client);
        for _ in 0..2 {
            python.call::<Value, _>("call", ("ident", [1])).await.unwrap();
            ours.call::<Value, _>("ident", (1,)).await.unwrap();
        }
        nameko.hang().unwrap();
        let python = tokio::spawn(python.call::<Value, _>("call", ("ident", [1])).into_future());
        let ours = tokio::spawn(ours.call::<Value, _>("ident", (1,)).into_future());
        sleep(2 * PATIENCE).await;
        assert!(
            !python.is_finished() && !ours.is_finished(),
            "both wait, with the answer at hand"
        );
        nameko.resume().unwrap();
        assert_eq!(
            (&*python.await.unwrap().unwrap(), &*ours.await.unwrap().unwrap()),
            (&json!(1), &json!(1))
        );
    });
}

#[test]
fn cache_first_asks_once_in_both() {
    side_by_side(async |_, both| {
        let (python, ours) = (both.python_first(), both.ours_first());
        for _ in 0..3 {
            assert_eq!(
                *python.call::<u8, _>("call", ("count", ["python"])).await.unwrap(),
                1
            );
            assert_eq!(*ours.call::<u8, _>("count", ("ours",)).await.unwrap(), 1);
        }
    });
}

/// Runs a scenario with the services, which it may break, and two callers of them, which it may not.
pub(crate) fn side_by_side(scenario: impl AsyncFnOnce(&mut Interop, &Callers)) {
    live::alone(Interop::builder(), async |nameko| {
        let python = Interop::builder()
            .module("nk_cached")
            .prefix(nameko.prefix())
            .start()
            .await
            .unwrap();
        let callers = Callers {
            client: client(nameko).await,
            target: nameko.service("interop"),
            python,
        };
        scenario(nameko, &callers).await;
    });
}

/// Two callers of `interop`: services of another process that use nameko-cachetools, and our proxies.
pub(crate) struct Callers {
    client: Client,
    target: String,
    python: Interop,
}

impl Callers {
    /// One of the services in `nk_cached.py`; through it the original is called.
    pub(crate) fn python(&self, service: &str) -> ServiceProxy {
        self.client.service(self.python.service(service))
    }

    pub(crate) fn python_failover(&self) -> ServiceProxy {
        self.python("cached_failover")
    }

    pub(crate) fn python_first(&self) -> ServiceProxy {
        self.python("cached_first")
    }

    pub(crate) fn ours_failover(&self) -> CachedRpcProxy {
        CachedRpcProxy::builder(self.target.as_str())
            .failover_timeout(PATIENCE)
            .build(&self.client)
    }

    pub(crate) fn ours_first(&self) -> CacheFirstRpcProxy {
        CacheFirstRpcProxy::new(self.target.as_str(), &self.client)
    }

    /// Ours as the README of the original describes its failover with a `TTLCache`.
    pub(crate) fn ours_failover_fresh_for(&self, life: Duration) -> CachedRpcProxy {
        CachedRpcProxy::builder(self.target.as_str())
            .fresh_for(life)
            .build(&self.client)
    }

    /// Ours with a bounded cache: so many entries, for so long.
    pub(crate) fn ours_first_ttl(&self, entries: usize, life: Duration) -> CacheFirstRpcProxy {
        let store = MemoryStore::ttl(entries, life);
        CacheFirstRpcProxy::builder(self.target.as_str())
            .cache(store)
            .build(&self.client)
    }

    /// Sets what `get_count(KEY)` answers, past all caches.
    async fn set(&self, value: u8) {
        let service = self.client.service(self.target.as_str());
        service.call::<Value, _>("set_count", (KEY, value)).await.unwrap();
    }

    /// How often `count(key)` was executed.
    pub(crate) async fn count(&self, key: &str) -> u32 {
        let service = self.client.service(self.target.as_str());
        *service.call("get_count", (key,)).await.unwrap()
    }
}

/// The original and ours, each with its cache.
struct Failover {
    python: ServiceProxy,
    ours: CachedRpcProxy,
}

impl Failover {
    fn of(callers: &Callers) -> Self {
        Self {
            python: callers.python_failover(),
            ours: callers.ours_failover(),
        }
    }

    /// What both answer to `method(key)`, the original first; an error as its text.
    async fn call(&self, method: &str, key: &str) -> [Value; 2] {
        let python: Reply<Value> = self.python.call("attempt", (method, [key])).await.unwrap();
        let python = match &python["error"] {
            Value::Null => python["ok"].clone(),
            _ => python["text"].clone(),
        };
        let ours = match self.ours.call::<Value, _>(method, (key,)).await {
            Ok(reply) => reply.into_inner(),
            Err(error) => error.remote().unwrap().to_string().into(),
        };
        [python, ours]
    }
}

pub(crate) const KEY: &str = "k";
/// The `failover_timeout` of `cached_failover` in `nk_cached.py`, and of ours.
const PATIENCE: Duration = Duration::from_secs(1);
