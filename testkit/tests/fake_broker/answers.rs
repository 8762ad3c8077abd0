use nameko_cachetools::{CallError, Delivery, Reply, TransportError};
use nameko_cachetools_testkit::{Answer, FakeBroker, Latency, Malformed, When};
use serde_json::{Value, json};
use tokio::time::{Instant, timeout};

use crate::{MS, request, result, send, text};
use nameko_cachetools::Transport;

#[tokio::test(start_paused = true)]
async fn latency_is_exact_and_costs_no_real_time() {
    let broker = FakeBroker::new();
    broker
        .on("products.get")
        .after(MS(20))
        .reply(Answer::ok(1))
        .then(Answer::ok(2).after(MS(3_600_000)));
    let transport = broker.transport();
    let start = Instant::now();
    assert_eq!(result(&transport, "products.get", json!([])).await, 1);
    assert_eq!(start.elapsed(), MS(20));
    assert_eq!(result(&transport, "products.get", json!([])).await, 2);
    assert_eq!(start.elapsed(), MS(3_600_020));
}

#[tokio::test(start_paused = true)]
async fn drawn_latencies_are_the_same_in_every_run_and_differ_by_seed() {
    async fn run(seed: u64) -> String {
        let broker = FakeBroker::with_seed(seed);
        broker
            .on("stock.level")
            .after(Latency::lognormal(MS(20), MS(900)))
            .reply(Answer::ok(3));
        broker
            .on("stock.name")
            .after(MS(1)..MS(100))
            .reply(Answer::ok("x"));
        let transport = broker.transport();
        let start = Instant::now();
        let calls = (0..20).map(|i| {
            let transport = transport.clone();
            tokio::spawn(async move {
                let route = if i % 2 == 0 { "stock.level" } else { "stock.name" };
                send(&transport, route, json!([i])).await
            })
        });
        for call in calls.collect::<Vec<_>>() {
            call.await.unwrap().unwrap();
        }
        assert!(start.elapsed() > MS(20));
        broker.timeline()
    }
    assert_eq!(run(7).await, run(7).await);
    assert_ne!(run(7).await, run(8).await);
}

#[tokio::test(start_paused = true)]
async fn silence_lasts() {
    let broker = FakeBroker::new();
    broker.on("products.get").reply(Answer::never());
    let transport = broker.transport();
    assert!(
        timeout(MS(1_000_000), send(&transport, "products.get", json!([])))
            .await
            .is_err()
    );
    assert_eq!(broker.in_flight(), 0, "the caller gave up");
}

#[tokio::test(start_paused = true)]
async fn every_malformed_reply_arrives_as_it_is() {
    let broker = FakeBroker::new();
    broker
        .on("products.get")
        .sequence(Malformed::ALL.iter().map(|kind| Answer::malformed(*kind)));
    let transport = broker.transport();
    let mut seen = Vec::new();
    for kind in Malformed::ALL {
        let response = send(&transport, "products.get", json!([])).await.unwrap();
        let is_json = response.content_type.as_deref() == Some("application/json");
        let wrong_type = [
            Malformed::NoContentType,
            Malformed::OtherContentType,
            Malformed::ContentTypeWithCharset,
            Malformed::Pickle,
        ];
        assert_eq!(is_json, !wrong_type.contains(kind), "{kind:?}");
        seen.push((response.content_type, response.body));
    }
    seen.sort();
    seen.dedup();
    assert_eq!(seen.len(), Malformed::ALL.len(), "all of them differ");
}

/// Through a client, as any value, and as each of them.
#[tokio::test(start_paused = true)]
async fn no_malformed_reply_is_taken_for_an_answer() {
    for kind in Malformed::ALL {
        let broker = FakeBroker::new();
        broker.on("products.get").reply(Answer::malformed(*kind));
        let products = broker.client().service("products");
        let reply: Result<Reply<Value>, CallError> = products.call("get", ()).await;
        let error = reply.expect_err(&format!("{kind:?} was taken for an answer"));
        assert!(
            error.remote().is_none(),
            "{kind:?} was taken for an exception: {error}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn raw_replies_are_byte_exact() {
    let broker = FakeBroker::new();
    broker
        .on("products.get")
        .reply(Answer::raw(&b"\x00\xff\n"[..], "text/x; y=z"));
    let response = send(&broker.transport(), "products.get", json!([]))
        .await
        .unwrap();
    assert_eq!(
        (response.content_type.as_deref(), &response.body[..]),
        (Some("text/x; y=z"), &b"\x00\xff\n"[..])
    );
}

#[tokio::test(start_paused = true)]
async fn the_brokers_own_refusals_are_typed() {
    let broker = FakeBroker::new();
    broker
        .on("products.get")
        .reply(Answer::unknown_service())
        .then(Answer::nack());
    let transport = broker.transport();
    let error = send(&transport, "products.get", json!([])).await.unwrap_err();
    assert!(matches!(error, TransportError::UnknownService), "{error:?}");
    let error = send(&transport, "products.get", json!([])).await.unwrap_err();
    assert!(matches!(error, TransportError::Rejected), "{error:?}");
}

#[tokio::test(start_paused = true)]
async fn a_cut_connection_fails_all_who_wait_on_it_and_is_back_at_once() {
    let broker = FakeBroker::new();
    broker.on("products.get").reply(Answer::never());
    broker
        .on("products.cut")
        .reply(Answer::disconnect(When::AfterSend).after(MS(5)));
    broker
        .on("products.early")
        .reply(Answer::disconnect(When::BeforeSend));
    broker.on("products.list").reply(Answer::ok(1));
    let (transport, other) = (broker.transport(), broker.transport());
    let mut state = transport.state();
    let waiter = tokio::spawn({
        let transport = transport.clone();
        async move { transport.request(request("products.get", json!([]))).await }
    });
    let bystander = tokio::spawn(async move { other.request(request("products.get", json!([]))).await });
    broker.settle().await;

    let delivery = |error: TransportError| match error {
        TransportError::Disconnected { delivery, .. } => delivery,
        other => panic!("{other:?}"),
    };
    let error = send(&transport, "products.cut", json!([])).await.unwrap_err();
    assert_eq!(delivery(error), Delivery::Unknown);
    assert_eq!(delivery(waiter.await.unwrap().unwrap_err()), Delivery::Unknown);
    assert!(!bystander.is_finished(), "another connection is not touched");
    assert!(state.has_changed().unwrap() && state.borrow_and_update().is_ready());

    let error = send(&transport, "products.early", json!([])).await.unwrap_err();
    assert_eq!(delivery(error), Delivery::NotSent);
    assert_eq!(result(&transport, "products.list", json!([])).await, 1);
}

#[tokio::test(start_paused = true)]
async fn a_handler_answers_from_the_call() {
    let broker = FakeBroker::new();
    let mut n = 0;
    broker.on("echo.args").reply_with(move |call| {
        n += 1;
        Answer::ok(json!([n, call.args])).after(MS(10 * n))
    });
    let transport = broker.transport();
    let start = Instant::now();
    assert_eq!(
        text(&transport, "echo.args", json!(["é"])).await,
        r#"{"result": [1, ["\u00e9"]], "error": null}"#
    );
    assert_eq!(result(&transport, "echo.args", json!([])).await, json!([2, []]));
    assert_eq!(start.elapsed(), MS(30));
}
