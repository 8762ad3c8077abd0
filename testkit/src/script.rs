//! The rules of a fake broker, and which of them answers a call.

use std::{
    collections::BTreeMap,
    fmt,
    panic::Location,
    sync::{Arc, Mutex},
    time::Duration,
};

use nameko_cachetools::Route;
use serde_json::Map;

use crate::{
    Answer, Call, Latency, Times,
    call::Arguments,
    latency::Dice,
    matcher::{Comparison, Matcher},
};

/// All rules, in the order in which the test made them. Knows nothing of clocks, tasks or sockets.
#[derive(Debug)]
pub(crate) struct Script {
    pub(crate) seed: u64,
    pub(crate) rules: Vec<RuleState>,
    by_route: BTreeMap<Route, Vec<usize>>,
}

/// One rule.
#[derive(Debug)]
pub(crate) struct RuleState {
    pub(crate) at: &'static Location<'static>,
    pub(crate) route: Route,
    pub(crate) matcher: Matcher,
    pub(crate) expected: Times,
    pub(crate) latency: Option<Latency>,
    /// Used one after the other; the last one repeats.
    pub(crate) steps: Vec<Step>,
    pub(crate) seen: u64,
    next: usize,
    dice: Dice,
}

/// What a rule does with one call.
#[derive(Clone)]
pub(crate) enum Step {
    Answer(Answer),
    Handler(Handler),
}

/// A closure that answers calls. Behind its own lock, since it runs while the broker's isn't held.
pub(crate) type Handler = Arc<Mutex<dyn FnMut(&Call) -> Answer + Send>>;

/// Which rule answers a call, and how.
pub(crate) enum Choice {
    /// Rule number so-and-so does this.
    Rule(usize, Step),
    /// None: the answer nameko would give, its name, and the nearest rule.
    Unmatched {
        answer: Answer,
        answered: &'static str,
        nearest: Nearest,
    },
}

/// The rule that an unmatched call comes closest to.
#[derive(Debug)]
pub(crate) enum Nearest {
    /// The same route, other arguments or context.
    Differs { rule: String, lines: Vec<Comparison> },
    /// Another route.
    OtherRoute { rule: String },
    /// There is no rule at all.
    NoRules,
}

impl Script {
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            seed,
            rules: Vec::new(),
            by_route: BTreeMap::new(),
        }
    }

    /// Adds a rule for all calls of `route`, and returns its number.
    pub(crate) fn add(&mut self, route: Route, at: &'static Location<'static>) -> usize {
        let number = self.rules.len();
        self.by_route.entry(route.clone()).or_default().push(number);
        self.rules.push(RuleState {
            at,
            route,
            matcher: Matcher::default(),
            expected: Times::ANY,
            latency: None,
            steps: Vec::new(),
            seen: 0,
            next: 0,
            dice: Dice::new(self.seed, number as u64),
        });
        number
    }

    /// The first matching rule that still expects calls; if all have had theirs, the last of them.
    pub(crate) fn choose(&mut self, call: &Call) -> Choice {
        let mut chosen = None;
        for &number in self.by_route.get(&call.route).map_or(&[][..], Vec::as_slice) {
            let rule = &self.rules[number];
            if !rule.steps.is_empty() && rule.matcher.matches(call) {
                chosen = Some(number);
                if rule.expected.allows_more_than(rule.seen) {
                    break;
                }
            }
        }
        match chosen {
            Some(number) => Choice::Rule(number, self.rules[number].take()),
            None => self.unmatched(call),
        }
    }

    /// How long rule `number` takes for `answer`.
    pub(crate) fn delay(&mut self, number: usize, answer: &Answer) -> Duration {
        let rule = &mut self.rules[number];
        answer
            .after
            .or(rule.latency)
            .map_or(Duration::ZERO, |latency| rule.dice.draw(latency))
    }

    /// Whether any rule for `route` hands its calls to the test. Handlers may, so they count.
    pub(crate) fn may_hold(&self, route: &Route) -> bool {
        let held = |step: &Step| match step {
            Step::Answer(answer) => answer.is_hold(),
            Step::Handler(_) => true,
        };
        self.rules
            .iter()
            .any(|rule| rule.route == *route && rule.steps.iter().any(held))
    }

    /// nameko's answer to a call that no rule is for.
    fn unmatched(&self, call: &Call) -> Choice {
        let knows = |what: fn(&Route) -> &str| {
            self.rules
                .iter()
                .any(|rule| what(&rule.route) == what(&call.route))
        };
        let (answered, answer) = if !knows(Route::service) {
            ("UnknownService", Answer::unknown_service())
        } else if self.by_route.contains_key(&call.route) {
            (
                "IncorrectSignature",
                Answer::incorrect_signature("no rule of the fake broker matches this call"),
            )
        } else {
            ("MethodNotFound", Answer::method_not_found(call.route.method()))
        };
        Choice::Unmatched {
            answer,
            answered,
            nearest: self.nearest(call),
        }
    }

    fn nearest(&self, call: &Call) -> Nearest {
        let same = self.by_route.get(&call.route).map_or(&[][..], Vec::as_slice);
        let compared = same.iter().map(|number| {
            let lines = self.rules[*number].matcher.compare(call);
            (lines.iter().filter(|line| !line.ok).count(), *number, lines)
        });
        if let Some((_, number, lines)) = compared.min_by_key(|(differing, number, _)| (*differing, *number))
        {
            return Nearest::Differs {
                rule: self.rules[number].to_string(),
                lines,
            };
        }
        let asked = call.route.to_string();
        let distance = |rule: &&RuleState| strsim::damerau_levenshtein(&rule.route.to_string(), &asked);
        match self.rules.iter().min_by_key(distance) {
            Some(rule) => Nearest::OtherRoute {
                rule: rule.to_string(),
            },
            None => Nearest::NoRules,
        }
    }
}

impl RuleState {
    fn take(&mut self) -> Step {
        self.seen += 1;
        let step = self.steps[self.next].clone();
        self.next = (self.next + 1).min(self.steps.len() - 1);
        step
    }
}

/// As it reads in a report: `products.get("o1") (tests/products.rs:14)`.
impl fmt::Display for RuleState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Matcher { args, kwargs, .. } = &self.matcher;
        write!(f, "{}(", self.route)?;
        match (args, kwargs) {
            (None, None) => f.write_str("..")?,
            (Some(args), None) => write!(f, "{}, ..", Arguments(args, &Map::new()))?,
            (None, Some(kwargs)) => write!(f, ".., {}", Arguments(&[], kwargs))?,
            (Some(args), Some(kwargs)) => write!(f, "{}", Arguments(args, kwargs))?,
        }
        write!(f, ") ({}:{})", self.at.file(), self.at.line())
    }
}

impl fmt::Debug for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Answer(answer) => answer.fmt(f),
            Self::Handler(_) => f.write_str("Handler(..)"),
        }
    }
}
