//! Both strategies through a RabbitMQ that is killed, hung or blocked, and comes back.

use std::time::Duration;

use nameko_cachetools::{CacheFirstRpcProxy, CachedRpcProxy, Reply, Source, args};
use nameko_cachetools_interop::{Interop, live};
use serde_json::Value;
use tokio::time::{Instant, sleep};

use crate::client;

#[test]
fn cached_answers_outlive_the_broker_and_calls_work_again_after_it() {
    live::private_broker(async |broker| {
        let Some(nameko) = live::require(Interop::builder().uri(broker.uri()).start().await) else {
            return;
        };
        let client = client(&nameko).await;
        let plain = client.service(nameko.service("interop"));
        let cached = CachedRpcProxy::new(nameko.service("interop"), &client);
        let first = CacheFirstRpcProxy::new(nameko.service("interop"), &client);
        cached.call::<u8, _>("ident", (1,)).await.unwrap();
        first.call::<u8, _>("ident", (2,)).await.unwrap();

        let waiting = tokio::spawn(plain.call::<Value, _>("sleep", (600,)).into_future());
        sleep(Duration::from_millis(500)).await;
        broker.kill().await.unwrap();
        let error = waiting.await.unwrap().unwrap_err();
        assert!(error.is_unavailable() && error.may_have_executed(), "{error}");

        let began = Instant::now();
        for _ in 0..3 {
            let stale: Reply<u8> = cached.call("ident", (1,)).await.unwrap();
            assert_eq!((*stale, stale.outcome().source()), (1, Source::Stale));
            let hit: Reply<u8> = first.call("ident", (2,)).await.unwrap();
            assert_eq!((*hit, hit.outcome().source()), (2, Source::Fresh));
            let error = plain.call::<Value, _>("echo", args![]).await.unwrap_err();
            assert!(error.is_unavailable() && !error.may_have_executed(), "{error}");
        }
        assert!(
            began.elapsed() < Duration::from_secs(1),
            "nothing waits for a broker: {:?}",
            began.elapsed()
        );

        broker.restart().await.unwrap();
        until(&cached, Source::Live).await;
    });
}

#[test]
fn patience_ends_in_time_while_the_broker_is_there_and_does_not_answer() {
    live::private_broker(async |broker| {
        let Some(nameko) = live::require(Interop::builder().uri(broker.uri()).start().await) else {
            return;
        };
        let client = client(&nameko).await;
        let patience = Duration::from_millis(300);
        let cached = CachedRpcProxy::builder(nameko.service("interop"))
            .failover_timeout(patience)
            .build(&client);
        cached.call::<u8, _>("ident", (1,)).await.unwrap();

        broker.hang().unwrap();
        for _ in 0..3 {
            assert_stale_within(&cached, 5 * patience).await;
        }
        broker.resume().unwrap();
        until(&cached, Source::Live).await;

        // RabbitMQ reads nothing more from a publisher once it is short of memory, which it notices within a second.
        broker.ctl(&["set_vm_memory_high_watermark", "0"]).await.unwrap();
        until(&cached, Source::Stale).await;
        for _ in 0..3 {
            assert_stale_within(&cached, 5 * patience).await;
        }
        broker
            .ctl(&["set_vm_memory_high_watermark", "0.4"])
            .await
            .unwrap();
        until(&cached, Source::Live).await;
    });
}

async fn assert_stale_within(cached: &CachedRpcProxy, limit: Duration) {
    let began = Instant::now();
    let stale: Reply<u8> = cached.call("ident", (1,)).await.unwrap();
    assert_eq!((*stale, stale.outcome().source()), (1, Source::Stale));
    assert!(began.elapsed() < limit, "{:?}", began.elapsed());
}

/// Both sides reconnect by themselves, and notice by themselves.
async fn until(cached: &CachedRpcProxy, source: Source) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while cached
        .call::<u8, _>("ident", (1,))
        .await
        .unwrap()
        .outcome()
        .source()
        != source
    {
        assert!(Instant::now() < deadline, "no answer is {source:?}");
        sleep(Duration::from_millis(50)).await;
    }
}
