//! Whoever listens to the library's traces may ask it things.

use std::{
    sync::{
        Arc, OnceLock,
        atomic::{AtomicUsize, Ordering},
        mpsc,
    },
    thread,
    time::Duration,
};

use nameko_cachetools::{CachedRpcProxy, Client, Reply, Request, Response, transport_fn};
use tracing::{
    Event, Metadata, Subscriber,
    span::{Attributes, Id, Record},
};

/// Reads a proxy's counters at each event, as one that shows them beside the logs does.
#[derive(Clone, Default)]
struct ReadsStats(Arc<OnceLock<CachedRpcProxy>>);

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
            && let Some(proxy) = self.0.get()
        {
            proxy.stats();
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
    subscriber.0.set(shop.clone()).ok()?;
    for _ in 0..2 {
        let _: Reply<u64> = shop.call("get", ()).await.ok()?;
    }
    Some(shop.stats().masked)
}
