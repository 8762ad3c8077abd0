//! Who takes part in a run: services that do as the schedule says, and proxies made as it says.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use nameko_cachetools::{Breaker, CacheFirst, CachedRpcProxy, Client, Failover, Policy, Scope};
use serde_json::{Value, json};

use super::{
    schedule::{BreakerSetup, PolicySetup, Preset, ProxySetup, Reaction, Reacts, Says, Schedule, duration},
    store::Recorded,
    transport::{FRESH_FOR, NO_STORE, NUMBER, PANIC, TAGS},
    world::TAG,
};
use crate::{Answer, Call, FakeBroker, When};

/// What the services do: the next reaction of the schedule for each request, then good answers.
pub(super) fn services(broker: &FakeBroker, schedule: &Arc<Schedule>) {
    let next = Arc::new(AtomicUsize::new(0));
    for service in ["alpha", "beta"] {
        for method in ["get", "list", "set"] {
            let (schedule, next) = (Arc::clone(schedule), Arc::clone(&next));
            broker.on(&format!("{service}.{method}")).reply_with(move |call| {
                let index = next.fetch_add(1, Ordering::Relaxed);
                reaction(call, schedule.reactions.get(index).copied().unwrap_or(GOOD))
            });
        }
    }
}

const GOOD: Reaction = Reaction {
    after: 1,
    what: Reacts::Well,
    says: Says {
        fresh_for: None,
        tagged: false,
        no_store: false,
    },
};

fn reaction(call: &Call, Reaction { after, what, says }: Reaction) -> Answer {
    let number = &call.context[NUMBER];
    let answer = match what {
        Reacts::Well => said(
            says,
            json!({"number": number, "method": call.route.method(), "key": call.args[0]}),
        ),
        Reacts::Oddly => said(
            says,
            json!({"odd": number, "method": call.route.method(), "key": call.args[0]}),
        ),
        Reacts::Boom => Answer::error("Boom", "as planned"),
        Reacts::NotFound => Answer::error("NotFound", "as planned"),
        Reacts::MethodNotFound => Answer::method_not_found(call.route.method()),
        Reacts::Garbage => Answer::raw("garbage", "text/plain"),
        Reacts::Never => Answer::never(),
        Reacts::UnknownService => Answer::unknown_service(),
        Reacts::Nack => Answer::nack(),
        Reacts::CutBefore => Answer::disconnect(When::BeforeSend),
        Reacts::CutAfter => Answer::disconnect(When::AfterSend),
        Reacts::Panic => Answer::raw("", PANIC),
    };
    answer.after(Duration::from_millis(after))
}

/// A good answer that says this of itself.
fn said(says: Says, result: Value) -> Answer {
    let mut answer = Answer::ok(result);
    if let Some(life) = says.fresh_for {
        answer = answer.header(FRESH_FOR, life as f64 / 1000.0);
    }
    if says.tagged {
        answer = answer.header(TAGS, json!([TAG]));
    }
    if says.no_store {
        answer = answer.header(NO_STORE, true);
    }
    answer
}

/// A proxy of `setup`, over `store`.
pub(super) fn proxy(
    setup: &ProxySetup,
    schedule: &Schedule,
    store: &Recorded,
    client: &Client,
) -> CachedRpcProxy {
    let builder = CachedRpcProxy::builder(setup.service)
        .cache(store.clone())
        .store_timeout(duration(schedule.store.timeout))
        .except(["set"]);
    let builder = match &setup.list {
        None => builder,
        Some(list) => builder.method("list", made(list)),
    };
    let builder = if setup.setter {
        builder.invalidates("set", [Scope::method(setup.service, "get")])
    } else {
        builder
    };
    builder.policy(made(&setup.policy)).build(client)
}

fn made(setup: &PolicySetup) -> Arc<dyn Policy> {
    macro_rules! set {
        ($policy:expr) => {{
            let policy = $policy
                .stale_while_revalidate(duration(setup.stale_while_revalidate))
                .stale_if_error(duration(setup.stale_if_error))
                .failover_timeout(setup.failover_timeout.map(duration))
                .call_timeout(setup.call_timeout.map(duration))
                .single_flight(setup.single_flight)
                .breaker(setup.breaker.map(breaker));
            let policy = policy
                .negative_for(setup.negative_for.map(duration))
                .reply_directives(setup.listens);
            Arc::new(if setup.definitive {
                policy.definitive(["NotFound"])
            } else {
                policy
            })
        }};
    }
    let fresh_for = duration(setup.fresh_for);
    match setup.preset {
        Preset::FailoverOriginal => set!(Failover::original().fresh_for(fresh_for)),
        Preset::FailoverAfter => set!(Failover::after(Duration::ZERO).fresh_for(fresh_for)),
        Preset::CacheFirst => set!(CacheFirst::fresh_for(fresh_for)),
    }
}

fn breaker(setup: BreakerSetup) -> Breaker {
    let pause = if setup.probes {
        Duration::ZERO
    } else {
        Duration::from_secs(1_000_000)
    };
    Breaker::default()
        .after_failures(setup.after_failures)
        .at_ratio(1.0, u32::MAX, Duration::from_secs(1))
        .pauses(pause, pause)
        .fail_fast(setup.fails_fast)
}
