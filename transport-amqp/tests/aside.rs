//! What goes on beside requests, in virtual time: events, and looks at a service's queue.
#![allow(clippy::panic, clippy::unwrap_used, reason = "tests")]

mod fake;

use std::{sync::Arc, time::Duration};

use fake::{Broker, FakeLink, Mood, pass, settle};
use nameko_cachetools::{Event, EventSource, Events, Heard, Listener, ServiceQueue, Transport};
use nameko_cachetools_amqp::{EventQueue, EventsTold};
use tokio::{
    sync::oneshot,
    time::{Instant, timeout},
};

fn prices() -> Events {
    Events::of("products", ["price_changed", "stock.*"]).unwrap()
}

/// What is heard at once.
async fn heard(listener: &mut Listener) -> String {
    settle().await;
    match timeout(Duration::ZERO, listener.next()).await {
        Ok(Some(Heard::Event(event))) => event.event_type,
        Ok(Some(Heard::Gap)) => "gap".to_owned(),
        Ok(None) => "end".to_owned(),
        _ => "nothing".to_owned(),
    }
}

/// The event queue declared last on a link.
async fn taken(link: &Arc<FakeLink>) -> (EventQueue, EventsTold, oneshot::Sender<String>) {
    settle().await;
    link.heard.lock().unwrap().pop().unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_listener_hears_gaps_and_events_over_all_links() {
    let broker = Broker::new([]);
    let transport = broker.builder().app("shop").connect().await.unwrap();
    let mut listener = transport.listen(prices());
    let (queue, told, _over) = taken(&broker.link()).await;
    assert_eq!(queue.exchange, "products.events");
    assert_eq!(queue.types, ["price_changed", "stock.*"]);
    assert!(queue.name.starts_with("evt-products--shop-"), "{}", queue.name);
    assert_eq!(heard(&mut listener).await, "gap");
    told.event(Event::new("price_changed", None, "{}"));
    assert_eq!(heard(&mut listener).await, "price_changed");
    assert_eq!(heard(&mut listener).await, "nothing");

    drop(told);
    broker.link().events.lost("cut");
    pass(0.05).await;
    let (again, told, _over) = taken(&broker.link()).await;
    assert_ne!(again.name, queue.name, "the broker may keep that one for a while");
    assert_eq!((again.exchange, again.types), (queue.exchange, queue.types));
    assert_eq!(heard(&mut listener).await, "gap");
    told.event(Event::new("stock.low", None, "{}"));
    assert_eq!(heard(&mut listener).await, "stock.low");

    transport.close(Duration::ZERO).await;
    drop(told);
    assert_eq!(heard(&mut listener).await, "end");
    assert_eq!(
        heard(&mut transport.listen(prices())).await,
        "end",
        "closed is closed"
    );
}

#[tokio::test(start_paused = true)]
async fn who_listens_before_there_is_a_broker_hears_once_there_is_one() {
    let broker = Broker::new([]);
    let transport = broker.builder().connect_lazy().unwrap();
    let (mut first, mut second) = (transport.listen(prices()), transport.listen(prices()));
    settle().await;
    assert_eq!(broker.link().heard.lock().unwrap().len(), 2);
    assert_eq!(heard(&mut first).await, "gap");
    assert_eq!(heard(&mut second).await, "gap");
}

#[tokio::test(start_paused = true)]
async fn a_dropped_listener_leaves_nothing() {
    let broker = Broker::new([]);
    let transport = broker.connect().await;
    let listener = transport.listen(prices());
    let (_, told, over) = taken(&broker.link()).await;
    drop(listener);
    settle().await;
    assert!(over.is_closed(), "the link was told to stop");
    told.event(Event::new("price_changed", None, "{}")); // it may come in the same moment

    broker.link().events.lost("cut");
    pass(0.05).await;
    assert!(broker.link().heard.lock().unwrap().is_empty());
}

#[tokio::test(start_paused = true)]
async fn events_that_are_refused_are_tried_again_and_cost_nothing_else() {
    let broker = Broker::new([]);
    let transport = broker.connect().await;
    let mut listener = transport.listen(prices());
    let (_, _, over) = taken(&broker.link()).await;
    assert_eq!(heard(&mut listener).await, "gap");
    over.send("403 ACCESS_REFUSED".to_owned()).unwrap();
    pass(9.9).await;
    assert!(broker.link().heard.lock().unwrap().is_empty());
    pass(0.2).await;
    taken(&broker.link()).await;
    assert_eq!(heard(&mut listener).await, "gap");
    assert!(transport.state().borrow().is_ready());
    assert_eq!(broker.attempts(), 1);
}

#[tokio::test(start_paused = true)]
async fn an_event_that_is_too_long_is_a_gap() {
    let broker = Broker::new([]);
    let transport = broker.builder().max_reply_bytes(10).connect().await.unwrap();
    let mut listener = transport.listen(prices());
    let (_, told, _over) = taken(&broker.link()).await;
    assert_eq!(heard(&mut listener).await, "gap");
    told.event(Event::new("price_changed", None, "x".repeat(11)));
    assert_eq!(heard(&mut listener).await, "gap");
}

#[tokio::test(start_paused = true)]
async fn a_look_at_a_services_queue_is_bounded_and_shared_by_those_who_ask_at_once() {
    let broker = Broker::new([]);
    let transport = broker.connect().await;
    let looks = (0..1000).map(|_| transport.service_queue("products"));
    let found = futures_util::future::join_all(looks).await;
    assert!(found.iter().all(|found| *found == Some(ServiceQueue::Missing)));
    assert_eq!(*broker.link().asked.lock().unwrap(), ["rpc-products"]);
    pass(0.1).await;
    assert!(transport.service_queue("products").await.is_some());
    assert_eq!(broker.link().asked.lock().unwrap().len(), 2, "old news are none");

    broker.link().set(Mood::Stalls);
    let began = Instant::now();
    let (first, second) = tokio::join!(transport.service_queue("a"), transport.service_queue("b"));
    assert_eq!((first, second), (None, None));
    assert_eq!(began.elapsed(), Duration::from_secs(1));
    assert_eq!(
        broker.link().asked.lock().unwrap().len(),
        3,
        "the second was not asked"
    );

    broker.link().events.lost("cut");
    settle().await;
    assert_eq!(transport.service_queue("products").await, None);
}
