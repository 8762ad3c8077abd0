//! What one run of the machine does: settings, answers of the services, and steps in virtual time.

use std::{fmt, time::Duration};

/// A whole run, written down before it is made. Displayed as a list that can be read aloud.
#[derive(Debug, Clone, PartialEq)]
pub struct Schedule {
    pub(super) seed: u64,
    pub(super) store: StoreSetup,
    pub(super) proxies: Vec<ProxySetup>,
    /// What the services do with the requests, in the order in which those arrive; afterwards they answer well.
    pub(super) reactions: Vec<Reaction>,
    /// In order of time.
    pub(super) steps: Vec<Step>,
}

/// Milliseconds of virtual time.
pub(super) type Ms = u64;

/// Stands for a duration without end.
pub(super) const FOREVER: Ms = Ms::MAX;

/// Milliseconds as a duration; [`FOREVER`] as the longest.
pub(super) fn duration(ms: Ms) -> Duration {
    if ms == FOREVER {
        Duration::MAX
    } else {
        Duration::from_millis(ms)
    }
}

/// Where entries are kept.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct StoreSetup {
    /// The store's own time to live.
    pub(super) time_to_live: Option<Ms>,
    /// How long each operation takes; `None`: the store answers at once, without an await.
    pub(super) latency: Option<Ms>,
    /// The longest wait of a call for one operation.
    pub(super) timeout: Ms,
}

/// One proxy.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct ProxySetup {
    pub(super) service: &'static str,
    pub(super) policy: PolicySetup,
    /// The policy of the method `list`, if it has one of its own.
    pub(super) list: Option<PolicySetup>,
    /// Whether `set` is declared to change what `get` answers.
    pub(super) setter: bool,
}

/// One policy.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct PolicySetup {
    pub(super) preset: Preset,
    pub(super) fresh_for: Ms,
    pub(super) stale_while_revalidate: Ms,
    pub(super) stale_if_error: Ms,
    pub(super) failover_timeout: Option<Ms>,
    pub(super) call_timeout: Option<Ms>,
    pub(super) single_flight: bool,
    /// Whether the exception `NotFound` is declared to be an answer.
    pub(super) definitive: bool,
    /// How long that is remembered.
    pub(super) negative_for: Option<Ms>,
    /// Whether replies may say what becomes of them.
    pub(super) listens: bool,
    pub(super) breaker: Option<BreakerSetup>,
}

/// When a service is taken for dead. Pauses are drawn by chance, so here they are none, or last to the end.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct BreakerSetup {
    pub(super) after_failures: u32,
    /// Whether every call that meets the open circuit looks again, or none.
    pub(super) probes: bool,
    /// Whether calls without an answer at hand fail while it is open.
    pub(super) fails_fast: bool,
}

/// Which constructor the policy starts from.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Preset {
    FailoverOriginal,
    FailoverAfter,
    CacheFirst,
}

/// Something that happens.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Step {
    pub(super) at: Ms,
    pub(super) what: What,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) enum What {
    Call(Calling),
    Outage(Weather, Ms),
    StoreTrouble(Trouble, Ms),
    /// The process stands still for so long, as that of a virtual machine that is moved: no timer fires meanwhile, and
    /// then all that were due do at once.
    Jump(Ms),
    /// Everything in the store is forgotten.
    Clear,
    /// Answers are invalidated: forgotten, or (softly) made stale.
    Invalidate {
        reach: Reach,
        softly: bool,
    },
}

/// What an invalidation is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reach {
    Everything,
    Service(&'static str),
    Method(&'static str, &'static str),
    /// What was asked for with the one tag that there is.
    Tag,
    /// One call, by the proxy.
    Call {
        proxy: usize,
        method: &'static str,
        key: u64,
        user: Option<u64>,
    },
}

/// One call: who asks what, how, and how long.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Calling {
    pub(super) proxy: usize,
    pub(super) method: &'static str,
    pub(super) key: u64,
    /// `None`: a call without any option, which takes the shortest way through the library.
    pub(super) options: Option<Asking>,
    pub(super) leaves: Leaves,
}

/// Options of one call.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct Asking {
    pub(super) mode: Mode,
    pub(super) user: Option<u64>,
    /// `Some(None)`: no limit.
    pub(super) timeout: Option<Option<Ms>>,
    pub(super) max_age: Option<Ms>,
    /// Gives the answer a tag.
    pub(super) tagged: bool,
    /// Decodes the answer to any JSON value, not to the type that the others ask for.
    pub(super) untyped: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Mode {
    #[default]
    Policy,
    Reload,
    Bypass,
    OnlyIfCached,
}

/// When a caller stops waiting by itself.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Leaves {
    Never,
    /// After its future was polled so often: at any await.
    AfterPolls(u32),
    /// After so long.
    After(Ms),
}

/// Outages of the broker or of a service.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Weather {
    Down,
    Blocked,
    Silent(&'static str),
    Unknown(&'static str),
}

/// What a store in trouble does with every operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Trouble {
    Error,
    Stall,
    Panic,
}

/// What becomes of one request.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Reaction {
    pub(super) after: Ms,
    pub(super) what: Reacts,
    /// What a good answer says of its life.
    pub(super) says: Says,
}

/// A reply's own word about what becomes of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Says {
    pub(super) fresh_for: Option<Ms>,
    /// Whether it has the one tag that there is.
    pub(super) tagged: bool,
    pub(super) no_store: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reacts {
    /// A good answer.
    Well,
    /// An answer of another type than most callers ask for.
    Oddly,
    /// An exception: a failure, an answer in itself, a mistake of the caller.
    Boom,
    NotFound,
    MethodNotFound,
    Garbage,
    Never,
    UnknownService,
    Nack,
    CutBefore,
    CutAfter,
    /// The transport panics.
    Panic,
}

impl Schedule {
    /// How many calls it makes.
    pub fn calls(&self) -> usize {
        self.callings().count()
    }

    pub(super) fn callings(&self) -> impl Iterator<Item = &Calling> {
        self.steps.iter().filter_map(|step| match &step.what {
            What::Call(calling) => Some(calling),
            _ => None,
        })
    }
}

impl fmt::Display for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "schedule of seed {}", self.seed)?;
        writeln!(f, "  store: {}", self.store)?;
        for (index, proxy) in self.proxies.iter().enumerate() {
            writeln!(f, "  proxy {index}: {proxy}")?;
        }
        for (index, reaction) in self.reactions.iter().enumerate() {
            writeln!(
                f,
                "  request #{}: {:?} after {} ms, {:?}",
                index + 1,
                reaction.what,
                reaction.after,
                reaction.says
            )?;
        }
        let mut call = 0;
        for Step { at, what } in &self.steps {
            write!(f, "{at:>8} ms  ")?;
            match what {
                What::Call(calling) => {
                    writeln!(f, "call {call}: {calling}")?;
                    call += 1;
                }
                What::Outage(weather, lasts) => writeln!(f, "{weather:?} for {lasts} ms")?,
                What::StoreTrouble(trouble, lasts) => writeln!(f, "store: {trouble:?} for {lasts} ms")?,
                What::Jump(by) => writeln!(f, "the clock jumps by {by} ms")?,
                What::Clear => writeln!(f, "store cleared")?,
                What::Invalidate { reach, softly: false } => writeln!(f, "invalidated: {reach:?}")?,
                What::Invalidate { reach, softly: true } => writeln!(f, "expired: {reach:?}")?,
            }
        }
        Ok(())
    }
}

impl fmt::Display for StoreSetup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.latency {
            None => f.write_str("at once")?,
            Some(latency) => write!(f, "takes {latency} ms, waited for up to {} ms", self.timeout)?,
        }
        self.time_to_live
            .map_or(Ok(()), |life| write!(f, ", keeps entries for {life} ms"))
    }
}

impl fmt::Display for ProxySetup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.service, self.policy)?;
        f.write_str(if self.setter { "; set invalidates get" } else { "" })?;
        self.list
            .as_ref()
            .map_or(Ok(()), |list| write!(f, "\n    list: {list}"))
    }
}

impl fmt::Display for PolicySetup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.preset)?;
        for (name, limit) in [
            ("fresh_for", Some(self.fresh_for)),
            ("stale_while_revalidate", Some(self.stale_while_revalidate)),
            ("stale_if_error", Some(self.stale_if_error)),
            ("failover_timeout", self.failover_timeout),
            ("call_timeout", self.call_timeout),
        ] {
            write!(f, ", {name} {}", Shown(limit))?;
        }
        f.write_str(if self.single_flight { ", single flight" } else { "" })?;
        f.write_str(if self.definitive {
            ", NotFound is definitive"
        } else {
            ""
        })?;
        self.negative_for
            .map_or(Ok(()), |life| write!(f, " and remembered for {life}"))?;
        f.write_str(if self.listens { ", listens to replies" } else { "" })?;
        self.breaker.map_or(Ok(()), |breaker| write!(f, ", {breaker:?}"))
    }
}

impl fmt::Display for Calling {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "proxy {} {}({})", self.proxy, self.method, self.key)?;
        if let Some(asking) = &self.options {
            write!(f, " {:?}", asking.mode)?;
            asking.user.map_or(Ok(()), |user| write!(f, ", user {user}"))?;
            asking
                .timeout
                .map_or(Ok(()), |limit| write!(f, ", timeout {}", Shown(limit)))?;
            asking
                .max_age
                .map_or(Ok(()), |age| write!(f, ", max_age {age}"))?;
            f.write_str(if asking.tagged { ", tagged" } else { "" })?;
            f.write_str(if asking.untyped { ", untyped" } else { "" })?;
        }
        match self.leaves {
            Leaves::Never => Ok(()),
            Leaves::AfterPolls(polls) => write!(f, ", leaves after {polls} polls"),
            Leaves::After(ms) => write!(f, ", leaves after {ms} ms"),
        }
    }
}

/// A limit, or that there is none.
struct Shown(Option<Ms>);

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            None => f.write_str("none"),
            Some(FOREVER) => f.write_str("for ever"),
            Some(ms) => write!(f, "{ms}"),
        }
    }
}
