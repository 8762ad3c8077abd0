//! A cassette as rules.

use std::panic::Location;

use nameko_cachetools::{JSON, Response};
use serde_json::{Map, Value};

use super::{
    Cassette,
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
    /// Route, arguments and recorded context are the same; and each recording is used, once.
    Strict,
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
        let at = Location::caller();
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
            rule.recorded(
                format!("{name}:{}", group.line),
                matcher,
                group.answers,
                match matching {
                    Matching::Strict => Times::from(group.count),
                    Matching::Lenient => Times::ANY,
                },
            );
        }
    }
}

/// Recordings of the same call.
struct Group<'a> {
    first: &'a Interaction,
    line: usize,
    count: u64,
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
                group.count += 1;
                group.answers.push(step);
            }
            None => groups.push(Group {
                first: one,
                line: 2 + 2 * i,
                count: 1,
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
    let is_strict = matching == Matching::Strict;
    Some(Matcher {
        args: Some(args),
        kwargs: Some(kwargs),
        context: context.into_iter().filter(|_| is_strict).collect(),
        blank: Some(BLANK),
        ..Matcher::default()
    })
}

fn answer(recorded: &Interaction) -> Answer {
    let json = |body: String| Answer::response(Response::new(Some(JSON.to_owned()), body));
    let answer = match &recorded.answer {
        Recorded::Result(result) => json(format!(r#"{{"result": {result}, "error": null}}"#)),
        Recorded::Error(error) => json(format!(r#"{{"result": null, "error": {error}}}"#)),
        Recorded::Unread { content_type, bytes } => {
            Answer::response(Response::new(content_type.clone(), vec![b'?'; *bytes]))
        }
        Recorded::Silent => return Answer::never(),
        Recorded::Failed(Failure::UnknownService) => Answer::unknown_service(),
        Recorded::Failed(Failure::Nack) => Answer::nack(),
        Recorded::Failed(Failure::NotSent) => Answer::disconnect(When::BeforeSend),
        Recorded::Failed(Failure::Disconnected) => Answer::disconnect(When::BeforeReply),
    };
    answer.after(recorded.took)
}
