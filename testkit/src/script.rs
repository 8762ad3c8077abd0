//! The rules of a fake broker, and which of them answers a call.

use std::{
    collections::BTreeMap,
    fmt,
    panic::Location,
    sync::{Arc, Mutex},
    time::Duration,
};

use nameko_cachetools::Route;

use crate::{
    Answer, Call, Latency, Times, cassette::Order, difference::Comparison, latency::Dice, matcher::Matcher,
    push::Pushed, target::Target,
};

/// All rules, in the order in which the test made them. Knows nothing of clocks, tasks or sockets.
#[derive(Debug)]
pub(crate) struct Script {
    pub(crate) seed: u64,
    pub(crate) rules: Vec<RuleState>,
    pub(crate) pushed: Pushed,
    /// Of the cassettes that are replayed strictly.
    pub(crate) orders: Vec<Order>,
    /// The numbers of the rules for one route.
    by_route: BTreeMap<Route, Vec<usize>>,
    /// The numbers of the rules for a pattern.
    wide: Vec<usize>,
}

/// One rule.
#[derive(Debug)]
pub(crate) struct RuleState {
    pub(crate) at: &'static Location<'static>,
    /// The line of the cassette that it was recorded on, or of the script that it is in.
    pub(crate) line: Option<String>,
    pub(crate) target: Target,
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
    /// Rule number so-and-so does this; or, without a number, it was pushed.
    Taken(Option<usize>, Step),
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
            pushed: Pushed::new(seed),
            orders: Vec::new(),
            by_route: BTreeMap::new(),
            wide: Vec::new(),
        }
    }

    /// Adds a rule for all calls that `target` covers, and returns its number.
    pub(crate) fn add(&mut self, target: Target, at: &'static Location<'static>) -> usize {
        let number = self.rules.len();
        match &target {
            Target::One(route) => self.by_route.entry(route.clone()).or_default().push(number),
            Target::Any { .. } => self.wide.push(number),
        }
        self.rules.push(RuleState {
            at,
            line: None,
            target,
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

    /// What was pushed; else the first matching rule that still expects calls; if all have had theirs, the last.
    pub(crate) fn choose(&mut self, call: &Call) -> Choice {
        if let Some(answer) = self.pushed.take(&call.route) {
            return Choice::Taken(None, Step::Answer(answer));
        }
        let mut chosen = None;
        for number in self.covering(&call.route) {
            let rule = &self.rules[number];
            if !rule.steps.is_empty() && rule.matcher.matches(call) {
                chosen = Some(number);
                if rule.expected.allows_more_than(rule.seen) {
                    break;
                }
            }
        }
        match chosen {
            Some(number) => Choice::Taken(Some(number), self.rules[number].take()),
            None => self.unmatched(call),
        }
    }

    /// The rule whose recording had to come before that of rule number `rule`, if there is one.
    pub(crate) fn due_before(&mut self, rule: usize) -> Option<&RuleState> {
        let due = self.orders.iter_mut().find_map(|order| order.replay(rule))?;
        self.rules.get(due)
    }

    /// The rules for `route`, in the order in which they are tried: first those for it alone, then the patterns.
    fn covering(&self, route: &Route) -> impl Iterator<Item = usize> {
        let own = self.by_route.get(route).map_or(&[][..], Vec::as_slice);
        let wide = self.wide.iter().filter(|n| self.rules[**n].target.covers(route));
        own.iter().chain(wide).copied()
    }

    /// How long `answer` takes, of rule number `rule` or pushed.
    pub(crate) fn delay(&mut self, rule: Option<usize>, answer: &Answer) -> Duration {
        let (usual, dice) = match rule {
            Some(number) => {
                let rule = &mut self.rules[number];
                (rule.latency, &mut rule.dice)
            }
            None => (None, &mut self.pushed.dice),
        };
        let latency = answer.after.as_deref().copied().or(usual);
        latency.map_or(Duration::ZERO, |latency| dice.draw(latency))
    }

    /// Whether any call that `target` covers may be handed to the test. Handlers may do so, so they count.
    pub(crate) fn may_hold(&self, target: &Target) -> bool {
        let held = |step: &Step| match step {
            Step::Answer(answer) => answer.is_hold(),
            Step::Handler(_) => true,
        };
        self.pushed.may_hold(target)
            || self
                .rules
                .iter()
                .any(|rule| rule.target.meets(target) && rule.steps.iter().any(held))
    }

    /// Whether there is a rule for any method of `service`.
    pub(crate) fn serves_any_of(&self, service: &str) -> bool {
        self.rules.iter().any(|rule| rule.target.takes_service(service))
    }

    /// Whether the script has something to say about calls of `route`: a rule for its service, or pushed answers.
    #[cfg(feature = "wire")]
    pub(crate) fn serves(&self, route: &Route) -> bool {
        self.serves_any_of(route.service()) || self.pushed.has(route)
    }

    /// nameko's answer to a call that no rule is for.
    fn unmatched(&self, call: &Call) -> Choice {
        let service = call.route.service();
        let (answered, answer) = if !self.rules.iter().any(|rule| rule.target.takes_service(service)) {
            ("UnknownService", Answer::unknown_service())
        } else if self.covering(&call.route).next().is_some() {
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
        let compared = self.covering(&call.route).map(|number| {
            let lines = self.rules[number].matcher.compare(call);
            (lines.iter().filter(|line| !line.ok).count(), number, lines)
        });
        if let Some((_, number, lines)) = compared.min_by_key(|(differing, number, _)| (*differing, *number))
        {
            return Nearest::Differs {
                rule: self.rules[number].to_string(),
                lines,
            };
        }
        let asked = call.route.to_string();
        let distance = |rule: &&RuleState| strsim::damerau_levenshtein(&rule.target.to_string(), &asked);
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
        write!(f, "{}({}) (", self.target, self.matcher)?;
        match &self.line {
            Some(line) => write!(f, "{line})"),
            None => write!(f, "{}:{})", self.at.file(), self.at.line()),
        }
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
