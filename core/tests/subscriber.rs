//! What the library logs is heard, and whoever listens may ask it things.

use std::{
    sync::{
        Arc, Mutex, OnceLock, PoisonError,
        atomic::{AtomicUsize, Ordering},
        mpsc,
    },
    thread,
    time::Duration,
};

use nameko_cachetools::{
    Breaker, CachedRpcProxy, Client, Failover, Reply, Request, Response, TransportError, transport_fn,
};
use tracing::{
    Event, Level, Metadata, Subscriber,
    span::{Attributes, Id, Record},
};

/// Reads a proxy's counters at each event, as one that shows them beside the logs does.
#[derive(Clone, Default)]
struct ReadsStats {
    of: Arc<OnceLock<CachedRpcProxy>>,
    heard: Arc<Mutex<Vec<Level>>>,
}

impl ReadsStats {
    /// The levels of events since the last time.
    fn heard(&self) -> Vec<Level> {
        std::mem::take(&mut *self.heard.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Subscriber for ReadsStats {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        if event.metadata().target().starts_with("nameko_cachetools")
            && *event.metadata().level() <= Level::INFO
        {
            if let Some(proxy) = self.of.get() {
                proxy.stats();
            }
            let mut heard = self.heard.lock().unwrap_or_else(PoisonError::into_inner);
            heard.push(*event.metadata().level());
        }
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

/// It was told of a masked error while the list of those was locked, and waited for it for ever.
#[test]
fn a_subscriber_may_read_the_counters() {
    let (ended, end) = mpsc::channel();
    thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let subscriber = ReadsStats::default();
        let listening = tracing::subscriber::set_default(subscriber.clone());
        let masked = runtime.map(|runtime| runtime.block_on(fail_over(&subscriber)));
        drop(listening);
        ended.send(masked)
    });
    let masked = end.recv_timeout(Duration::from_secs(60));
    assert!(matches!(masked, Ok(Ok(Some(1)))), "{masked:?}");
}

async fn fail_over(subscriber: &ReadsStats) -> Option<u64> {
    let calls = AtomicUsize::new(0);
    let transport = transport_fn(move |_: Request| {
        let body = match calls.fetch_add(1, Ordering::Relaxed) {
            0 => r#"{"result": 7, "error": null}"#,
            _ => r#"{"result": null, "error": {"exc_type": "Boom", "value": "x"}}"#,
        };
        async move { Ok(Response::json(body)) }
    });
    let shop = CachedRpcProxy::new("shop", &Client::new(transport));
    subscriber.of.set(shop.clone()).ok()?;
    for _ in 0..2 {
        let _: Reply<u64> = shop.call("get", ()).await.ok()?;
    }
    Some(shop.stats().masked)
}

#[tokio::test(start_paused = true)]
async fn a_circuit_is_logged_when_it_opens_and_when_it_closes() {
    let calls = AtomicUsize::new(0);
    let transport = transport_fn(move |_: Request| {
        let n = calls.fetch_add(1, Ordering::Relaxed);
        async move {
            match n {
                0 | 4.. => Ok(Response::json(r#"{"result": 7, "error": null}"#)),
                _ => Err(TransportError::Rejected),
            }
        }
    });
    let subscriber = ReadsStats::default();
    let _listening = tracing::subscriber::set_default(subscriber.clone());
    let policy = Failover::original().breaker(Breaker::default().after_failures(2));
    let client = Client::new(transport);
    let shop = CachedRpcProxy::builder("shop").policy(policy).build(&client);
    let ask = async || assert!(shop.call::<u64, _>("get", ()).await.is_ok());

    ask().await;
    ask().await;
    // Of the first: that a cached answer stood in.
    assert_eq!(subscriber.heard(), [Level::WARN]);
    ask().await;
    assert_eq!(subscriber.heard(), [Level::WARN], "it opens");
    tokio::time::sleep(Duration::from_secs(2)).await;
    ask().await; // and a look behind it fails
    ask().await;
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert!(subscriber.heard().is_empty(), "nothing new");
    ask().await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(subscriber.heard(), [Level::INFO], "it closes");
}
