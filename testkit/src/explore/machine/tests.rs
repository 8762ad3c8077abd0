//! Whether the machine reaches everything, and whether the model would notice.

use std::collections::BTreeSet;

use super::{
    log::{Answered, Brought, Event, Fault, Log, Told},
    model::judge,
    schedule::{Ms, Schedule},
    world,
};
use crate::explore::run::run;

type Events = Vec<(Ms, Event)>;

fn played(seed: u64) -> (Schedule, Events) {
    let schedule = Schedule::generate(seed);
    let shared = std::sync::Arc::new(schedule.clone());
    let log: Log = run(seed, |sim| world::run(sim, shared)).result.unwrap();
    (schedule, log.events())
}

/// What the runs of many seeds had to tell.
fn reached(what: impl Fn(&Event) -> Option<String>) -> BTreeSet<String> {
    (0..2500)
        .flat_map(|seed| played(seed).1)
        .filter_map(|(_, event)| what(&event))
        .collect()
}

#[test]
fn every_reason_and_every_error_is_reached() {
    let told = reached(|event| match event {
        Event::Ended(_, Told::Answer(answer)) => Some(format!("{:?}/{:?}", answer.source, answer.reason)),
        Event::Ended(_, Told::Error(fault)) => Some(format!("{fault:?}")),
        _ => None,
    });
    let expected = "Live/Miss Live/LiveFirst Live/Bypass Fresh/Hit Stale/Revalidating Stale/FailoverTimeout \
        Fresh/FailoverTimeout Stale/Unavailable Stale/ServerFault Stale/ClientFault Stale/OnlyIfCached \
        Stale/CircuitOpen Boom NotFound MethodNotFound ContentType UnknownService Rejected NotConnected Blocked \
        DisconnectedBefore Disconnected Aborted Timeout Decode NotCached CircuitOpen";
    let missing: Vec<_> = expected
        .split_whitespace()
        .filter(|one| !told.contains(*one))
        .collect();
    assert!(missing.is_empty(), "never: {missing:?}; but {told:?}");
}

#[test]
fn remembered_errors_and_what_replies_say_is_reached() {
    let told = reached(|event| match event {
        Event::Brought { says, .. } => Some(format!(
            "{:?} {} {}",
            says.fresh_for.is_some(),
            says.tagged,
            says.no_store
        )),
        Event::Quiet(quiet) if quiet.stats.iter().any(|stats| stats.negatives > 0) => {
            Some("remembered".into())
        }
        _ => None,
    });
    let expected = [
        "remembered",
        "true true true",
        "true false false",
        "false true false",
        "false false true",
    ];
    assert!(expected.iter().all(|one| told.contains(*one)), "{told:?}");
}

/// A log in which one event is not as it was.
fn with(events: &Events, index: usize, event: Event) -> Events {
    let mut changed = events.clone();
    changed[index].1 = event;
    changed
}

/// The model must find fault with each of these logs.
fn all_noticed(changes: impl Fn(&Events, usize) -> Vec<Events>) {
    let (mut noticed, mut unnoticed) = (0, Vec::new());
    for seed in 0..150 {
        let (schedule, events) = played(seed);
        assert_eq!(judge(&schedule, &events), Ok(()), "seed {seed}");
        for index in 0..events.len() {
            for changed in changes(&events, index) {
                match judge(&schedule, &changed) {
                    Err(_) => noticed += 1,
                    Ok(()) => unnoticed.push((seed, events[index].clone())),
                }
            }
        }
    }
    assert!(noticed > 100, "only {noticed} logs were changed");
    assert!(
        unnoticed.is_empty(),
        "{} of {noticed}: {:#?}",
        unnoticed.len(),
        &unnoticed[..1]
    );
}

#[test]
fn no_lie_about_an_answer_goes_unnoticed() {
    all_noticed(|events, index| {
        let Event::Ended(caller, Told::Answer(told)) = &events[index].1 else {
            return Vec::new();
        };
        let lies: [fn(&mut Answered); 7] = [
            |told| told.number += 1,
            |told| told.is_own = false,
            |told| told.age = told.age.map_or(Some(0), |age| Some(age + 1)),
            |told| told.stored = !told.stored,
            |told| {
                told.masked = if told.masked.is_none() {
                    Some(Fault::Boom)
                } else {
                    None
                }
            },
            |told| told.waited += 1,
            |told| told.reason = nameko_cachetools::Reason::Unkeyable,
        ];
        let lie = |lie: &fn(&mut Answered)| {
            let mut lied = told.clone();
            lie(&mut lied);
            with(events, index, Event::Ended(*caller, Told::Answer(lied)))
        };
        lies.iter().map(lie).collect()
    });
}

#[test]
fn no_error_in_place_of_an_answer_goes_unnoticed() {
    all_noticed(|events, index| match &events[index].1 {
        Event::Ended(caller, Told::Answer(_)) => {
            let error = |fault| with(events, index, Event::Ended(*caller, Told::Error(fault)));
            [Fault::Timeout, Fault::Boom, Fault::NotCached]
                .map(error)
                .to_vec()
        }
        _ => Vec::new(),
    });
}

#[test]
fn no_silence_goes_unnoticed() {
    all_noticed(|events, index| match &events[index].1 {
        Event::Ended(..) | Event::Sent { .. } | Event::Putting { .. } | Event::Quiet(_) => {
            let mut without = events.clone();
            without.remove(index);
            vec![without]
        }
        _ => Vec::new(),
    });
}

/// A caller that waits longer than it has to.
#[test]
fn no_delay_goes_unnoticed() {
    all_noticed(|events, index| match &events[index] {
        (at, Event::Ended(..)) if events.get(index + 1).is_some_and(|(next, _)| next > at) => {
            let mut late = events.clone();
            late[index].0 += 1;
            vec![late]
        }
        _ => Vec::new(),
    });
}

#[test]
fn no_stored_error_and_no_leak_goes_unnoticed() {
    all_noticed(|events, index| match &events[index].1 {
        Event::Brought {
            number,
            what: Brought::Good,
            says,
        } if matches!(events[index + 1].1, Event::Putting { .. }) => {
            let (number, what, says) = (*number, Brought::Error(Fault::Boom), *says);
            vec![with(events, index, Event::Brought { number, what, says })]
        }
        Event::Quiet(quiet) => {
            let (mut task, mut request) = (quiet.clone(), quiet.clone());
            task.tasks += 1;
            request.in_flight += 1;
            vec![
                with(events, index, Event::Quiet(task)),
                with(events, index, Event::Quiet(request)),
            ]
        }
        _ => Vec::new(),
    });
}
