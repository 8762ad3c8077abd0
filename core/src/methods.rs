//! How each method of a service is treated: cached by which policy, plain, or as one that changes something.

use std::{sync::Arc, time::Duration};

use crate::{
    clock::saturated,
    invalidate::Scope,
    key::{Key, Prefix, Unkeyable},
    policy::{Plan, Policy},
};

/// How methods are treated.
#[derive(Debug, Clone)]
pub(crate) struct Methods {
    /// What holds for cached methods that have no rule of their own.
    pub(crate) rule: Rule,
    /// Whether it holds for all there are.
    for_all: bool,
    pub(crate) cached: Cached,
    own: Vec<(String, Rule)>,
    /// Methods that change something, and what their change invalidates.
    setters: Vec<(String, Arc<[Scope]>)>,
}

/// Which methods are cached without being named one by one.
#[derive(Debug, Clone)]
pub(crate) enum Cached {
    All,
    Only(Arc<[String]>),
    Except(Arc<[String]>),
}

impl Cached {
    /// None but these, and of these none that was excepted before.
    pub(crate) fn only(self, mut names: Vec<String>) -> Self {
        if let Self::Except(others) = self {
            names.retain(|name| !others.contains(name));
        }
        Self::Only(names.into())
    }

    /// None of these either.
    pub(crate) fn except(self, mut names: Vec<String>) -> Self {
        match self {
            Self::All => Self::Except(names.into()),
            Self::Only(others) => {
                let stays = |name: &&String| !names.contains(name);
                Self::Only(others.iter().filter(stays).cloned().collect())
            }
            Self::Except(others) => {
                names.extend_from_slice(&others);
                Self::Except(names.into())
            }
        }
    }
}

/// A policy, with those of its answers that hits ask for.
#[derive(Debug, Clone)]
pub(crate) struct Rule {
    pub(crate) policy: Arc<dyn Policy>,
    pub(crate) reads_first: bool,
    /// How long entries are fresh, by the policy.
    fresh_for: Duration,
    /// How long the store keeps them, fresh or not.
    life: Duration,
    /// The first of these in nanoseconds.
    fresh_nanos: u64,
    /// The lesser of the two.
    least_nanos: u64,
    /// By how much less than by the policy an entry may be fresh, at most, in nanoseconds.
    jitter: u64,
    /// What is younger, in nanoseconds, is served without asking the policy, whatever its key.
    served_below: u64,
    /// The same, if its freshness doesn't depend on the key at all.
    all_alike_below: u64,
    /// What keys begin with.
    pub(crate) prefix: Result<Prefix, Unkeyable>,
}

impl Rule {
    pub(crate) fn new(
        policy: impl Policy,
        time_to_live: Option<Duration>,
        prefix: Result<Prefix, Unkeyable>,
    ) -> Self {
        let (fresh_for, life) = (policy.fresh_for(), time_to_live.unwrap_or(Duration::MAX));
        let jitter = policy.jitter();
        let served_below = policy.serves_below().min(fresh_for);
        let served_below = saturated(served_below.saturating_sub(jitter));
        Self {
            jitter: saturated(jitter),
            served_below,
            all_alike_below: if jitter.is_zero() { served_below } else { 0 },
            reads_first: policy.reads_first(),
            fresh_for,
            life,
            fresh_nanos: saturated(fresh_for),
            least_nanos: saturated(fresh_for.min(life)),
            policy: Arc::new(policy),
            prefix,
        }
    }

    /// Until which age an entry of this key and age is fresh, in nanoseconds; `None`: it is not to be served as it is.
    #[inline]
    pub(crate) fn fresh_until(&self, age: u64, key: &Key) -> Option<u64> {
        if age < self.all_alike_below {
            Some(self.least_nanos)
        } else {
            self.fresh_until_of(age, key)
        }
    }

    #[inline(never)]
    fn fresh_until_of(&self, age: u64, key: &Key) -> Option<u64> {
        let early = self.early_nanos(key);
        let is_served = age < self.served_below || {
            let (age, early) = (Duration::from_nanos(age), Duration::from_nanos(early));
            self.plan_early(age, early) == Plan::Serve
        };
        is_served.then(|| self.fresh_nanos.saturating_sub(early).min(self.least_nanos))
    }

    /// How long an entry of this key is fresh, as long as the store keeps it.
    pub(crate) fn fresh_for(&self, key: &Key) -> Duration {
        self.fresh_for.saturating_sub(self.early(key)).min(self.life)
    }

    /// What to do about an entry of this key and age. Only freshness ends early; what follows ends when it would have.
    pub(crate) fn plan(&self, age: Duration, key: &Key) -> Plan {
        self.plan_early(age, self.early(key))
    }

    fn plan_early(&self, age: Duration, early: Duration) -> Plan {
        let plan = self.policy.plan(age);
        if plan != Plan::Serve || self.jitter == 0 {
            return plan;
        }
        let end = self.policy.fresh_for();
        if age.saturating_add(early) < end {
            plan
        } else {
            self.policy.plan(end)
        }
    }

    /// What to do about an entry of this age that is fresh for `own`, by its service's own word; what follows then is as
    /// long as for others.
    pub(crate) fn plan_said(&self, age: Duration, own: Duration) -> Plan {
        match self.policy.fresh_for() {
            _ if age < own => Plan::Serve,
            Duration::MAX => Plan::FetchOrServe {
                patience: self.policy.failover_timeout(),
            },
            _ => self.policy.plan(self.lived(age, Some(own))),
        }
    }

    /// The age at which any entry is where one of this age is whose service said `own` about its freshness.
    pub(crate) fn lived(&self, age: Duration, own: Option<Duration>) -> Duration {
        match own.map(|own| age.checked_sub(own)) {
            None => age,
            Some(None) => Duration::ZERO,
            Some(Some(stale)) => self.policy.fresh_for().saturating_add(stale),
        }
    }

    /// By how much less than `fresh_for` an entry of this key is fresh.
    pub(crate) fn early(&self, key: &Key) -> Duration {
        Duration::from_nanos(self.early_nanos(key))
    }

    fn early_nanos(&self, key: &Key) -> u64 {
        if self.jitter == 0 {
            0
        } else {
            (self.jitter as f64 * key.spread()) as u64
        }
    }
}

impl Methods {
    pub(crate) fn new(
        rule: Rule,
        cached: Cached,
        mut own: Vec<(String, Rule)>,
        setters: Vec<(String, Arc<[Scope]>)>,
    ) -> Self {
        // A cached answer would report a change that was not made.
        own.retain(|(name, _)| setters.iter().all(|(setter, _)| setter != name));
        Self {
            for_all: matches!(cached, Cached::All) && own.is_empty() && setters.is_empty(),
            rule,
            cached,
            own,
            setters,
        }
    }

    /// Lets the keys of a method begin otherwise. Whether it is cached stays as it is.
    pub(crate) fn set_prefix(&mut self, method: String, prefix: Result<Prefix, Unkeyable>) {
        if let Some((_, rule)) = self.own.iter_mut().find(|(name, _)| *name == method) {
            rule.prefix = prefix;
        } else if let Some(rule) = self.rule(&method) {
            let rule = Rule {
                prefix,
                ..rule.clone()
            };
            self.own.push((method, rule));
            self.for_all = false;
        }
    }

    /// The rule for a method, if it is cached.
    #[inline]
    pub(crate) fn rule(&self, method: &str) -> Option<&Rule> {
        match self.for_all {
            true => Some(&self.rule),
            false => self.find_rule(method),
        }
    }

    fn find_rule(&self, method: &str) -> Option<&Rule> {
        let is = |name: &String| name == method;
        if let Some((_, rule)) = self.own.iter().find(|(name, _)| is(name)) {
            return Some(rule);
        }
        let cached = match &self.cached {
            Cached::All => true,
            Cached::Only(names) => names.iter().any(is),
            Cached::Except(names) => !names.iter().any(is),
        };
        (cached && self.setter(method).is_none()).then_some(&self.rule)
    }

    /// What a call of this method invalidates, if it changes something.
    pub(crate) fn setter(&self, method: &str) -> Option<&Arc<[Scope]>> {
        self.setters
            .iter()
            .find(|(name, _)| name == method)
            .map(|(_, scopes)| scopes)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{CacheFirst, Context, key::Vary};

    /// It was answered from the cache: its change was not made, and invalidated nothing.
    #[test]
    fn a_method_that_changes_something_is_not_cached_whatever_rules_it_has() {
        let prefix = Prefix::new("", "s", &Context::new(), Vary::default());
        let rule = Rule::new(CacheFirst::original(), None, prefix);
        let own = |name: &str| (name.to_owned(), rule.clone());
        let setters = vec![("set".to_owned(), Arc::from([Scope::Everything]))];
        let methods = Methods::new(rule.clone(), Cached::All, vec![own("set"), own("get")], setters);
        assert!(methods.rule("set").is_none() && methods.rule("get").is_some());
        assert!(methods.setter("set").is_some());
    }

    proptest! {
        /// What hits take a short way for is what the policy plans.
        #[test]
        fn an_entry_is_a_hit_where_the_plan_is_to_serve(
            fresh in 0..1000u64, jitter in 0.0..=1.0f64, life in proptest::option::of(0..1000u64), age in 0..1000u64, n: u64,
        ) {
            let nanos = Duration::from_nanos;
            let prefix = Prefix::new("", "s", &Context::new(), Vary::default());
            for jitter in [0.0, jitter] {
                let policy = CacheFirst::fresh_for(nanos(fresh)).jitter(jitter);
                let rule = Rule::new(policy, life.map(nanos), prefix.clone());
                let key = Key::from_bytes(n.to_be_bytes());
                let planned = rule.plan(nanos(age), &key) == Plan::Serve;
                let end = fresh.saturating_sub(rule.early_nanos(&key)).min(life.unwrap_or(fresh));
                prop_assert_eq!(rule.fresh_until(age, &key), planned.then_some(end));
                prop_assert_eq!(rule.fresh_for(&key), nanos(end));
                prop_assert!(!planned || age < end || life.is_some_and(|life| age >= life), "served, and not fresh");
            }
        }
    }
}
