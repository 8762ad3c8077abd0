//! What must be true when nothing happens any more.

use nameko_cachetools::{Reason, Source, Stats};

use super::{
    super::log::{Quiet, Told},
    Model, Verdict, ensure,
};

pub(super) fn check(model: &Model<'_>, quiet: &Quiet) -> Verdict {
    ensure(quiet.in_flight == 0, "E8", || {
        format!("{} requests are still awaited", quiet.in_flight)
    })?;
    ensure(quiet.tasks == 0, "E8", || {
        format!("{} tasks are left", quiet.tasks)
    })?;
    for (caller, call) in model.calls.iter().enumerate() {
        ensure(call.is_over(), "E7", || format!("call {caller} never ended"))?;
    }
    for (proxy, stats) in quiet.stats.iter().enumerate() {
        let counted = [stats.hits, stats.stale, stats.live, stats.bypass, stats.errors];
        let told = told(model, proxy);
        // A hit that nobody polled was a hit all the same.
        let unpolled = model.calls.iter().filter(|call| call.told.is_none()).count() as u64;
        let adds_up = counted[0] >= told[0] && counted[0] <= told[0] + unpolled && counted[1..] == told[1..];
        ensure(adds_up, "82", || {
            format!(
                "proxy {proxy} counted {counted:?} hits, stale, live, bypass, errors; its callers {told:?}"
            )
        })?;
        ensure(calls(stats) == counted.iter().sum::<u64>(), "82", || {
            "Stats::calls does not add up".to_owned()
        })?;
    }
    Ok(())
}

fn calls(stats: &Stats) -> u64 {
    stats.calls()
}

/// Hits, stale, live, bypass, errors, as the callers were told.
fn told(model: &Model<'_>, proxy: usize) -> [u64; 5] {
    let mut counts = [0; 5];
    for (caller, call) in model.calls.iter().enumerate() {
        let index = match &call.told {
            _ if model.calling(caller).proxy != proxy => continue,
            None => continue,
            Some(Told::Error(_)) => 4,
            Some(Told::Answer(answer)) => match (answer.source, answer.reason) {
                (Source::Fresh, _) => 0,
                (Source::Stale, _) => 1,
                (_, Reason::Bypass) => 3,
                _ => 2,
            },
        };
        counts[index] += 1;
    }
    counts
}
