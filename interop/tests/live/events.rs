//! Events that real nameko publishes.

use nameko_cachetools::{EventSource, Events, Heard, Listener, Transport};
use nameko_cachetools_amqprs::AmqprsTransport;
use nameko_cachetools_interop::{Interop, Packages, live};
use nameko_cachetools_lapin::LapinTransport;
use serde_json::{Value, json};
use tokio::time::{Duration, timeout};

use crate::LIMIT;

#[test]
fn both_transports_hear_what_nameko_dispatches() {
    live::shared(Packages::Nameko2, hear_nameko);
}

#[test]
fn nameko_3_sends_the_same() {
    live::shared(Packages::Nameko3, hear_nameko);
}

async fn hear_nameko(nameko: &'static Interop) {
    let (lapin, amqprs) = (
        LapinTransport::connect(nameko.uri()).await.unwrap(),
        AmqprsTransport::connect(nameko.uri()).await.unwrap(),
    );
    let service = nameko.service("catalog");
    let events = Events::of(&service, ["price_changed"]).unwrap();
    let mut listeners = [lapin.listen(events.clone()), amqprs.listen(events)];
    for listener in &mut listeners {
        assert!(matches!(next(listener).await, Heard::Gap));
    }
    for (event_type, payload) in [
        ("price_changed", r#"{"id": 7}"#),
        ("renamed", "{}"),
        ("price_changed", r#"["é", null]"#),
    ] {
        let mut dispatch = nameko.script("nk_dispatch.py");
        dispatch.args([service.as_str(), event_type, payload]);
        assert!(dispatch.status().await.unwrap().success());
    }
    for listener in &mut listeners {
        for payload in [json!({"id": 7}), json!(["é", null])] {
            let Heard::Event(event) = next(listener).await else {
                unreachable!("a gap without a reason")
            };
            assert_eq!(event.event_type, "price_changed");
            assert_eq!(event.content_type.as_deref(), Some("application/json"));
            assert_eq!(serde_json::from_slice::<Value>(&event.body).unwrap(), payload);
        }
    }
    lapin.close(Duration::ZERO).await;
    amqprs.close(Duration::ZERO).await;
}

async fn next(listener: &mut Listener) -> Heard {
    timeout(LIMIT, listener.next()).await.unwrap().unwrap()
}
