//! The shortest schedule that fails in the same way.

use super::{
    Finding,
    schedule::{Leaves, PolicySetup, Reacts, Schedule, What},
};

/// Leaves out of `found` whatever isn't needed for a violation of the same rule, until nothing more can be left out.
pub(super) fn shrink(found: Finding, check: impl Fn(&Schedule) -> Option<Finding>) -> Finding {
    let mut least = found;
    loop {
        let shorter = candidates(&least.schedule).find_map(|candidate| {
            check(&candidate).filter(|found| found.violation.rule == least.violation.rule)
        });
        match shorter {
            Some(shorter) => least = shorter,
            None => return least,
        }
    }
}

/// Schedules with one thing less.
fn candidates(schedule: &Schedule) -> impl Iterator<Item = Schedule> + use<'_> {
    let steps = 0..schedule.steps.len();
    let reactions = 0..schedule.reactions.len();
    let changed = |change: &dyn Fn(&mut Schedule)| {
        let mut changed = schedule.clone();
        change(&mut changed);
        changed
    };
    let halves = [schedule.steps.len() / 2].into_iter().filter(|half| *half > 1);
    let mut all: Vec<Schedule> = halves.map(|half| changed(&|s| s.steps.truncate(half))).collect();
    all.extend(
        steps
            .clone()
            .rev()
            .map(|index| changed(&|s| _ = s.steps.remove(index))),
    );
    all.push(changed(&|s| _ = s.reactions.pop()));
    all.extend(
        reactions
            .clone()
            .map(|index| changed(&|s| s.reactions[index].what = Reacts::Well)),
    );
    all.extend(reactions.map(|index| changed(&|s| s.reactions[index].after = 1)));
    all.extend(steps.map(|index| {
        changed(&|s| {
            if let What::Call(calling) = &mut s.steps[index].what {
                calling.leaves = Leaves::Never;
                calling.options = calling
                    .options
                    .take()
                    .filter(|asking| *asking != Default::default());
            }
        })
    }));
    all.push(changed(&|s| {
        (s.store.latency, s.store.time_to_live) = (None, None)
    }));
    all.push(changed(&|s| {
        s.proxies.iter_mut().for_each(|proxy| proxy.list = None)
    }));
    let simpler: [fn(&mut PolicySetup); 6] = [
        |policy| policy.failover_timeout = None,
        |policy| policy.call_timeout = None,
        |policy| policy.stale_while_revalidate = 0,
        |policy| policy.breaker = None,
        |policy| policy.definitive = false,
        |policy| policy.single_flight = false,
    ];
    all.extend(
        simpler
            .map(|simpler| changed(&|s| s.proxies.iter_mut().for_each(|proxy| simpler(&mut proxy.policy)))),
    );
    all.into_iter().filter(move |candidate| candidate != schedule)
}
