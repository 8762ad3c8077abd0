//! Events that the test sends in a service's place.

use nameko_cachetools_testkit::{FakeBroker, wire::RawClient};
use serde_json::json;

#[tokio::test]
async fn an_event_reaches_the_queues_bound_for_it() {
    let broker = FakeBroker::new();
    let wire = broker.serve().await;
    let mut client = RawClient::consumer(&wire.uri(), "evt-mine").await.unwrap();
    broker.dispatch("products", "renamed", "nobody has declared the exchange");
    for (command, answer) in [
        (
            "1 exchange.declare products.events topic durable",
            "1 exchange.declare-ok",
        ),
        (
            "1 queue.bind evt-mine products.events price_changed",
            "1 queue.bind-ok",
        ),
    ] {
        client.say(command).await;
        assert_eq!(client.hear().await, answer);
    }
    broker.dispatch("products", "renamed", "o1");
    broker.dispatch("products", "price_changed", json!({"id": "o1"}));
    assert_eq!(
        client.hear().await,
        "1 basic.deliver c tag=1 products.events price_changed"
    );
    let header = client.hear().await;
    assert!(header.contains("content_type=application/json"), "{header}");
    assert_eq!(client.hear().await, r#"1 body {"id": "o1"}"#);
}
