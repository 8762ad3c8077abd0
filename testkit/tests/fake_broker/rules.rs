use nameko_cachetools::{Request, Route, Transport, args};
use nameko_cachetools_testkit::{Answer, FakeBroker};
use serde_json::json;

use crate::{request, result, text};

#[tokio::test(start_paused = true)]
async fn the_first_rule_that_matches_answers() {
    let broker = FakeBroker::new();
    broker
        .on("products.get")
        .args(("o1",))
        .reply(Answer::ok("exactly o1"));
    broker
        .on("products.get")
        .when("two arguments", |call| call.args.len() == 2)
        .reply(Answer::ok("two"));
    broker
        .on("products.get")
        .context("language", "sv")
        .reply(Answer::ok("svenska"));
    broker
        .on("products.get")
        .kwargs(json!({}))
        .reply(Answer::ok("any"));
    let transport = broker.transport();
    assert_eq!(
        result(&transport, "products.get", json!(["o1"])).await,
        "exactly o1"
    );
    assert_eq!(result(&transport, "products.get", json!(["o1", 2])).await, "two");
    assert_eq!(result(&transport, "products.get", json!(["o2"])).await, "any");
    let mut swedish = request("products.get", json!(["o2"]));
    swedish.headers.push(("nameko.language".into(), json!("sv")));
    assert_eq!(
        transport.request(swedish).await.unwrap().body,
        r#"{"result": "svenska", "error": null}"#
    );
}

#[tokio::test(start_paused = true)]
async fn with_means_the_whole_call() {
    let broker = FakeBroker::new();
    broker
        .on("products.get")
        .with(args!["o1", tax = true])
        .reply(json!("taxed"));
    broker.on("products.get").with(("o1",)).reply(json!("plain"));
    broker.on("products.get").with(()).reply(json!("nothing"));
    let transport = broker.transport();
    assert_eq!(result(&transport, "products.get", json!(["o1"])).await, "plain");
    assert_eq!(result(&transport, "products.get", json!([])).await, "nothing");
    let taxed = r#"{"args": ["o1"], "kwargs": {"tax": true}}"#;
    let taxed = Request::new(Route::new("products", "get").unwrap(), taxed);
    assert_eq!(
        transport.request(taxed).await.unwrap().body,
        r#"{"result": "taxed", "error": null}"#
    );
    broker
        .calls("products.get")
        .only(|call| !call.kwargs.is_empty())
        .assert_args(args!["o1", tax = true]);
}

#[tokio::test(start_paused = true)]
async fn a_rule_that_has_seen_its_most_lets_the_next_answer() {
    let broker = FakeBroker::new();
    broker.on("products.get").expect(..=2).reply(Answer::ok("twice"));
    broker.on("products.get").expect(1..).reply(Answer::ok("then"));
    let transport = broker.transport();
    for expected in ["twice", "twice", "then", "then"] {
        assert_eq!(result(&transport, "products.get", json!([])).await, expected);
    }
}

#[tokio::test(start_paused = true)]
async fn answers_are_used_in_order_and_the_last_repeats() {
    let broker = FakeBroker::new();
    broker
        .on("stock.level")
        .sequence([json!(3), json!(2)])
        .then(json!(1));
    let transport = broker.transport();
    for expected in [3, 2, 1, 1, 1] {
        assert_eq!(result(&transport, "stock.level", json!([])).await, expected);
    }
}

#[tokio::test(start_paused = true)]
async fn a_services_name_may_have_dots() {
    let broker = FakeBroker::new();
    broker.on("shop.eu.products.get").reply(Answer::ok(1));
    assert_eq!(
        text(&broker.transport(), "shop.eu.products.get", json!([])).await,
        r#"{"result": 1, "error": null}"#
    );
}

#[tokio::test(start_paused = true)]
async fn calls_are_counted_and_kept_for_assertions() {
    let broker = FakeBroker::new();
    broker.on("products.get").reply(Answer::ok(1));
    broker.on("stock.level").reply(Answer::ok(3));
    let transport = broker.transport();
    for _ in 0..2 {
        text(&transport, "products.get", json!(["o1"])).await;
    }
    text(&transport, "stock.level", json!([7])).await;
    broker
        .calls("products.get")
        .assert_times(2)
        .assert_args(args!["o1"]);
    broker.calls("stock.level").assert_times(1..).assert_args((7,));
    let calls = broker.all_calls();
    assert_eq!(calls.count(), 3);
    assert_eq!(
        calls.iter().map(|call| call.number).collect::<Vec<_>>(),
        [1, 2, 3]
    );
    assert_eq!(
        calls.last().map(ToString::to_string).as_deref(),
        Some("stock.level(7)")
    );
    assert_eq!(calls.only(|call| call.route.service() == "stock").count(), 1);
}

#[tokio::test(start_paused = true)]
async fn calls_in_flight_at_once_are_counted_per_selection() {
    let broker = FakeBroker::new();
    broker.on("products.get").hold();
    let callers: Vec<_> = [1, 1, 2]
        .into_iter()
        .map(|id| {
            let transport = broker.transport();
            tokio::spawn(async move { text(&transport, "products.get", json!([id])).await })
        })
        .collect();
    for _ in &callers {
        broker.next_call("products.get").await.reply(json!(0));
        broker.settle().await;
    }
    assert_eq!(broker.max_in_flight(), 3);
    let of_one = broker.calls("products.get").with((1,));
    assert_eq!((of_one.count(), of_one.max_in_flight()), (2, 2));
    assert_eq!(broker.calls("products.get").with((2,)).max_in_flight(), 1);
}

#[test]
#[should_panic(expected = "\"products\" is no route: write \"service.method\"")]
fn a_rule_without_a_method_is_refused() {
    let _ = FakeBroker::new().on("products");
}

#[test]
#[should_panic(expected = "a method name is an identifier")]
fn a_rule_that_nameko_could_not_route_is_refused() {
    let _ = FakeBroker::new().on("products.get all");
}

#[test]
#[should_panic(expected = "args() takes a list of arguments, got 7; write args((7,))")]
fn arguments_that_are_no_list_are_refused() {
    let _ = FakeBroker::new().on("products.get").args(7);
}

#[test]
#[should_panic(expected = "this rule has an answer already; add the next one with then(..)")]
fn a_second_first_answer_is_refused() {
    let broker = FakeBroker::new();
    broker.on("products.get").reply(json!(1)).reply(json!(2));
}

#[test]
#[should_panic(expected = "then() follows reply(), sequence(), reply_with() or hold()")]
fn then_without_a_first_answer_is_refused() {
    let broker = FakeBroker::new();
    let _ = broker.on("products.get").then(json!(1));
}

#[test]
#[should_panic(expected = "products.get: expected calls with (1), saw none")]
fn an_assertion_about_each_call_needs_one() {
    FakeBroker::new().calls("products.get").assert_args((1,));
}

#[tokio::test(start_paused = true)]
async fn a_pattern_answers_what_no_rule_of_its_own_does() {
    let broker = FakeBroker::new();
    broker
        .on("products.*")
        .reply_with(|call| Answer::ok(call.route.method()));
    broker.on("*.ping").reply(Answer::ok("pong"));
    broker.on("products.get").arg(0, "o1").reply(Answer::ok("own"));
    let transport = broker.transport();
    assert_eq!(result(&transport, "products.get", json!(["o1"])).await, "own");
    assert_eq!(result(&transport, "products.get", json!(["o2"])).await, "get");
    assert_eq!(result(&transport, "products.list", json!([])).await, "list");
    assert_eq!(
        result(&transport, "products.ping", json!([])).await,
        "ping",
        "the first pattern"
    );
    assert_eq!(result(&transport, "stock.ping", json!([])).await, "pong");
    broker.calls("products.*").assert_times(4);
    broker.calls("*.ping").assert_times(2);
    broker.calls("*").assert_times(5);
    assert_eq!(broker.verify(), Ok(()));
}

#[tokio::test(start_paused = true)]
async fn one_argument_is_enough_to_tell_calls_apart() {
    let broker = FakeBroker::new();
    broker.on("products.search").arg(1, 50).reply(Answer::ok("fifty"));
    broker.on("products.search").arg(0, "x").reply(Answer::ok("x"));
    let transport = broker.transport();
    let search = async |args| result(&transport, "products.search", args).await;
    assert_eq!(search(json!(["x", 50])).await, "fifty");
    assert_eq!(search(json!(["x", 51])).await, "x");
    assert_eq!(search(json!(["y", 50, {}])).await, "fifty");
}

#[tokio::test(start_paused = true)]
async fn calls_of_a_pattern_are_handed_over_in_order() {
    let broker = FakeBroker::new();
    broker.on("*").hold();
    let transport = broker.transport();
    let callers = ["products.get", "stock.level", "products.list"].map(|route| {
        let transport = transport.clone();
        tokio::spawn(async move { result(&transport, route, json!([])).await })
    });
    broker.settle().await;
    broker.next_call("stock.*").await.reply(Answer::ok(1));
    broker.next_call("products.*").await.reply(Answer::ok(2));
    broker.next_call("*.list").await.reply(Answer::ok(3));
    let [get, level, list] = callers;
    assert_eq!(get.await.unwrap(), 2);
    assert_eq!(level.await.unwrap(), 1);
    assert_eq!(list.await.unwrap(), 3);
}
