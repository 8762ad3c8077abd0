//! Random schedules and real threads: whatever happens, every call ends once and nothing is left.
#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used, reason = "tests")]

mod fake;

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use fake::{Broker, Mood, request, settle, start};
use nameko_cachetools::{Transport, TransportError};
use proptest::prelude::*;
use tokio::task::JoinSet;

/// What may happen between two looks at the calls.
#[derive(Debug, Clone, Copy)]
enum Step {
    Call,
    /// To the n-th message that was ever published, answered or not.
    Reply(usize),
    Return(usize),
    GiveUp(usize),
    Lose,
    Block,
    Unblock,
    Wait(u64),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => Just(Step::Call),
        4 => (0..40usize).prop_map(Step::Reply),
        1 => (0..40usize).prop_map(Step::Return),
        2 => (0..40usize).prop_map(Step::GiveUp),
        1 => Just(Step::Lose),
        1 => Just(Step::Block),
        1 => Just(Step::Unblock),
        1 => (0..2000u64).prop_map(Step::Wait),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn every_call_ends_with_its_own_reply_or_one_error(steps in prop::collection::vec(step(), 1..80)) {
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
        runtime.block_on(run(steps));
    }
}

async fn run(steps: Vec<Step>) {
    let broker = Broker::new([]);
    let transport = broker.connect().await;
    let (mut calls, mut ids) = (Vec::new(), Vec::new());
    let pick = |n: usize, ids: &Vec<(String, String)>| ids.get(n % ids.len().max(1)).cloned();
    for step in steps {
        match step {
            Step::Call => {
                let body = calls.len().to_string();
                calls.push((body.clone(), start(&transport, &body).await));
            }
            Step::Reply(n) => {
                if let Some((id, body)) = pick(n, &ids) {
                    broker.link().reply(&id, &body);
                }
            }
            Step::Return(n) => {
                if let Some((id, _)) = pick(n, &ids) {
                    broker.link().events.returned(Some(&id));
                }
            }
            Step::GiveUp(n) => {
                if let Some((_, call)) = calls.get(n) {
                    call.abort();
                }
            }
            Step::Lose => broker.link().events.lost("cut"),
            Step::Block => broker.link().events.blocked("memory"),
            Step::Unblock => broker.link().events.unblocked(),
            Step::Wait(ms) => tokio::time::sleep(Duration::from_millis(ms)).await,
        }
        settle().await;
        for link in broker.links() {
            for message in link.taken() {
                let body = String::from_utf8(message.body.to_vec()).unwrap();
                assert!(
                    ids.iter().all(|(_, known)| *known != body),
                    "published twice: {body}"
                );
                ids.push((message.correlation_id, body));
            }
        }
        let unfinished = calls.iter().filter(|(_, call)| !call.is_finished()).count();
        assert_eq!(
            transport.counters().in_flight,
            unfinished,
            "slots and callers agree at every step"
        );
    }
    transport.close(Duration::ZERO).await;
    settle().await;
    for (asked, call) in calls {
        assert!(call.is_finished());
        if let Ok(Ok(response)) = call.await {
            assert_eq!(response.body, asked);
        }
    }
    assert_eq!(transport.counters().in_flight, 0);
    assert!(broker.links().iter().all(|link| link.is_aborted()));
    assert_eq!(tokio::runtime::Handle::current().metrics().num_alive_tasks(), 0);
}

/// Threads that call, threads that cut: no request is registered with a link that is gone. Real threads need real
/// time: a few milliseconds per link.
///
/// Proves: T1, T2.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn no_call_hangs_when_links_die_under_it() {
    let broker = Broker::new([]);
    *broker.mood.lock().unwrap() = Mood::Echoes;
    let backoff = nameko_cachetools_amqp::Backoff {
        first: Duration::from_millis(1),
        cap: Duration::from_millis(1),
        ..Default::default()
    };
    let transport = broker.builder().backoff(backoff).connect().await.unwrap();
    let done = Arc::new(AtomicBool::new(false));
    let cutter = tokio::spawn({
        let (broker, done) = (broker.clone(), done.clone());
        async move {
            for cuts in 0..40 {
                let link = broker.link();
                link.set(if cuts % 2 == 0 { Mood::Keeps } else { Mood::Echoes });
                for _ in 0..cuts % 50 {
                    tokio::task::yield_now().await;
                }
                link.events.lost("cut");
                while broker.links().len() == cuts + 1 {
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
            }
            done.store(true, Ordering::Relaxed);
        }
    });
    let mut callers = JoinSet::new();
    for caller in 0..4 {
        let (transport, done) = (transport.clone(), done.clone());
        callers.spawn(async move {
            let mut n = 0;
            while !done.load(Ordering::Relaxed) {
                n += 1;
                let asked = format!("{caller} {n}");
                match transport.request(request(&asked)).await {
                    Ok(response) => {
                        assert_eq!(response.body, asked);
                        if n % 100 == 0 {
                            tokio::time::sleep(Duration::from_millis(1)).await; // lets the supervisor's timers run
                        }
                    }
                    Err(TransportError::Disconnected { .. }) => {}
                    Err(TransportError::NotConnected { .. }) => {
                        tokio::time::sleep(Duration::from_millis(1)).await
                    }
                    Err(other) => panic!("{other:?}"),
                }
            }
        });
    }
    let all = tokio::time::timeout(Duration::from_secs(20), callers.join_all());
    all.await.expect("no call hangs");
    cutter.await.unwrap();
    assert_eq!(transport.counters().in_flight, 0);
}
