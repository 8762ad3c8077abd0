use nameko_cachetools_testkit::{Answer, FakeBroker, When};
use serde_json::json;
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
