use nameko_cachetools::{ConnectionState, Delivery, ServiceQueue, Transport, TransportError};
use nameko_cachetools_testkit::{Answer, FakeBroker};
use serde_json::json;
use tokio::time::{Instant, sleep, timeout};

use crate::{MS, request, result, send};

#[tokio::test(start_paused = true)]
async fn a_broker_that_is_down_fails_waiting_and_new_calls() {
    let broker = FakeBroker::new();
    broker
        .on("products.get")
        .reply(Answer::never())
        .then(Answer::ok(2));
    let transport = broker.transport();
    let waiting = tokio::spawn({
        let transport = transport.clone();
        async move { transport.request(request("products.get", json!([]))).await }
    });
    broker.settle().await;
    let outage = broker.down();
    let error = waiting.await.unwrap().unwrap_err();
    assert!(
        matches!(
            error,
            TransportError::Disconnected {
                delivery: Delivery::Unknown,
                ..
            }
        ),
        "{error:?}"
    );
    assert!(matches!(
        *transport.state().borrow(),
        ConnectionState::Reconnecting { permanent: false, .. }
    ));
    let error = send(&transport, "products.get", json!([])).await.unwrap_err();
    assert!(matches!(error, TransportError::NotConnected { .. }), "{error:?}");
    outage.end();
    assert_eq!(result(&transport, "products.get", json!([])).await, 2);
    broker.calls("products.get").assert_times(2); // the one in between never reached the broker
}

#[tokio::test(start_paused = true)]
async fn a_blocked_broker_takes_nothing_but_still_brings_replies() {
    let broker = FakeBroker::new();
    broker.on("products.get").after(MS(10)).reply(Answer::ok(1));
    let transport = broker.transport();
    let waiting = tokio::spawn({
        let transport = transport.clone();
        async move { result(&transport, "products.get", json!([])).await }
    });
    broker.settle().await;
    let alarm = broker.blocked();
    assert!(matches!(
        *transport.state().borrow(),
        ConnectionState::Blocked { .. }
    ));
    let error = send(&transport, "products.get", json!([])).await.unwrap_err();
    assert!(matches!(error, TransportError::Blocked { .. }), "{error:?}");
    assert_eq!(waiting.await.unwrap(), 1);
    drop(alarm);
    assert_eq!(result(&transport, "products.get", json!([])).await, 1);
}

#[tokio::test(start_paused = true)]
async fn an_unknown_service_is_one_service() {
    let broker = FakeBroker::new();
    broker.on("products.get").reply(Answer::ok(1));
    broker.on("stock.level").reply(Answer::ok(3));
    let transport = broker.transport();
    let outages = (broker.unknown("products"), broker.unknown("products"));
    drop(outages.0);
    let error = send(&transport, "products.get", json!([])).await.unwrap_err();
    assert!(
        matches!(error, TransportError::UnknownService),
        "the second outage still lasts: {error:?}"
    );
    assert_eq!(result(&transport, "stock.level", json!([])).await, 3);
    drop(outages.1);
    assert_eq!(result(&transport, "products.get", json!([])).await, 1);
}

#[tokio::test(start_paused = true)]
async fn a_silent_service_answers_from_its_queue_when_it_is_back() {
    let broker = FakeBroker::new();
    broker
        .on("products.get")
        .expect(3)
        .reply_with(|call| Answer::ok(&call.args));
    let transport = broker.transport();
    let silence = broker.silent("products");
    let ask = |id: u64, expiration: Option<u64>, patience: u64| {
        let (transport, mut request) = (transport.clone(), request("products.get", json!([id])));
        request.expiration = expiration.map(MS);
        tokio::spawn(async move { timeout(MS(patience), transport.request(request)).await })
    };
    let (patient, impatient) = (ask(1, None, 10_000), ask(2, None, 10));
    let (expired, fresh) = (ask(3, Some(500), 10_000), ask(4, Some(501), 10_000));
    sleep(MS(500)).await;
    assert!(!patient.is_finished() && impatient.await.unwrap().is_err());
    let back = Instant::now();
    drop(silence);
    assert_eq!(
        patient.await.unwrap().unwrap().unwrap().body,
        r#"{"result": [1], "error": null}"#
    );
    assert_eq!(
        fresh.await.unwrap().unwrap().unwrap().body,
        r#"{"result": [4], "error": null}"#
    );
    assert_eq!(back.elapsed(), MS(0));
    assert!(expired.await.unwrap().is_err());
    // The service executed the request of the caller who had left, as a real one does; not the expired one.
    assert!(
        broker.timeline().contains("#2   too late, nobody waits: ok [2]"),
        "{}",
        broker.timeline()
    );
    assert!(
        broker.timeline().contains("#3   expired in the queue"),
        "{}",
        broker.timeline()
    );
}

/// A guard that lives until the end of the test is dropped before the broker checks its rules.
#[tokio::test(start_paused = true)]
async fn the_end_of_a_test_answers_nothing_any_more() {
    let broker = FakeBroker::new();
    broker.on("products.get").expect(1).reply(Answer::ok(1));
    let transport = broker.transport();
    assert_eq!(result(&transport, "products.get", json!([])).await, 1);
    let _silence = broker.silent("products");
    let waiting = tokio::spawn(async move { transport.request(request("products.get", json!([]))).await });
    broker.settle().await;
    assert!(!waiting.is_finished());
}

#[tokio::test(start_paused = true)]
async fn an_answer_of_the_same_moment_wins_over_a_lost_connection() {
    let broker = FakeBroker::new();
    broker.on("products.get").hold();
    let transport = broker.transport();
    let waiting = tokio::spawn(async move { transport.request(request("products.get", json!([]))).await });
    broker.next_call("products.get").await.reply(json!(1));
    let _outage = broker.down();
    assert!(waiting.await.unwrap().is_ok());
    let timeline = broker.timeline();
    assert!(
        timeline.ends_with("-- broker down\n       0 ms  #1   ok 1\n"),
        "{timeline}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_dropped_broker_is_not_connected_and_says_why() {
    let broker = FakeBroker::new();
    broker.on("products.get").reply(Answer::never());
    let transport = broker.transport();
    let waiting = tokio::spawn({
        let transport = transport.clone();
        async move { transport.request(request("products.get", json!([]))).await }
    });
    broker.settle().await;
    drop(broker);
    assert!(waiting.await.unwrap().is_err());
    let error = send(&transport, "products.get", json!([]))
        .await
        .unwrap_err()
        .to_string();
    assert!(error.contains("the fake broker was dropped"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_flapping_broker_comes_and_goes_until_the_guard_ends() {
    let broker = FakeBroker::new();
    broker.on("products.get").reply(Answer::ok(1));
    let transport = broker.transport();
    let flapping = broker.flapping(MS(100), MS(50));
    let mut up = Vec::new();
    for _ in 0..6 {
        up.push(send(&transport, "products.get", json!([])).await.is_ok());
        sleep(MS(50) + MS(1)).await;
    }
    // at 0, 51, 102, 153, 204 and 255 ms
    assert_eq!(up, [false, false, true, false, false, true]);
    sleep(MS(50)).await;
    assert!(send(&transport, "products.get", json!([])).await.is_err());
    flapping.end();
    assert_eq!(result(&transport, "products.get", json!([])).await, 1, "at once");
    sleep(MS(10_000)).await;
    assert_eq!(result(&transport, "products.get", json!([])).await, 1);
    assert_eq!(broker.timeline().matches("-- broker down\n").count(), 3);
}

#[test]
fn flapping_needs_a_runtime_and_a_pause() {
    let broker = FakeBroker::new();
    let flapping = |down, up| {
        std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| broker.flapping(down, up).end())).is_err()
    };
    assert!(flapping(MS(1), MS(1)));
    assert!(flapping(MS(0), MS(0)));
}

#[tokio::test(start_paused = true)]
async fn a_brown_out_is_slow_fails_at_its_rate_and_hits_one_service() {
    async fn run(seed: u64) -> (usize, String) {
        let broker = FakeBroker::with_seed(seed);
        broker.on("products.get").after(MS(5)).reply(Answer::ok(1));
        broker.on("stock.level").reply(Answer::ok(3));
        let transport = broker.transport();
        let struggling = broker.brown_out("products", MS(100)..=MS(200), 0.3);
        let mut failed = 0;
        for _ in 0..1000 {
            let start = Instant::now();
            let reply = crate::text(&transport, "products.get", json!([])).await;
            assert!((MS(105)..=MS(205)).contains(&start.elapsed()));
            failed += usize::from(reply.contains(r#""exc_type": "TimeoutError""#));
        }
        let start = Instant::now();
        assert_eq!(result(&transport, "stock.level", json!([])).await, 3);
        assert_eq!(start.elapsed(), MS(0));
        struggling.end();
        assert_eq!(result(&transport, "products.get", json!([])).await, 1);
        assert_eq!(start.elapsed(), MS(5));
        (failed, broker.timeline())
    }
    let (first, again, other) = (run(7).await, run(7).await, run(8).await);
    assert!((240..360).contains(&first.0), "{}", first.0);
    assert_eq!(first, again);
    assert_ne!(first.1, other.1);
}

#[tokio::test(start_paused = true)]
async fn a_brown_out_spares_calls_that_the_test_answers() {
    let broker = FakeBroker::new();
    broker.on("products.get").hold();
    let transport = broker.transport();
    let _struggling = broker.brown_out("products", MS(100), 1.0);
    let caller = tokio::spawn(async move { result(&transport, "products.get", json!([])).await });
    broker.next_call("products.get").await.reply(Answer::ok(1));
    assert_eq!(caller.await.unwrap(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_services_queue_is_known() {
    let broker = FakeBroker::new();
    broker.on("products.get").reply(Answer::ok(1));
    let transport = broker.transport();
    let told = async || transport.service_queue("products").await;
    let queue = |consumers, waiting| Some(ServiceQueue::Exists { consumers, waiting });
    assert_eq!(told().await, queue(1, 0));
    assert_eq!(broker.client().service_queue("products").await, queue(1, 0));
    assert_eq!(
        transport.service_queue("stock").await,
        Some(ServiceQueue::Missing)
    );
    {
        let _stopped = broker.silent("products");
        let waiting = timeout(MS(10), send(&transport, "products.get", json!([]))).await;
        assert!(waiting.is_err());
        assert_eq!(told().await, queue(0, 1));
    }
    {
        let _never_deployed = broker.unknown("products");
        assert_eq!(told().await, Some(ServiceQueue::Missing));
    }
    let _outage = broker.down();
    assert_eq!(told().await, None);
}
