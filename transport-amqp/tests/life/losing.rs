//! What ends a link, told or untold, and what becomes of the calls.

use std::{sync::atomic::Ordering, time::Duration};

use nameko_cachetools::{Delivery, Transport, TransportError};
use tokio::time::Instant;

use crate::{
    fake::{Broker, Mood, body, error, pass, request, settle, start},
    state,
};

/// The connection was lost, and the request may have been executed.
#[track_caller]
fn assert_lost(error: &TransportError) {
    assert!(matches!(error, TransportError::Disconnected { .. }), "{error:?}");
    assert_eq!(error.delivery(), Delivery::Unknown);
}

/// Proves: T1, T5.
#[tokio::test(start_paused = true)]
async fn a_lost_link_ends_all_calls_at_once_and_the_next_has_its_own_reply_queue() {
    let broker = Broker::new([]);
    let transport = broker.connect().await;
    let (calls, old) = (
        [start(&transport, "1").await, start(&transport, "2").await],
        broker.link(),
    );
    let lost = Instant::now();
    old.events.lost("cut");
    for call in calls {
        let error = error(call).await;
        assert_lost(&error);
        assert!(error.to_string().contains("cut"));
    }
    assert_eq!(lost.elapsed(), Duration::ZERO);
    let refused = transport.request(request("3")).await.unwrap_err();
    assert!(
        matches!(refused, TransportError::NotConnected { .. }),
        "{refused:?}"
    );
    assert!(old.is_aborted());

    pass(0.05).await;
    let new = broker.link();
    assert_eq!(broker.attempts(), 2);
    assert_ne!(new.plan.topology.reply_queue, old.plan.topology.reply_queue);
    assert_eq!(new.plan.superseded.as_ref(), Some(&old.plan.topology.reply_queue));
    assert!(state(&transport).is_ready());
    new.set(Mood::Echoes);
    assert_eq!(body(start(&transport, "4").await).await, "4");
    assert_eq!(old.taken().len(), 2, "nothing is sent a second time");
    assert!(new.taken().is_empty());

    old.events.lost("an old link's last words");
    old.events.blocked("an old link's last words");
    settle().await;
    assert!(state(&transport).is_ready());
}

/// Proves: T10.
#[tokio::test(start_paused = true)]
async fn silence_is_looked_into() {
    let broker = Broker::new([]);
    let transport = broker
        .builder()
        .heartbeat(Duration::from_secs(10))
        .connect()
        .await
        .unwrap();
    let link = broker.link();
    pass(60.0).await;
    let probes = link.probes.load(Ordering::SeqCst);
    assert!((8..=12).contains(&probes), "{probes} probes in a silent minute");
    for _ in 0..60 {
        pass(1.0).await;
        link.reply("any sign of life", "");
    }
    assert!(
        link.probes.load(Ordering::SeqCst) <= probes + 1,
        "no probe while the broker speaks"
    );

    let (waiting, since) = (start(&transport, "x").await, Instant::now());
    *link.consumers.lock().unwrap() = None;
    let error = waiting.await.unwrap().unwrap_err();
    assert_lost(&error);
    let noticed = since.elapsed();
    assert!(
        noticed <= Duration::from_millis(16_300),
        "one and a half heartbeats, and two ticks: {noticed:?}"
    );
    assert!(link.is_aborted());
}

#[tokio::test(start_paused = true)]
async fn a_consumer_lost_without_a_word_is_noticed() {
    let broker = Broker::new([]);
    let transport = broker.connect().await;
    *broker.link().consumers.lock().unwrap() = Some(0);
    let waiting = start(&transport, "x").await;
    pass(10.0).await;
    let error = error(waiting).await;
    assert!(error.to_string().contains("consumes"), "{error}");
}

/// Confirms, returns and events are no sign that replies would come.
#[tokio::test(start_paused = true)]
async fn a_consumer_lost_without_a_word_is_noticed_while_the_broker_confirms() {
    let broker = Broker::new([]);
    let transport = broker.connect().await;
    let link = broker.link();
    *link.consumers.lock().unwrap() = Some(0);
    let began = Instant::now();
    while transport.state().borrow().is_ready() {
        let call = start(&transport, "x").await;
        link.taken()
            .into_iter()
            .for_each(|message| message.ticket.confirmed());
        pass(0.1).await;
        drop(call);
        assert!(began.elapsed() < Duration::from_secs(20), "two heartbeats");
    }
}

/// A broker that is busy may take its time over a question.
#[tokio::test(start_paused = true)]
async fn a_broker_that_confirms_is_not_taken_for_dead() {
    let broker = Broker::new([]);
    let transport = broker.connect().await;
    let link = broker.link();
    *link.consumers.lock().unwrap() = None;
    let waiting = start(&transport, "slow").await;
    for _ in 0..100 {
        let call = start(&transport, "x").await;
        link.taken()
            .into_iter()
            .for_each(|message| message.ticket.confirmed());
        pass(1.0).await;
        drop(call);
    }
    assert!(!waiting.is_finished() && broker.attempts() == 1);
    assert!(
        link.probes.load(Ordering::SeqCst) > 5,
        "it was asked again and again"
    );
}

/// Whoever asks hears of the end at once, and what came before it is still being handed on.
///
/// Proves: T1.
#[tokio::test(start_paused = true)]
async fn a_question_that_fails_overtakes_no_reply() {
    let broker = Broker::new([]);
    let transport = broker.connect().await;
    let (waiting, link) = (start(&transport, "x").await, broker.link());
    link.probes_fail.store(true, Ordering::SeqCst);
    while link.probes.load(Ordering::SeqCst) == 0 {
        pass(0.1).await;
    }
    link.reply(&link.taken()[0].correlation_id, "the last");
    assert_eq!(body(waiting).await, "the last");
    pass(2.0).await;
    assert_eq!(
        broker.attempts(),
        2,
        "a link that says nothing is over all the same"
    );
}
