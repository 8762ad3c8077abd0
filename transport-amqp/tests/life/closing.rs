//! The end of a transport.

use std::{sync::atomic::Ordering, time::Duration};

use nameko_cachetools::{Client, ConnectionState, Delivery, Transport, TransportError};
use tokio::{runtime::Handle, time::Instant};

use crate::{
    fake::{Attempt, Broker, body, error, pass, request, settle, start},
    state,
};

/// Proves: T15.
#[tokio::test(start_paused = true)]
async fn close_waits_for_calls_and_then_ends_everything() {
    let broker = Broker::new([]);
    let transport = broker.connect().await;
    let link = broker.link();
    assert!(transport.health().is_ready());
    let (soon, never) = (start(&transport, "soon").await, start(&transport, "never").await);
    let began = Instant::now();
    let closing = tokio::spawn({
        let transport = transport.clone();
        async move { transport.close(Duration::from_secs(3)).await }
    });
    settle().await;
    assert_eq!(
        transport.health(),
        ConnectionState::Closed,
        "nothing is sent any more"
    );
    assert!(!Client::new(transport.clone()).is_ready(), "and who probes knows");
    let late = transport.request(request("late")).await.unwrap_err();
    assert!(matches!(late, TransportError::Closed), "{late:?}");
    pass(1.0).await;
    link.reply(&link.taken()[0].correlation_id, "soon");
    assert_eq!(body(soon).await, "soon");
    closing.await.unwrap();
    assert_eq!(began.elapsed(), Duration::from_secs(3));
    let cut_off = error(never).await;
    assert!(
        matches!(
            cut_off,
            TransportError::Disconnected {
                delivery: Delivery::Unknown,
                ..
            }
        ),
        "{cut_off:?}"
    );
    assert_eq!(link.closes.load(Ordering::SeqCst), 1, "closed in good order");
    assert_eq!(state(&transport), ConnectionState::Closed);
    assert_eq!(Handle::current().metrics().num_alive_tasks(), 0);

    let began = Instant::now();
    transport.close(Duration::from_secs(3)).await;
    assert_eq!(
        began.elapsed(),
        Duration::ZERO,
        "a second close has nothing to wait for"
    );
}

#[tokio::test(start_paused = true)]
async fn close_does_not_wait_for_nobody() {
    let broker = Broker::new([]);
    let transport = broker.connect().await;
    let began = Instant::now();
    transport.close(Duration::from_secs(60)).await;
    assert_eq!(began.elapsed(), Duration::ZERO);
}

/// Proves: T8, T15.
#[tokio::test(start_paused = true)]
async fn close_ends_within_a_second_whatever_the_link_does() {
    let broker = Broker::new([]);
    let transport = broker.connect().await;
    broker.link().close_hangs.store(true, Ordering::SeqCst);
    let waiting = start(&transport, "x").await;
    let began = Instant::now();
    transport.close(Duration::from_secs(2)).await;
    assert!(began.elapsed() < Duration::from_secs(3), "{:?}", began.elapsed());
    assert!(broker.link().is_aborted());
    assert_eq!(error(waiting).await.delivery(), Delivery::Unknown);

    let broker = Broker::new([Attempt::Hangs]);
    let transport = broker.builder().connect_lazy().unwrap();
    settle().await;
    let began = Instant::now();
    transport.close(Duration::from_secs(2)).await;
    assert_eq!(began.elapsed(), Duration::ZERO, "also while connecting");
    assert_eq!(Handle::current().metrics().num_alive_tasks(), 0);
}

#[tokio::test(start_paused = true)]
async fn the_last_clone_takes_everything_with_it() {
    let broker = Broker::new([]);
    let transport = broker.connect().await;
    let (clone, mut watching) = (transport.clone(), transport.state());
    drop(transport);
    settle().await;
    assert!(watching.borrow().is_ready());
    drop(clone);
    settle().await;
    assert_eq!(*watching.borrow_and_update(), ConnectionState::Closed);
    assert_eq!(broker.link().closes.load(Ordering::SeqCst), 1);
    assert_eq!(Handle::current().metrics().num_alive_tasks(), 0);
}

/// A transport that outlives its runtime says so instead of waiting for ever.
#[test]
fn a_transport_without_its_runtime_is_closed() {
    let runtime = || {
        tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .start_paused(true)
            .build()
            .unwrap()
    };
    let (first, second) = (runtime(), runtime());
    let broker = Broker::new([]);
    let transport = first.block_on(broker.connect());
    drop(first);
    let error = second.block_on(transport.request(request("x"))).unwrap_err();
    assert!(matches!(error, TransportError::Closed), "{error:?}");
    assert_eq!(state(&transport), ConnectionState::Closed);
    second.block_on(transport.close(Duration::from_secs(1)));
}
