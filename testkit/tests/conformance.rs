//! Both conformance suites on what is at hand; and on broken implementations, to show that they find something.
#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, RwLock},
    time::Duration,
};

use async_trait::async_trait;
use nameko_cachetools::{
    ConnectionState, Entry, Key, MemoryStore, Moment, Peek, Put, Request, Response, Store, StoreError,
    Transport, TransportError, transport_fn,
};
use nameko_cachetools_testkit::{
    FakeBroker, FakeTransport, cassette::Recorder, store_conformance, transport_conformance,
};
use tokio::{sync::watch, time::sleep};

struct Fake(FakeBroker);

#[async_trait]
impl transport_conformance::Harness for Fake {
    async fn transport(&self) -> Arc<dyn Transport> {
        Arc::new(self.0.transport())
    }

    async fn cut(&self) -> bool {
        self.0.down().end();
        true
    }
}

fn fake() -> Fake {
    let broker = FakeBroker::new();
    transport_conformance::serve(&broker);
    Fake(broker)
}

#[tokio::test(start_paused = true)]
async fn the_fake_transport_conforms() {
    transport_conformance::run_all(&fake()).await;
}

/// A recorder is a wrapper: whoever uses it must not notice.
struct Recorded(Fake);

#[async_trait]
impl transport_conformance::Harness for Recorded {
    async fn transport(&self) -> Arc<dyn Transport> {
        Arc::new(Recorder::new(self.0.0.transport()))
    }

    async fn cut(&self) -> bool {
        self.0.cut().await
    }
}

#[tokio::test(start_paused = true)]
async fn a_recorder_conforms() {
    transport_conformance::run_all(&Recorded(fake())).await;
}

/// Only the checks that wait for no time, since several threads can't have a paused clock.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_fake_transport_serves_several_threads() {
    let quick = ["thousand", "unknown_service", "byte_exact", "closing_an_idle"];
    let checks = transport_conformance::CHECKS
        .iter()
        .filter(|(name, _)| quick.iter().any(|q| name.contains(q)));
    for (name, check) in checks {
        assert_eq!(check(&fake()).await, Ok(()), "{name}");
    }
}

/// A closure as a transport can't be closed, and knows no services.
struct Closure;

#[async_trait]
impl transport_conformance::Harness for Closure {
    async fn transport(&self) -> Arc<dyn Transport> {
        Arc::new(transport_fn(|request: Request| async move {
            if request.route.service() == transport_conformance::UNKNOWN_SERVICE {
                return Err(TransportError::UnknownService);
            }
            match transport_conformance::answer(&request) {
                Some((response, after)) => {
                    sleep(after).await;
                    Ok(response)
                }
                None => std::future::pending().await,
            }
        }))
    }

    fn closes(&self) -> bool {
        false
    }
}

#[tokio::test(start_paused = true)]
async fn a_closure_conforms() {
    transport_conformance::run_all(&Closure).await;
}

/// Breaks one clause of the contract each.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Flaw {
    MixesUpReplies,
    OneAtATime,
    LosesContentType,
    LosesHeaders,
    SilentOnUnknownService,
    SaysNotSent,
    ForgetsToForwardClose,
    ForgetsToForwardState,
    ClosesTooLate,
}

struct Flawed {
    inner: FakeTransport,
    flaw: Flaw,
    last: tokio::sync::Mutex<Option<Response>>,
    gate: tokio::sync::Mutex<()>,
}

#[async_trait]
impl Transport for Flawed {
    async fn request(&self, mut request: Request) -> Result<Response, TransportError> {
        let _gate = if self.flaw == Flaw::OneAtATime {
            Some(self.gate.lock().await)
        } else {
            None
        };
        if self.flaw == Flaw::LosesHeaders {
            request.headers.clear();
        }
        let mut outcome = self.inner.request(request).await;
        match (&mut outcome, self.flaw) {
            (Ok(response), Flaw::LosesContentType) => response.content_type = Some("application/json".into()),
            (Ok(response), Flaw::MixesUpReplies) => {
                let mut last = self.last.lock().await;
                tokio::task::yield_now().await;
                let own = last.replace(response.clone());
                if let Some(other) = own.filter(|other| other.body.len() == response.body.len()) {
                    *response = other;
                }
            }
            (Err(TransportError::UnknownService), Flaw::SilentOnUnknownService) => {
                std::future::pending().await
            }
            (Err(TransportError::Disconnected { delivery, .. }), Flaw::SaysNotSent) => {
                *delivery = nameko_cachetools::Delivery::NotSent;
            }
            _ => {}
        }
        outcome
    }

    fn state(&self) -> watch::Receiver<ConnectionState> {
        if self.flaw == Flaw::ForgetsToForwardState {
            return watch::channel(ConnectionState::Ready).1;
        }
        self.inner.state()
    }

    async fn close(&self, grace: Duration) {
        match self.flaw {
            Flaw::ForgetsToForwardClose => {}
            Flaw::ClosesTooLate => {
                sleep(grace + Duration::from_secs(30)).await;
                self.inner.close(grace).await;
            }
            _ => self.inner.close(grace).await,
        }
    }
}

#[tokio::test(start_paused = true)]
async fn the_transport_suite_finds_each_flaw() {
    let found = [
        (
            Flaw::MixesUpReplies,
            "a_thousand_requests_at_once_get_their_own_replies",
        ),
        (Flaw::OneAtATime, "a_silent_service_holds_up_no_other_request"),
        (
            Flaw::LosesContentType,
            "replies_arrive_byte_exact_with_their_content_type",
        ),
        (Flaw::LosesHeaders, "headers_arrive_with_their_types"),
        (
            Flaw::SilentOnUnknownService,
            "an_unknown_service_is_told_and_harms_nobody",
        ),
        (Flaw::SaysNotSent, "closing_fails_what_outlasts_the_grace"),
        (Flaw::ForgetsToForwardClose, "a_closed_transport_refuses_requests"),
        (Flaw::ForgetsToForwardState, "a_closed_transport_refuses_requests"),
        (Flaw::ClosesTooLate, "closing_an_idle_transport_is_quick"),
    ];
    for (flaw, expected) in found {
        let broker = FakeBroker::new();
        transport_conformance::serve(&broker);
        let flawed = || Flawed {
            inner: broker.transport(),
            flaw,
            last: Default::default(),
            gate: Default::default(),
        };
        let mut failed = Vec::new();
        for (name, check) in transport_conformance::CHECKS {
            if check(&flawed).await.is_err() {
                failed.push(*name);
            }
        }
        assert!(
            failed.contains(&expected),
            "{flaw:?} was found by {failed:?} only"
        );
    }
}

#[tokio::test]
async fn the_stores_at_hand_conform() {
    store_conformance::run_all(&MemoryStore::new).await;
    store_conformance::run_all(&|| MemoryStore::ttl(2000, Duration::from_secs(600))).await;
    store_conformance::run_all(&Mutex::<HashMap<Key, Entry>>::default).await;
    store_conformance::run_all(&RwLock::<HashMap<Key, Entry>>::default).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_stores_at_hand_conform_on_several_threads() {
    for _ in 0..5 {
        store_conformance::run_all(&MemoryStore::new).await;
    }
    store_conformance::run_all(&Mutex::<HashMap<Key, Entry>>::default).await;
}

/// Breaks one clause of the contract each.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Fault {
    LastPutWins,
    ChecksThenPuts,
    RemovesUnseen,
    ClearsNothing,
    TakesNullForNothing,
    CutsKeys,
    MakesYounger,
    PeekLies,
    IgnoresLife,
}

struct Faulty {
    inner: Mutex<HashMap<Key, Entry>>,
    fault: Fault,
}

impl Faulty {
    fn key(&self, key: &Key) -> Key {
        let bytes = key.as_bytes();
        if self.fault == Fault::CutsKeys {
            Key::from_bytes(&bytes[..bytes.len().min(64)])
        } else {
            key.clone()
        }
    }
}

#[async_trait]
impl Store for Faulty {
    fn peek(&self, key: &Key, now: Moment) -> Peek {
        if self.fault == Fault::PeekLies {
            Peek::Miss
        } else {
            self.inner.peek(&self.key(key), now)
        }
    }

    async fn get(&self, key: &Key, now: Moment) -> Result<Option<Entry>, StoreError> {
        let found = self.inner.get(&self.key(key), now).await?;
        Ok(found.filter(|entry| self.fault != Fault::TakesNullForNothing || entry.body() != "null"))
    }

    async fn put(&self, key: &Key, entry: Entry) -> Result<Put, StoreError> {
        let key = self.key(key);
        match self.fault {
            Fault::LastPutWins => {
                self.inner.lock().unwrap().insert(key, entry);
                Ok(Put::Stored)
            }
            Fault::ChecksThenPuts => {
                let newer = self
                    .inner
                    .lock()
                    .unwrap()
                    .get(&key)
                    .is_some_and(|there| there.is_newer_than(&entry));
                tokio::task::yield_now().await;
                if newer {
                    return Ok(Put::Older);
                }
                self.inner.lock().unwrap().insert(key, entry);
                Ok(Put::Stored)
            }
            Fault::MakesYounger => {
                let now = nameko_cachetools::Clock::Tokio.now_exact();
                self.inner.put(&key, Entry::new(now, entry.body().clone())).await
            }
            _ => self.inner.put(&key, entry).await,
        }
    }

    async fn remove(&self, key: &Key, seen: Option<&Entry>) -> Result<bool, StoreError> {
        let seen = if self.fault == Fault::RemovesUnseen {
            None
        } else {
            seen
        };
        self.inner.remove(&self.key(key), seen).await
    }

    async fn clear(&self) -> Result<(), StoreError> {
        if self.fault == Fault::ClearsNothing {
            Ok(())
        } else {
            self.inner.clear().await
        }
    }

    fn time_to_live(&self) -> Option<Duration> {
        (self.fault == Fault::IgnoresLife).then_some(Duration::from_secs(60))
    }
}

#[tokio::test]
async fn the_store_suite_finds_each_fault() {
    let found = [
        (Fault::LastPutWins, "the_newer_entry_wins_in_any_order"),
        (
            Fault::ChecksThenPuts,
            "the_newer_entry_wins_among_concurrent_puts",
        ),
        (
            Fault::RemovesUnseen,
            "removing_what_was_seen_leaves_a_newer_entry",
        ),
        (Fault::ClearsNothing, "clearing_forgets_everything"),
        (Fault::TakesNullForNothing, "a_null_result_is_a_hit"),
        (Fault::CutsKeys, "keys_are_compared_in_full"),
        (Fault::MakesYounger, "an_entry_keeps_its_age"),
        (Fault::PeekLies, "what_was_put_is_found"),
        (Fault::IgnoresLife, "an_entry_ends_with_its_time_to_live"),
    ];
    for (fault, expected) in found {
        let faulty = || Faulty {
            inner: Mutex::default(),
            fault,
        };
        let mut failed = Vec::new();
        for (name, check) in store_conformance::CHECKS {
            if check(&faulty).await.is_err() {
                failed.push(*name);
            }
        }
        assert!(
            failed.contains(&expected),
            "{fault:?} was found by {failed:?} only"
        );
    }
}
