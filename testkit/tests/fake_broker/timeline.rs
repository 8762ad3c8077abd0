use nameko_cachetools::{CachedRpcProxy, args};
use nameko_cachetools_testkit::{Answer, FakeBroker, Latency, When};
use serde_json::{Value, json};
use tokio::time::{sleep, timeout};

use crate::{MS, send};

/// The timeline is made for snapshots, so its text is part of what is promised.
#[tokio::test(start_paused = true)]
async fn the_timeline_tells_the_whole_story() {
    let broker = FakeBroker::new();
    broker
        .on("products.get")
        .reply(json!({"title": "The Odyssey"}))
        .then(Answer::never())
        .then(Answer::error("ValueError", "bad").after(MS(20)));
    broker
        .on("stock.level")
        .reply(Answer::disconnect(When::AfterSend));
    let transport = broker.transport();
    let _ = send(&transport, "products.get", json!(["o1"])).await;
    let _ = timeout(MS(300), send(&transport, "products.get", json!(["o1"]))).await;
    let _ = send(&transport, "products.get", json!(["o1", 2])).await;
    let outage = broker.down();
    let _ = send(&transport, "products.get", json!([])).await;
    sleep(MS(1000)).await;
    outage.end();
    let _ = send(&broker.transport(), "stock.level", json!([])).await;
    assert_eq!(
        broker.timeline(),
        r#"       0 ms  #1 products.get("o1")
       0 ms  #1   ok {"title": "The Odyssey"}
       0 ms  #2 products.get("o1")
     300 ms  #2   the caller gave up
     300 ms  #3 products.get("o1", 2)
     320 ms  #3   error ValueError bad
     320 ms  -- broker down
     320 ms  -- products.get not sent: not connected to the broker: the fake broker is down
    1320 ms  -- broker down no more
    1320 ms  #4 stock.level()  by connection 2
    1320 ms  #4   connection lost after sending
"#
    );
}

/// Several clients, chance, an outage, a held call, a cache: and no run differs from another.
#[tokio::test(start_paused = true)]
async fn two_runs_give_the_same_timeline() {
    async fn run() -> String {
        let broker = FakeBroker::with_seed(42);
        broker
            .on("stock.level")
            .after(Latency::lognormal(MS(20), MS(900)))
            .reply_with(|call| match call.number % 3 {
                0 => Answer::error("Busy", "try again"),
                _ => Answer::ok(call.number),
            });
        broker
            .on("stock.name")
            .after(MS(1)..MS(50))
            .reply(Answer::ok("x"))
            .then(Answer::hold());
        let callers: Vec<_> = (0..20)
            .map(|i| {
                let stock = CachedRpcProxy::builder("stock")
                    .failover_timeout(MS(30))
                    .build(&broker.client());
                tokio::spawn(async move {
                    for n in 0..10 {
                        let method = if (i + n) % 7 == 0 { "name" } else { "level" };
                        let call = stock.call::<Value, _>(method, args![n % 3]).timeout(MS(500));
                        let _ = call.await;
                    }
                })
            })
            .collect();
        sleep(MS(100)).await;
        broker.down().end();
        broker
            .next_call("stock.name")
            .await
            .reply(Answer::ok("by hand").after(MS(3)));
        for caller in callers {
            caller.await.unwrap();
        }
        broker.timeline()
    }
    let (first, second) = (run().await, run().await);
    assert!(
        first.lines().count() > 300 && first.contains("the caller gave up") && first.contains("error Busy")
    );
    assert_eq!(first, second);
}

#[tokio::test(start_paused = true)]
async fn a_reply_at_the_very_moment_of_a_limit_is_in_time() {
    let broker = FakeBroker::new();
    broker.on("products.get").after(MS(20)).reply(Answer::ok(1));
    let transport = broker.transport();
    assert!(
        timeout(MS(20), send(&transport, "products.get", json!([])))
            .await
            .is_ok()
    );
    assert!(
        timeout(MS(19), send(&transport, "products.get", json!([])))
            .await
            .is_err()
    );
}

#[tokio::test(start_paused = true)]
async fn settle_runs_what_is_ready_and_leaves_the_clock() {
    let broker = FakeBroker::new();
    broker
        .on("products.get")
        .reply(Answer::ok(1))
        .then(Answer::ok(2))
        .then(Answer::ok(3).after(MS(1)));
    let transport = broker.transport();
    let caller = tokio::spawn(async move {
        for _ in 0..3 {
            let _ = send(&transport, "products.get", json!([])).await;
        }
    });
    let before = tokio::time::Instant::now();
    broker.settle().await;
    broker.calls("products.get").assert_times(3);
    assert_eq!((before.elapsed(), broker.in_flight()), (MS(0), 1));
    caller.await.unwrap();
}

#[tokio::test(start_paused = true)]
#[should_panic(expected = "the calls never come to rest")]
async fn settle_gives_up_on_calls_without_end() {
    let broker = FakeBroker::new();
    broker.on("products.get").reply(Answer::ok(1));
    let transport = broker.transport();
    tokio::spawn(async move {
        loop {
            let _ = send(&transport, "products.get", json!([])).await;
            tokio::task::yield_now().await;
        }
    });
    broker.settle().await;
}
