//! Connections that break, over a live RabbitMQ behind a proxy.

use std::time::Duration;

use super::support::{
    self, Responder, echo, eventually, live, proxy, recovered, request, silent_port, unique, within,
};
use nameko_cachetools::{ConnectionState, Delivery, Timer, Transport, TransportError};
use nameko_cachetools_testkit::fault_proxy::{Cut, Flow};
use tokio::{sync::watch, task::JoinSet, time::Instant};

use crate::{
    Tested,
    tested::{Address, Backoff, Builder, ConnectError},
};

fn quick(uri: &str) -> Builder<Tested> {
    Tested::builder().uri(uri).heartbeat(Duration::from_secs(4))
}

/// Fifty calls that wait; each must end with `Disconnected` and "unknown"; or, if the library can't see that its socket
/// has taken them, with a `SendTimeout`.
fn fifty_waiting(transport: &Tested, service: &str) -> JoinSet<()> {
    (0..50)
        .map(|_| {
            let (transport, silent) = (transport.clone(), request(service, "silent", "x"));
            async move {
                let error = transport.request(silent).await.unwrap_err();
                let is_told = matches!(
                    error,
                    TransportError::Disconnected { .. }
                        | TransportError::Timeout {
                            timer: Timer::SendTimeout,
                            ..
                        }
                );
                assert!(is_told, "{error:?}");
                assert_eq!(error.delivery(), Delivery::Unknown);
            }
        })
        .collect()
}

/// Proves: T1, T5, T6.
#[tokio::test]
async fn a_cut_connection_ends_waiting_calls_at_once_and_comes_back() {
    let uri = live!();
    let (responder, proxy) = (Responder::start(&uri).await, proxy(&uri).await);
    let transport = quick(proxy.uri()).connect().await.unwrap();
    for _ in 0..5 {
        let calls = fifty_waiting(&transport, &responder.service);
        eventually("all wait", || transport.counters().in_flight == 50).await;
        tokio::time::sleep(Duration::from_millis(20)).await;
        let start = Instant::now();
        proxy.cut(Cut::Reset);
        within(5, calls.join_all()).await;
        assert!(
            start.elapsed() < Duration::from_millis(500),
            "{:?}",
            start.elapsed()
        );
        assert!(recovered(&transport, &responder.service).await < Duration::from_secs(2));
    }
    assert_eq!(transport.counters().in_flight, 0);
    transport.close(Duration::ZERO).await;
}

#[tokio::test]
async fn without_a_connection_requests_fail_at_once_until_it_is_back() {
    let uri = live!();
    let (responder, proxy) = (Responder::start(&uri).await, proxy(&uri).await);
    let transport = quick(proxy.uri()).connect().await.unwrap();
    proxy.refuse(true);
    proxy.cut(Cut::Reset);
    eventually("the loss is noticed", || !transport.state().borrow().is_ready()).await;
    let error = transport
        .request(request(&responder.service, "echo", "x"))
        .await
        .unwrap_err();
    assert!(matches!(error, TransportError::NotConnected { .. }), "{error:?}");
    assert!(matches!(
        &*transport.state().borrow(),
        ConnectionState::Reconnecting { permanent: false, .. }
    ));
    tokio::time::sleep(Duration::from_secs(2)).await;
    let attempts = proxy.accepted();
    assert!(attempts < 15, "{attempts} attempts in 2 s");
    proxy.refuse(false);
    let back = recovered(&transport, &responder.service).await;
    assert!(back < Duration::from_secs(2), "{back:?}");
    transport.close(Duration::ZERO).await;
}

async fn notices_and_replaces(uri: &str, to_broker: Flow, to_client: Flow) {
    let (responder, proxy) = (Responder::start(uri).await, proxy(uri).await);
    let transport = quick(proxy.uri()).connect().await.unwrap();
    echo(&transport, &responder.service, "x").await;
    proxy.to_broker(to_broker);
    proxy.to_client(to_client);
    let (start, calls) = (Instant::now(), fifty_waiting(&transport, &responder.service));
    within(12, calls.join_all()).await;
    assert!(
        start.elapsed() < Duration::from_secs(9),
        "{to_broker:?} {to_client:?} {:?}",
        start.elapsed()
    );
    proxy.heal();
    // An attempt that began on the broken line has its 5 s.
    assert!(recovered(&transport, &responder.service).await < Duration::from_secs(8));
    transport.close(Duration::ZERO).await;
}

/// Nobody is told, or only the broker's words get lost: nothing but watching can notice.
///
/// Proves: T10.
#[tokio::test]
async fn a_half_open_connection_is_noticed_and_replaced() {
    let uri = live!();
    tokio::join!(
        notices_and_replaces(&uri, Flow::Stalled, Flow::Stalled),
        notices_and_replaces(&uri, Flow::Open, Flow::Lost)
    );
}

/// Proves: T15.
#[tokio::test]
async fn close_ends_in_time_on_a_half_open_connection() {
    let uri = live!();
    let (responder, proxy) = (Responder::start(&uri).await, proxy(&uri).await);
    let transport = quick(proxy.uri()).connect().await.unwrap();
    let calls = fifty_waiting(&transport, &responder.service);
    eventually("all wait", || transport.counters().in_flight == 50).await;
    proxy.to_broker(Flow::Stalled);
    proxy.to_client(Flow::Stalled);
    let start = Instant::now();
    transport.close(Duration::from_millis(300)).await;
    assert!(
        start.elapsed() < Duration::from_millis(1300),
        "{:?}",
        start.elapsed()
    );
    within(1, calls.join_all()).await;
}

/// A deleted reply queue takes the consumer with it: every waiting call ends, and the next session declares it again.
///
/// Proves: T5.
#[tokio::test]
async fn a_deleted_reply_queue_is_the_end_of_a_session() {
    let uri = live!();
    let responder = Responder::start(&uri).await;
    let app = unique("deleted");
    let transport = Tested::builder().uri(&uri).app(&app).connect().await.unwrap();
    for _ in 0..3 {
        let shown = within(
            5,
            transport.request(request(&responder.service, "properties", "x")),
        )
        .await
        .unwrap();
        let shown = String::from_utf8(shown.body.to_vec()).unwrap().replace('\\', "");
        let key = shown
            .split(r#"reply_to: Some(ShortString(""#)
            .nth(1)
            .unwrap()
            .split('"')
            .next()
            .unwrap();
        let calls = fifty_waiting(&transport, &responder.service);
        eventually("all wait", || transport.counters().in_flight == 50).await;
        let queue = format!("rpc.reply-{app}-{key}");
        responder
            .channel
            .queue_delete(queue.into(), Default::default())
            .await
            .unwrap();
        within(5, calls.join_all()).await;
        assert!(recovered(&transport, &responder.service).await < Duration::from_secs(2));
    }
    transport.close(Duration::ZERO).await;
}

/// The broker closes our publish channel when the exchange is gone.
///
/// Proves: T5.
#[tokio::test]
async fn a_channel_closed_by_the_server_is_the_end_of_a_session() {
    let uri = live!();
    let responder = Responder::start(&uri).await;
    let exchange = unique("rpc");
    let transport = Tested::builder()
        .uri(&uri)
        .rpc_exchange(&exchange)
        .connect()
        .await
        .unwrap();
    responder
        .channel
        .exchange_delete(exchange.as_str().into(), Default::default())
        .await
        .unwrap();
    let error = within(5, transport.request(request(&responder.service, "echo", "x")))
        .await
        .unwrap_err();
    assert!(matches!(error, TransportError::Disconnected { .. }), "{error:?}");
    let bound = async {
        loop {
            match transport.request(request(&responder.service, "echo", "x")).await {
                Err(TransportError::UnknownService) => return, // declared again, and nobody is bound to it
                _ => tokio::time::sleep(Duration::from_millis(10)).await,
            }
        }
    };
    within(3, bound).await;
    responder
        .channel
        .exchange_delete(exchange.as_str().into(), Default::default())
        .await
        .unwrap();
    transport.close(Duration::ZERO).await;
}

/// Proves: T11, R12.
#[tokio::test]
async fn refusals_are_final_clear_and_slow() {
    let uri = live!();
    let responder = Responder::start(&uri).await;
    let exchange = unique("direct");
    let (name, kind) = (exchange.as_str().into(), lapin::ExchangeKind::Direct);
    let auto = lapin::options::ExchangeDeclareOptions {
        auto_delete: true,
        ..Default::default()
    };
    responder
        .channel
        .exchange_declare(name, kind, auto, Default::default())
        .await
        .unwrap();
    let wrong_password = {
        let address = Address::parse(&uri).unwrap().remove(0);
        format!(
            "amqp://{}:canary@{}:{}/%2f",
            address.user, address.host, address.port
        )
    };
    let no_vhost = format!("{}{}", &uri[..uri.rfind('/').unwrap() + 1], unique("nowhere"));
    for builder in [
        Tested::builder().uri(&wrong_password),
        Tested::builder().uri(&no_vhost),
        Tested::builder().uri(&uri).rpc_exchange(&exchange),
    ] {
        let error = within(6, builder.connect()).await.unwrap_err();
        let shown = format!("{error} {error:?}");
        assert!(
            matches!(error, ConnectError::Failed(TransportError::Refused { .. })),
            "{shown}"
        );
        assert!(!shown.contains("canary"), "{shown}");
    }
    let lazy = Tested::builder().uri(&wrong_password).connect_lazy().unwrap();
    eventually("the refusal shows", || {
        matches!(
            &*lazy.state().borrow(),
            ConnectionState::Reconnecting { permanent: true, .. }
        )
    })
    .await;
    let error = lazy.request(request("s", "m", "x")).await.unwrap_err();
    assert!(matches!(error, TransportError::Refused { .. }), "{error:?}");
    assert!(!format!("{lazy:?} {error:?}").contains("canary"));
    lazy.close(Duration::ZERO).await;
    responder
        .channel
        .exchange_delete(exchange.as_str().into(), Default::default())
        .await
        .unwrap();
}

/// Proves: T8.
#[tokio::test]
async fn nobody_listening_and_nobody_speaking_are_told_apart_in_time() {
    let dead = tokio::net::TcpListener::bind("127.0.0.1:0")
        .await
        .unwrap()
        .local_addr()
        .unwrap();
    let error = within(5, Tested::connect(&format!("amqp://{dead}")))
        .await
        .unwrap_err();
    assert!(
        matches!(error, ConnectError::Failed(TransportError::NotConnected { .. })),
        "{error:?}"
    );

    let (silent, port) = silent_port().await;
    let limit = Duration::from_millis(200);
    let connect = Tested::builder()
        .uri(format!("amqp://{silent}"))
        .connect_timeout(limit)
        .connect();
    let error = within(2, connect).await.unwrap_err();
    let ConnectError::Failed(TransportError::Timeout { timer, after, .. }) = error else {
        panic!("{error:?}")
    };
    assert_eq!((timer, after), (Timer::ConnectTimeout, limit));
    port.abort();
}

/// Starts without a broker, and works once there is one.
#[tokio::test]
async fn a_lazy_transport_connects_when_it_can() {
    let uri = live!();
    let (responder, proxy) = (Responder::start(&uri).await, proxy(&uri).await);
    proxy.refuse(true);
    let transport = quick(proxy.uri()).connect_lazy().unwrap();
    let error = transport
        .request(request(&responder.service, "echo", "x"))
        .await
        .unwrap_err();
    assert!(matches!(error, TransportError::NotConnected { .. }), "{error:?}");
    proxy.refuse(false);
    assert!(recovered(&transport, &responder.service).await < Duration::from_secs(3));
    transport.close(Duration::ZERO).await;
}

/// Several addresses are tried in turn.
#[tokio::test]
async fn the_next_host_is_tried() {
    let uri = live!();
    let responder = Responder::start(&uri).await;
    let transport = Tested::connect(&format!("amqp://127.0.0.1:1;{uri}"))
        .await
        .unwrap();
    echo(&transport, &responder.service, "x").await;
    transport.close(Duration::ZERO).await;
}

#[tokio::test(start_paused = true)]
async fn a_paused_clock_is_an_error_of_its_own() {
    let error = Tested::connect("amqp://").await.unwrap_err();
    assert!(
        matches!(error, ConnectError::Failed(TransportError::PausedClock)),
        "{error:?}"
    );
    let lazy = Tested::builder().connect_lazy().unwrap();
    tokio::task::yield_now().await;
    let error = lazy.request(request("s", "m", "x")).await.unwrap_err();
    assert!(matches!(error, TransportError::PausedClock), "{error:?}");
    lazy.close(Duration::ZERO).await;
}

/// Cut again and again under load, each time as soon as it works: every call ends, nothing is left, and a call never
/// gets another's reply.
///
/// Proves: T1, T2, T5.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_storm_of_cuts_leaves_nothing_behind() {
    let uri = live!();
    let (responder, proxy) = (Responder::start(&uri).await, proxy(&uri).await);
    let backoff = Backoff {
        first: Duration::from_millis(10),
        cap: Duration::from_millis(50),
        ..Backoff::default()
    };
    let transport = quick(proxy.uri()).backoff(backoff).connect().await.unwrap();
    let (mut callers, cutting) = (JoinSet::new(), watch::Sender::new(true));
    for n in 0..20 {
        let (transport, service) = (transport.clone(), responder.service.clone());
        let cutting = cutting.subscribe();
        callers.spawn(async move {
            let mut answered = 0;
            while *cutting.borrow() {
                let argument = format!("{n} {answered}");
                match transport.request(request(&service, "echo", &argument)).await {
                    Ok(response) => {
                        let body: serde_json::Value = serde_json::from_slice(&response.body).unwrap();
                        assert_eq!(body["result"]["args"][0], argument);
                        answered += 1;
                    }
                    Err(TransportError::Disconnected { .. } | TransportError::NotConnected { .. }) => {
                        tokio::time::sleep(Duration::from_millis(1)).await;
                    }
                    Err(error) => panic!("{error:?}"),
                }
            }
            answered
        });
    }
    for _ in 0..20 {
        recovered(&transport, &responder.service).await;
        proxy.cut(Cut::Reset);
    }
    cutting.send_replace(false);
    let answered: usize = within(10, callers.join_all()).await.into_iter().sum();
    assert!(answered > 0);
    assert_eq!(transport.counters().in_flight, 0);
    assert!(recovered(&transport, &responder.service).await < Duration::from_secs(2));
    transport.close(Duration::ZERO).await;
}
