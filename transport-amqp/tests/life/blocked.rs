//! A broker that doesn't read.

use std::{
    sync::{Arc, atomic::Ordering},
    task::{Context, Waker},
};

use nameko_cachetools::{ConnectionState, Transport, TransportError};
use nameko_cachetools_amqp::AmqpTransport;

use crate::{
    fake::{Broker, Mood, body, pass, request, settle, start},
    state,
};

/// Proves: T9.
#[tokio::test(start_paused = true)]
async fn a_blocked_broker_gets_no_requests_and_loses_none() {
    let broker = Broker::new([]);
    let transport = broker.connect().await;
    let link = broker.link();
    let waiting = start(&transport, "1").await;
    link.events.blocked("low on memory");
    settle().await;
    assert_eq!(
        state(&transport),
        ConnectionState::Blocked {
            reason: "low on memory".to_owned()
        }
    );
    let refused = transport.request(request("2")).await.unwrap_err();
    assert!(matches!(refused, TransportError::Blocked { .. }), "{refused:?}");
    *link.consumers.lock().unwrap() = None;
    pass(3600.0).await;
    assert_eq!(
        broker.attempts(),
        1,
        "a broker that doesn't read can't answer a probe"
    );
    link.events.unblocked();
    settle().await;
    assert!(state(&transport).is_ready());
    let sent = link.taken();
    assert_eq!(sent.len(), 1);
    link.reply(&sent[0].correlation_id, "1");
    assert_eq!(body(waiting).await, "1");
}

/// A request in the buffers of a blocked broker would be executed when nobody wants it any more.
///
/// Proves: T9.
#[tokio::test(start_paused = true)]
async fn a_request_given_up_unread_is_taken_back_by_cutting_the_link() {
    for (read, cut) in [(false, true), (true, false)] {
        let broker = Broker::new([]);
        let transport = broker.connect().await;
        let link = broker.link();
        let call = start(&transport, "x").await;
        if read {
            link.taken().remove(0).ticket.confirmed();
        }
        link.events.blocked("low on memory");
        settle().await;
        call.abort();
        settle().await;
        assert_eq!(link.is_aborted(), cut, "confirmed: {read}");
    }
}

/// A transport whose link was cut for a call that was given up while the broker was blocked; the trial of the next link
/// is held.
async fn cut_while_blocked(broker: &Arc<Broker>) -> AmqpTransport {
    let transport = broker.connect().await;
    let call = start(&transport, "given up").await;
    broker.link().events.blocked("low on memory");
    settle().await;
    broker.holds_trials.store(true, Ordering::SeqCst);
    call.abort();
    pass(0.05).await;
    transport
}

/// A blocked broker tells a new link so only when something is published: no caller has to find it out by waiting.
#[tokio::test(start_paused = true)]
async fn after_a_cut_while_blocked_the_link_is_tried_before_requests_are() {
    let broker = Broker::new([]);
    let transport = cut_while_blocked(&broker).await;
    let link = broker.link();
    assert_eq!(broker.attempts(), 2);
    let trial = std::mem::take(&mut *link.trials.lock().unwrap());
    assert_eq!(trial.len(), 1);
    for _ in 0..2 {
        let refused = transport.request(request("x")).await.unwrap_err();
        assert!(matches!(refused, TransportError::Blocked { .. }), "{refused:?}");
        assert_eq!(
            state(&transport),
            ConnectionState::Blocked {
                reason: "low on memory".to_owned()
            }
        );
        pass(1.0).await;
    }
    link.events.returned(Some(&trial[0].correlation_id));
    settle().await;
    assert!(state(&transport).is_ready());
    assert_eq!(transport.counters().in_flight, 0);
    link.set(Mood::Echoes);
    assert_eq!(body(start(&transport, "x").await).await, "x");
}

/// Somebody may have bound a queue to everything: then the trial is not returned, and its confirm is the answer.
#[tokio::test(start_paused = true)]
async fn a_trial_that_somebody_takes_is_over_too() {
    let broker = Broker::new([]);
    let transport = cut_while_blocked(&broker).await;
    let trial = broker.link().trials.lock().unwrap().remove(0);
    assert!(!state(&transport).is_ready());
    trial.ticket.confirmed();
    settle().await;
    assert!(state(&transport).is_ready());
}

/// The first message on a blocked connection is read before the broker stops reading, and its return comes before the
/// broker says so, or after.
#[tokio::test(start_paused = true)]
async fn a_broker_that_says_it_is_blocked_outweighs_the_trial() {
    for returned_first in [true, false] {
        let broker = Broker::new([]);
        let transport = cut_while_blocked(&broker).await;
        let link = broker.link();
        let trial = link.trials.lock().unwrap().remove(0);
        let returned = || link.events.returned(Some(&trial.correlation_id));
        if returned_first {
            returned();
        }
        link.events.blocked("low on memory");
        settle().await;
        if !returned_first {
            returned();
        }
        pass(60.0).await;
        assert!(
            matches!(state(&transport), ConnectionState::Blocked { .. }),
            "returned first: {returned_first}"
        );
        link.events.unblocked();
        settle().await;
        assert!(state(&transport).is_ready());
    }
}

/// Whoever leaves in that moment must not cost the others their link.
#[tokio::test(start_paused = true)]
async fn a_request_given_up_when_the_broker_reads_again_ends_no_link() {
    let broker = Broker::new([]);
    let transport = broker.connect().await;
    let link = broker.link();
    let other = start(&transport, "other").await;
    let mut leaving = Box::pin(transport.request(request("leaving")));
    let mut nobody = Context::from_waker(Waker::noop());
    assert!(leaving.as_mut().poll(&mut nobody).is_pending());
    link.events.blocked("low on memory");
    settle().await;
    link.events.unblocked();
    drop(leaving); // before the supervisor has heard
    settle().await;
    assert!(!link.is_aborted() && state(&transport).is_ready());
    link.reply(&link.taken()[0].correlation_id, "other");
    assert_eq!(body(other).await, "other");
}
