//! What goes on beside requests: looks at a service's queue, and events.

use std::time::Duration;

use lapin::{
    BasicProperties, ExchangeKind,
    options::{BasicPublishOptions, ExchangeDeclareOptions, QueueDeclareOptions},
    types::{AMQPValue, FieldTable},
};
use nameko_cachetools::{EventSource, Events, Heard, Listener, ServiceQueue, Transport};
use nameko_cachetools_testkit::fault_proxy::Cut;

use super::support::{self, Responder, echo, live, proxy, unique, within};
use crate::Tested;

#[tokio::test]
async fn a_services_queue_is_looked_at_without_harm() {
    let uri = live!();
    let responder = Responder::start(&uri).await;
    let transport = Tested::connect(&uri).await.unwrap();
    let stopped = unique("stopped");
    let queue = format!("rpc-{stopped}");
    let mut arguments = FieldTable::default();
    arguments.insert("x-expires".into(), AMQPValue::LongInt(60_000));
    let declared =
        responder
            .channel
            .queue_declare(queue.as_str().into(), QueueDeclareOptions::default(), arguments);
    declared.await.unwrap();
    for _ in 0..2 {
        let (none, options) = (BasicProperties::default(), BasicPublishOptions::default());
        responder
            .channel
            .basic_publish("".into(), queue.as_str().into(), options, b"{}", none)
            .await
            .unwrap();
    }
    // The broker counts what it has got round to.
    let wanted = ServiceQueue::Exists {
        consumers: 0,
        waiting: 2,
    };
    let counted = async {
        while transport.service_queue(&stopped).await != Some(wanted) {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    within(5, counted).await;
    let deleted = responder.channel.queue_delete(queue.into(), Default::default());
    deleted.await.unwrap();

    // Each of them costs a channel, but not the connection, nor more channels than there are.
    let mut answers = Vec::new();
    for n in 0..110 {
        answers.push(within(2, transport.service_queue(&format!("{stopped}-{n}"))).await);
    }
    assert!(
        answers[..100]
            .iter()
            .all(|answer| *answer == Some(ServiceQueue::Missing)),
        "{answers:?}"
    );
    assert!(answers[100..].iter().all(Option::is_none), "{answers:?}");
    assert!(transport.state().borrow().is_ready());
    echo(&transport, &responder.service, "x").await;
    transport.close(Duration::ZERO).await;
}

/// Nameko's queues are nobody's own; but whoever looks at one that is, loses a channel each time.
#[tokio::test]
async fn looks_that_are_refused_are_few() {
    let uri = live!();
    let responder = Responder::start(&uri).await;
    let transport = Tested::connect(&uri).await.unwrap();
    let exclusive = QueueDeclareOptions {
        exclusive: true,
        ..QueueDeclareOptions::default()
    };
    let locked = unique("locked");
    for n in 0..110 {
        let queue = format!("rpc-{locked}-{n}");
        let declared = responder
            .channel
            .queue_declare(queue.into(), exclusive, FieldTable::default());
        declared.await.unwrap();
        assert_eq!(
            within(2, transport.service_queue(&format!("{locked}-{n}"))).await,
            None
        );
    }
    assert_eq!(
        within(2, transport.service_queue(&unique("missing"))).await,
        None,
        "no more channels are spent"
    );
    assert!(transport.health().is_ready());
    echo(&transport, &responder.service, "x").await;
    transport.close(Duration::ZERO).await;
}

#[tokio::test]
async fn every_listener_hears_every_event_and_every_gap() {
    let uri = live!();
    let (responder, proxy) = (Responder::start(&uri).await, proxy(&uri).await);
    let service = unique("events");
    let transports = [
        Tested::connect(&uri).await.unwrap(),
        Tested::connect(proxy.uri()).await.unwrap(),
    ];
    let events = Events::of(&service, ["price_changed", "stock.*"]).unwrap();
    let mut listeners = transports
        .each_ref()
        .map(|transport| transport.listen(events.clone()));
    for listener in &mut listeners {
        assert_eq!(heard(listener).await, "gap");
    }
    for event_type in ["price_changed", "unheard", "stock.low"] {
        publish(&responder, &service, event_type).await;
    }
    for listener in &mut listeners {
        assert_eq!(heard(listener).await, r#"price_changed "price_changed" de"#);
        assert_eq!(heard(listener).await, r#"stock.low "stock.low" de"#);
    }

    proxy.cut(Cut::Reset);
    assert_eq!(heard(&mut listeners[1]).await, "gap");
    publish(&responder, &service, "price_changed").await;
    for listener in &mut listeners {
        assert_eq!(heard(listener).await, r#"price_changed "price_changed" de"#);
    }
    for transport in transports {
        transport.close(Duration::ZERO).await;
    }
    for listener in &mut listeners {
        assert!(within(5, listener.next()).await.is_none());
    }
    remove(&responder, &service).await;
}

/// nameko 2.14 has a switch for it, and a service may have been there first.
#[tokio::test]
async fn an_exchange_that_is_declared_otherwise_serves_as_it_is() {
    let uri = live!();
    let responder = Responder::start(&uri).await;
    let service = unique("events");
    let transient = ExchangeDeclareOptions::default();
    let (exchange, none) = (format!("{service}.events"), FieldTable::default());
    responder
        .channel
        .exchange_declare(exchange.into(), ExchangeKind::Topic, transient, none)
        .await
        .unwrap();
    let transport = Tested::connect(&uri).await.unwrap();
    let mut listener = transport.listen(Events::of(&service, ["#"]).unwrap());
    assert_eq!(heard(&mut listener).await, "gap");
    publish(&responder, &service, "anything.at.all").await;
    assert_eq!(
        heard(&mut listener).await,
        r#"anything.at.all "anything.at.all" de"#
    );
    assert!(transport.state().borrow().is_ready());
    transport.close(Duration::ZERO).await;
    remove(&responder, &service).await;
}

async fn heard(listener: &mut Listener) -> String {
    match within(5, listener.next()).await {
        Some(Heard::Event(event)) => {
            assert_eq!(event.content_type.as_deref(), Some("application/json"));
            let (name, value) = &event.headers[0];
            assert_eq!(name, "nameko.language");
            let body = String::from_utf8_lossy(&event.body).into_owned();
            format!("{} {body} {}", event.event_type, value.as_str().unwrap())
        }
        Some(Heard::Gap) => "gap".to_owned(),
        other => format!("{other:?}"),
    }
}

/// As nameko does; the payload is the event's type.
async fn publish(responder: &Responder, service: &str, event_type: &str) {
    let mut headers = FieldTable::default();
    headers.insert("nameko.language".into(), AMQPValue::LongString("de".into()));
    let properties = BasicProperties::default()
        .with_content_type("application/json".into())
        .with_headers(headers);
    let (exchange, body) = (format!("{service}.events"), format!("{event_type:?}"));
    let options = BasicPublishOptions::default();
    responder
        .channel
        .basic_publish(
            exchange.into(),
            event_type.into(),
            options,
            body.as_bytes(),
            properties,
        )
        .await
        .unwrap();
}

async fn remove(responder: &Responder, service: &str) {
    let exchange = format!("{service}.events");
    responder
        .channel
        .exchange_delete(exchange.into(), Default::default())
        .await
        .unwrap();
}
