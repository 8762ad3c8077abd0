use nameko_cachetools::{Event, EventSource, Events, Heard, Listener, Transport};
use nameko_cachetools_testkit::{Answer, FakeBroker, When};
use serde_json::json;
use tokio::time::timeout;

use crate::{MS, send};

/// The next that is heard, as text; `nothing` if there is nothing.
async fn heard(listener: &mut Listener) -> String {
    match timeout(MS(10), listener.next()).await {
        Ok(Some(Heard::Event(event))) => {
            format!("{} {}", event.event_type, String::from_utf8_lossy(&event.body))
        }
        Ok(Some(Heard::Gap)) => "gap".to_owned(),
        Ok(None) => "end".to_owned(),
        Ok(Some(other)) => format!("{other:?}"),
        Err(_) => "nothing".to_owned(),
    }
}

fn prices() -> Events {
    Events::of("products", ["price_changed", "stock.*"]).unwrap()
}

#[tokio::test(start_paused = true)]
async fn who_listens_hears_the_events_asked_for() {
    let broker = FakeBroker::new();
    let transport = broker.transport();
    broker.dispatch("products", "price_changed", 0); // nobody listens yet
    let mut listener = transport.listen(prices());
    assert_eq!(heard(&mut listener).await, "gap");
    for (service, event_type) in [
        ("products", "price_changed"),
        ("products", "renamed"),
        ("orders", "price_changed"),
        ("products", "stock.low"),
        ("products", "stock.low.soon"),
    ] {
        broker.dispatch(service, event_type, json!({"id": "o1"}));
    }
    broker.dispatch_event("products", Event::new("stock.raw", None, "no JSON"));
    assert_eq!(heard(&mut listener).await, r#"price_changed {"id": "o1"}"#);
    assert_eq!(heard(&mut listener).await, r#"stock.low {"id": "o1"}"#);
    assert_eq!(heard(&mut listener).await, "stock.raw no JSON");
    assert_eq!(heard(&mut listener).await, "nothing");
    let timeline = broker.timeline();
    assert!(
        timeline.contains("-- event products.renamed: heard by 0 in memory"),
        "{timeline}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_lost_connection_is_a_gap() {
    let broker = FakeBroker::new();
    let transport = broker.transport();
    let outage = broker.down();
    let mut listener = transport.listen(prices());
    assert_eq!(heard(&mut listener).await, "nothing");
    broker.dispatch("products", "price_changed", 1);
    outage.end();
    assert_eq!(heard(&mut listener).await, "gap");
    broker.dispatch("products", "price_changed", 2);
    assert_eq!(heard(&mut listener).await, "price_changed 2");

    broker.push("products.get", [Answer::disconnect(When::AfterSend)]);
    send(&transport, "products.get", json!([])).await.unwrap_err();
    assert_eq!(heard(&mut listener).await, "gap");

    transport.close(MS(0)).await;
    assert_eq!(heard(&mut listener).await, "end");
}
