use nameko_cachetools::{Delivery, Transport, TransportError};
use nameko_cachetools_testkit::{Answer, Correlation, FakeBroker, FakeTransport, When};
use serde_json::{Value, json};
use tokio::{
    task::JoinHandle,
    time::{Instant, timeout},
};

use crate::{MS, result, send};

fn is_lost(error: &TransportError, delivery: Delivery) -> bool {
    matches!(error, TransportError::Disconnected { delivery: d, .. } if *d == delivery)
}

fn spawned(transport: &FakeTransport, route: &'static str, arg: u64) -> JoinHandle<Value> {
    let transport = transport.clone();
    tokio::spawn(async move { result(&transport, route, json!([arg])).await })
}

#[tokio::test(start_paused = true)]
async fn a_duplicate_reaches_nobody() {
    let broker = FakeBroker::new();
    broker
        .on("products.get")
        .reply(Answer::ok(1).copies(3))
        .then(Answer::ok(2));
    let transport = broker.transport();
    assert_eq!(result(&transport, "products.get", json!([])).await, 1);
    assert_eq!(result(&transport, "products.get", json!([])).await, 2);
    let again = broker
        .timeline()
        .matches("#1   the same reply again: nobody waits for it")
        .count();
    assert_eq!(again, 2, "{}", broker.timeline());
}

#[tokio::test(start_paused = true)]
async fn a_reply_under_another_correlation_id_reaches_nobody() {
    let broker = FakeBroker::new();
    let strays = [Correlation::Unknown, Correlation::Empty, Correlation::Missing];
    broker
        .on("products.get")
        .sequence(strays.map(|id| Answer::ok(1).correlation(id)));
    let transport = broker.transport();
    for _ in strays {
        let lost = timeout(MS(60_000), send(&transport, "products.get", json!([]))).await;
        assert!(lost.is_err(), "the reply came");
    }
    for told in ["is nobody's", "is empty", "has no correlation id"] {
        assert!(broker.timeline().contains(told), "{}", broker.timeline());
    }
    assert_eq!(broker.in_flight(), 0);
}

/// That is all a client can do: nothing else says whose a reply is.
#[tokio::test(start_paused = true)]
async fn a_reply_under_another_calls_correlation_id_ends_that_call() {
    let broker = FakeBroker::new();
    broker
        .on("users.name")
        .with((1,))
        .reply(Answer::ok("Ann").after(MS(50)));
    broker.on("users.name").with((2,)).reply(Answer::never());
    broker
        .on("users.name")
        .with((3,))
        .reply(Answer::ok("Cid").after(MS(20)).correlation(Correlation::Another));
    let (transport, elsewhere) = (broker.transport(), broker.transport());
    let on_another_connection = spawned(&elsewhere, "users.name", 2);
    broker.settle().await;
    let (first, second) = (
        spawned(&transport, "users.name", 1),
        spawned(&transport, "users.name", 2),
    );
    broker.settle().await;
    let start = Instant::now();
    let third = timeout(MS(1000), send(&transport, "users.name", json!([3])));
    assert!(third.await.is_err(), "the reply came");
    assert_eq!((first.await.unwrap(), start.elapsed()), (json!("Cid"), MS(1000)));
    assert!(!second.is_finished() && !on_another_connection.is_finished());
    assert!(
        broker
            .timeline()
            .contains("#2   took another call's reply for its own"),
        "{}",
        broker.timeline()
    );
    assert!(!broker.timeline().contains("Ann"), "{}", broker.timeline()); // it wasn't waited for any more
    assert_eq!(broker.in_flight(), 2);
}

/// Measured with lapin and amqprs: for such a reply they give up the connection.
#[tokio::test(start_paused = true)]
async fn a_correlation_id_that_is_no_utf8_costs_the_connection() {
    let broker = FakeBroker::new();
    broker
        .on("products.get")
        .reply(Answer::ok(1).after(MS(20)).correlation(Correlation::NotUtf8))
        .then(Answer::ok(2));
    broker.on("stock.level").reply(Answer::never());
    let transport = broker.transport();
    let other = tokio::spawn({
        let transport = transport.clone();
        async move { send(&transport, "stock.level", json!([])).await }
    });
    broker.settle().await;
    let start = Instant::now();
    let error = send(&transport, "products.get", json!([])).await.unwrap_err();
    assert!(is_lost(&error, Delivery::Unknown), "{error:?}");
    let error = other.await.unwrap().unwrap_err();
    assert!(is_lost(&error, Delivery::Unknown), "{error:?}");
    assert_eq!(start.elapsed(), MS(20));
    assert_eq!(result(&transport, "products.get", json!([])).await, 2);
}

#[tokio::test(start_paused = true)]
async fn a_connection_lost_after_the_reply_spares_its_caller() {
    let broker = FakeBroker::new();
    broker.on("products.get").reply(Answer::ok(1).hang_up());
    broker.on("stock.level").reply(Answer::never());
    let transport = broker.transport();
    let other = tokio::spawn({
        let transport = transport.clone();
        async move { send(&transport, "stock.level", json!([])).await }
    });
    broker.settle().await;
    assert_eq!(result(&transport, "products.get", json!([])).await, 1);
    let error = other.await.unwrap().unwrap_err();
    assert!(is_lost(&error, Delivery::Unknown), "{error:?}");
    assert!(transport.state().borrow().is_ready());
}

#[tokio::test(start_paused = true)]
async fn a_connection_lost_before_the_reply_is_lost_when_it_was_due() {
    let broker = FakeBroker::new();
    broker
        .on("products.get")
        .after(MS(20))
        .reply(Answer::disconnect(When::BeforeReply));
    let start = Instant::now();
    let error = send(&broker.transport(), "products.get", json!([]))
        .await
        .unwrap_err();
    assert!(is_lost(&error, Delivery::Unknown), "{error:?}");
    assert_eq!(start.elapsed(), MS(20));
}

#[test]
fn only_replies_have_a_manner() {
    let refuses = |make: fn() -> Answer| std::panic::catch_unwind(make).is_err();
    assert!(refuses(|| Answer::ok(1).copies(0)));
    assert!(refuses(|| Answer::never().copies(2)));
    assert!(refuses(|| Answer::hold().hang_up()));
    assert!(refuses(|| Answer::nack().correlation(Correlation::Empty)));
}

#[tokio::test(start_paused = true)]
async fn reordered_replies_overtake_each_other_and_reach_their_own_callers() {
    async fn run(seed: u64) -> Vec<u64> {
        let broker = FakeBroker::with_seed(seed);
        broker
            .on("products.get")
            .reply_with(|call| Answer::ok(call.args[0].clone()));
        let transport = broker.transport();
        let shuffled = broker.reordered(MS(10));
        let start = Instant::now();
        let calls: Vec<_> = (0..5).map(|i| spawned(&transport, "products.get", i)).collect();
        for (i, call) in calls.into_iter().enumerate() {
            assert_eq!(call.await.unwrap(), i);
        }
        assert_eq!(start.elapsed(), MS(14), "10 ms, and one between each two");
        shuffled.end();
        let start = Instant::now();
        assert_eq!(result(&transport, "products.get", json!([9])).await, 9);
        assert_eq!(start.elapsed(), MS(0), "in order again");
        let told = broker.timeline();
        let oks = told.lines().filter_map(|line| line.split_once("  ok "));
        oks.filter_map(|(_, n)| n.parse().ok()).collect()
    }
    let (first, again, other) = (run(7).await, run(7).await, run(8).await);
    assert_eq!(first, again);
    assert!(
        !first.is_sorted() && !other.is_sorted() && first != other,
        "{first:?} {other:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_reply_whose_window_outlives_the_guard_still_comes() {
    let broker = FakeBroker::new();
    broker.on("products.get").reply(Answer::ok(1));
    let transport = broker.transport();
    let shuffled = broker.reordered(MS(10));
    let call = spawned(&transport, "products.get", 1);
    broker.settle().await;
    drop(shuffled);
    assert_eq!(call.await.unwrap(), 1);
}
