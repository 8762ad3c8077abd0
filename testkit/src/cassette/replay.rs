//! A cassette as rules.

use std::{collections::BTreeMap, panic::Location};

use nameko_cachetools::{JSON, Response};
use serde_json::{Map, Value};

use super::{
    Cassette, Order,
    redaction::BLANK,
    tape::{Failure, Interaction, Recorded},
};
use crate::{Answer, FakeBroker, Rule, Times, When, fail, matcher::Matcher, script::Step, target::Target};

/// Which recording answers a call.
///
/// Either way, of calls that are the same, the first gets the first recording of it, the second the second, ...
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Matching {
    /// Route, arguments and recorded context are the same; and each recording is used, once, in the order in which the
    /// calls began. A call before its turn is answered, and fails the test at its end.
    Strict,
    /// The same in any order: for programs that make several calls at once.
    Unordered,
    /// Route and arguments are the same. The last recording of a call repeats, and what isn't used doesn't matter.
    Lenient,
}

/// # Recordings
impl FakeBroker {
    /// Answers calls as `cassette` has them, each after the time it took then. A call that it hasn't is unmatched, like
    /// one that no rule is for; a report names the cassette's line. Rules for the same route that were made before come
    /// first, and so does what is [pushed](Self::push).
    ///
    /// # Panics
    /// If `args` of a call is no list, or `kwargs` or `context` no object.
    ///
    /// See [`cassette`](crate::cassette) for an example.
    #[track_caller]
    pub fn replay(&self, cassette: &Cassette, matching: Matching) {
        let (at, mut order) = (Location::caller(), BTreeMap::new());
        for group in groups(cassette, matching) {
            let name = cassette.path.as_ref().map_or_else(
                || "cassette".to_owned(),
                |path| {
                    path.file_name()
                        .unwrap_or_default()
                        .to_string_lossy()
                        .into_owned()
                },
            );
            let Some(matcher) = matcher(group.first, matching) else {
                fail(format!("{name}:{}: this is no call", group.line));
            };
            let rule = Rule::new(&self.hub, Target::One(group.first.route.clone()), at);
            order.extend(group.places.iter().map(|place| (*place, rule.number())));
            rule.recorded(
                format!("{name}:{}", group.line),
                matcher,
                group.answers,
                match matching {
                    Matching::Strict | Matching::Unordered => Times::from(group.places.len() as u64),
                    Matching::Lenient => Times::ANY,
                },
            );
        }
        if matching == Matching::Strict {
            self.hub
                .lock()
                .script
                .orders
                .push(Order::new(order.into_values()));
        }
    }
}

/// Recordings of the same call.
struct Group<'a> {
    first: &'a Interaction,
    line: usize,
    /// Where in the cassette they are.
    places: Vec<usize>,
    answers: Vec<Step>,
}

fn groups(cassette: &Cassette, matching: Matching) -> Vec<Group<'_>> {
    let mut groups: Vec<Group<'_>> = Vec::new();
    for (i, one) in cassette.interactions.iter().enumerate() {
        let same = groups.iter_mut().find(|group| {
            let first = group.first;
            (&first.route, &first.args, &first.kwargs) == (&one.route, &one.args, &one.kwargs)
                && (matching == Matching::Lenient || first.context == one.context)
        });
        let step = Step::Answer(answer(one));
        match same {
            Some(group) => {
                group.places.push(i);
                group.answers.push(step);
            }
            None => groups.push(Group {
                first: one,
                line: 2 + 2 * i,
                places: vec![i],
                answers: vec![step],
            }),
        }
    }
    groups
}

fn matcher(call: &Interaction, matching: Matching) -> Option<Matcher> {
    let args: Vec<Value> = serde_json::from_str(&call.args).ok()?;
    let kwargs: Map<String, Value> = serde_json::from_str(&call.kwargs).ok()?;
    let context: Map<String, Value> = serde_json::from_str(&call.context).ok()?;
    let is_strict = matching != Matching::Lenient;
    Some(Matcher {
        args: Some(args),
        kwargs: Some(kwargs),
        context: context.into_iter().filter(|_| is_strict).collect(),
        blank: Some(BLANK),
        ..Matcher::default()
    })
}

fn answer(recorded: &Interaction) -> Answer {
    let reply = |mut response: Response| {
        let headers = recorded.headers.iter();
        response.headers = headers
            .map(|(name, value)| (name.clone().into(), value.clone()))
            .collect();
        Answer::response(response)
    };
    let json = |body: String| reply(Response::new(Some(JSON.to_owned()), body));
    let answer = match &recorded.answer {
        Recorded::Result(result) => json(format!(r#"{{"result": {result}, "error": null}}"#)),
        Recorded::Error(error) => json(format!(r#"{{"result": null, "error": {error}}}"#)),
        Recorded::Unread { content_type, bytes } => {
            reply(Response::new(content_type.clone(), vec![b'?'; *bytes]))
        }
        Recorded::Silent => return Answer::never(),
        Recorded::Failed(Failure::UnknownService) => Answer::unknown_service(),
        Recorded::Failed(Failure::Nack) => Answer::nack(),
        Recorded::Failed(Failure::NotSent) => Answer::disconnect(When::BeforeSend),
        Recorded::Failed(Failure::Disconnected) => Answer::disconnect(When::BeforeReply),
    };
    answer.after(recorded.took)
}
