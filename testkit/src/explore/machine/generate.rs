//! Schedules out of seeds. Times lie where the limits are: exactly there, one millisecond before, one after.

use super::{
    super::sim::Chance,
    schedule::{
        Asking, BreakerSetup, Calling, FOREVER, Leaves, Mode, Ms, PolicySetup, Preset, ProxySetup, Reach,
        Reaction, Reacts, Says, Schedule, Step, StoreSetup, Trouble, Weather, What,
    },
};

impl Schedule {
    /// The schedule of `seed`.
    pub fn generate(seed: u64) -> Self {
        let mut chance = Chance::new(seed);
        let store = store(&mut chance);
        let proxies: Vec<_> = (0..chance.pick(&[1, 1, 1, 2]))
            .map(|_| proxy(&mut chance))
            .collect();
        let mut times = Times::new(&store, &proxies);
        let mut steps: Vec<Step> = (0..4 + chance.below(9))
            .map(|_| Step {
                at: times.moment(&mut chance),
                what: What::Call(calling(&mut chance, &times, &proxies)),
            })
            .collect();
        let trouble = chance.pick(&[0, 1, 2, 3]);
        steps.extend((0..trouble).map(|_| Step {
            at: times.moment(&mut chance),
            what: world(&mut chance, &times, &proxies),
        }));
        steps.sort_by_key(|step| step.at);
        let reactions = (0..chance.below(12))
            .map(|_| reaction(&mut chance, &times))
            .collect();
        Self {
            seed,
            store,
            proxies,
            reactions,
            steps,
        }
    }
}

fn store(chance: &mut Chance) -> StoreSetup {
    let timeout = chance.pick(&[20, 250]);
    StoreSetup {
        time_to_live: chance.pick(&[None, None, Some(100), Some(1500)]),
        latency: chance.pick(&[
            None,
            None,
            None,
            Some(0),
            Some(3),
            Some(timeout - 1),
            Some(timeout),
            Some(timeout + 1),
        ]),
        timeout,
    }
}

fn proxy(chance: &mut Chance) -> ProxySetup {
    ProxySetup {
        service: chance.pick(&["alpha", "alpha", "beta"]),
        policy: policy(chance),
        list: chance.percent(20).then(|| policy(chance)),
        setter: chance.percent(50),
    }
}

fn policy(chance: &mut Chance) -> PolicySetup {
    PolicySetup {
        preset: chance.pick(&[
            Preset::FailoverOriginal,
            Preset::FailoverAfter,
            Preset::CacheFirst,
        ]),
        fresh_for: chance.pick(&[0, 0, 50, 100, 1000, FOREVER]),
        stale_while_revalidate: chance.pick(&[0, 0, 40, 500, 2000]),
        stale_if_error: chance.pick(&[0, 200, 3000, FOREVER]),
        failover_timeout: chance.pick(&[None, Some(0), Some(30), Some(200)]),
        call_timeout: chance.pick(&[None, Some(0), Some(100), Some(1000), Some(15_000)]),
        single_flight: chance.percent(60),
        definitive: chance.percent(50),
        negative_for: chance.pick(&[None, None, Some(100), Some(1000)]),
        listens: chance.percent(40),
        breaker: chance.percent(40).then(|| BreakerSetup {
            after_failures: chance.pick(&[1, 2, 3]),
            probes: chance.percent(50),
            fails_fast: chance.percent(25),
        }),
    }
}

fn calling(chance: &mut Chance, times: &Times, proxies: &[ProxySetup]) -> Calling {
    let proxy = chance.below(proxies.len() as u64) as usize;
    Calling {
        proxy,
        method: chance.pick(&["get", "get", "get", "get", "get", "list", "set"]),
        key: chance.pick(&[0, 0, 0, 1]),
        options: chance.percent(50).then(|| asking(chance, times, &proxies[proxy])),
        leaves: match chance.below(10) {
            0 => Leaves::AfterPolls(chance.below(5) as u32),
            1 => Leaves::After(times.lasting(chance)),
            _ => Leaves::Never,
        },
    }
}

fn asking(chance: &mut Chance, times: &Times, proxy: &ProxySetup) -> Asking {
    // A reload that is slow is counted by the breaker in a moment that shows in no log.
    let counts = |policy: &PolicySetup| policy.breaker.is_some() && policy.failover_timeout.is_some();
    let reload = if [Some(&proxy.policy), proxy.list.as_ref()]
        .into_iter()
        .flatten()
        .any(counts)
    {
        Mode::Policy
    } else {
        Mode::Reload
    };
    Asking {
        mode: chance.pick(&[
            Mode::Policy,
            Mode::Policy,
            Mode::Policy,
            reload,
            Mode::Bypass,
            Mode::OnlyIfCached,
        ]),
        user: chance.percent(25).then(|| chance.below(2)),
        timeout: chance
            .percent(25)
            .then(|| (!chance.percent(20)).then(|| times.lasting(chance))),
        max_age: chance.percent(20).then(|| times.lasting(chance)),
        tagged: chance.percent(25),
        untyped: chance.percent(15),
    }
}

fn world(chance: &mut Chance, times: &Times, proxies: &[ProxySetup]) -> What {
    let lasts = times.lasting(chance);
    match chance.below(15) {
        0 | 1 => What::Outage(Weather::Down, lasts),
        2 => What::Outage(Weather::Blocked, lasts),
        3 => What::Outage(Weather::Silent("alpha"), lasts),
        4 => What::Outage(Weather::Unknown("alpha"), lasts),
        5 => What::StoreTrouble(Trouble::Error, lasts),
        6 => What::StoreTrouble(Trouble::Stall, lasts),
        7 => What::StoreTrouble(Trouble::Panic, lasts),
        8 => What::Clear,
        14 => What::Jump(lasts),
        _ => What::Invalidate {
            reach: reach(chance, proxies),
            softly: chance.percent(40),
        },
    }
}

fn reach(chance: &mut Chance, proxies: &[ProxySetup]) -> Reach {
    let (service, method) = (
        chance.pick(&["alpha", "alpha", "beta"]),
        chance.pick(&["get", "get", "list"]),
    );
    match chance.below(8) {
        0 => Reach::Everything,
        1 => Reach::Service(service),
        2 => Reach::Method(service, method),
        3 => Reach::Tag,
        _ => Reach::Call {
            proxy: chance.below(proxies.len() as u64) as usize,
            method,
            key: chance.pick(&[0, 0, 0, 1]),
            user: chance.percent(10).then(|| chance.below(2)),
        },
    }
}

fn reaction(chance: &mut Chance, times: &Times) -> Reaction {
    const FAULTS: [Reacts; 12] = [
        Reacts::Oddly,
        Reacts::Boom,
        Reacts::Boom,
        Reacts::NotFound,
        Reacts::MethodNotFound,
        Reacts::MethodNotFound,
        Reacts::Garbage,
        Reacts::Never,
        Reacts::UnknownService,
        Reacts::Nack,
        Reacts::CutAfter,
        Reacts::Panic,
    ];
    Reaction {
        after: if chance.percent(40) {
            chance.below(3)
        } else {
            times.lasting(chance)
        },
        what: match chance.below(20) {
            0..=9 => Reacts::Well,
            10 => Reacts::CutBefore,
            11 => Reacts::Never,
            _ => chance.pick(&FAULTS),
        },
        says: if chance.percent(30) {
            Says {
                fresh_for: chance.percent(60).then(|| times.lasting(chance)),
                tagged: chance.percent(40),
                no_store: chance.percent(15),
            }
        } else {
            Says::default()
        },
    }
}

/// Where boundaries lie: the limits of this schedule, and what happened so far that they may count from.
struct Times {
    limits: Vec<Ms>,
    anchors: Vec<Ms>,
}

impl Times {
    fn new(store: &StoreSetup, proxies: &[ProxySetup]) -> Self {
        // Joining ends after 10 s, harvesting after 60 s, a refresh without a limit after 30 s.
        let mut limits = vec![0, 1, 10_000, store.timeout];
        limits.extend(store.time_to_live);
        let policies = proxies
            .iter()
            .flat_map(|proxy| [Some(&proxy.policy), proxy.list.as_ref()]);
        for policy in policies.flatten() {
            let (fresh, swr, sie) = (
                policy.fresh_for,
                policy.stale_while_revalidate,
                policy.stale_if_error,
            );
            let ages = [fresh, fresh.saturating_add(swr), fresh.saturating_add(sie)];
            limits.extend(ages.into_iter().filter(|age| *age != FOREVER));
            limits.extend(policy.failover_timeout);
            limits.extend(policy.call_timeout);
            limits.extend(policy.negative_for);
        }
        let anchors = vec![0];
        Self { limits, anchors }
    }

    /// A time span at a boundary, or seldom a long one.
    fn lasting(&self, chance: &mut Chance) -> Ms {
        if chance.percent(2) {
            return chance.pick(&[29_999, 30_000, 59_999, 60_000, 60_001, 100_000]);
        }
        (chance.pick(&self.limits) + chance.below(3)).saturating_sub(1)
    }

    /// A moment at a boundary, counted from an earlier moment; or that moment itself.
    fn moment(&mut self, chance: &mut Chance) -> Ms {
        let anchor = chance.pick(&self.anchors);
        let moment = if chance.percent(30) {
            anchor
        } else {
            anchor + self.lasting(chance)
        };
        self.anchors.push(moment);
        moment
    }
}
