//! The lines of a cassette.

use std::time::Duration;

use nameko_cachetools::Route;
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value, value::RawValue};

use super::{json::quoted, redaction::BLANK};

/// One call and its answer. All JSON is text, redacted already.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Interaction {
    pub(crate) route: Route,
    pub(crate) args: String,
    pub(crate) kwargs: String,
    pub(crate) context: String,
    pub(crate) took: Duration,
    /// Of the reply.
    pub(crate) headers: Map<String, Value>,
    pub(crate) answer: Recorded,
}

/// How a call ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Recorded {
    Result(String),
    Error(String),
    /// No reply of nameko's.
    Unread {
        content_type: Option<String>,
        bytes: usize,
    },
    /// None came while the caller waited.
    Silent,
    Failed(Failure),
}

/// Errors that a broker or a service can bring about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Failure {
    UnknownService,
    Nack,
    NotSent,
    Disconnected,
}

impl Failure {
    const ALL: [Self; 4] = [
        Self::UnknownService,
        Self::Nack,
        Self::NotSent,
        Self::Disconnected,
    ];

    fn name(self) -> &'static str {
        match self {
            Self::UnknownService => "unknown service",
            Self::Nack => "nack",
            Self::NotSent => "not sent",
            Self::Disconnected => "disconnected",
        }
    }
}

/// A cassette's text.
pub(crate) fn write(interactions: &[Interaction]) -> String {
    let mut text = format!("{{\"cassette\": {VERSION}, \"blank\": {}}}\n", quoted(BLANK));
    for one in interactions {
        text.push_str(&format!(
            "{{\"call\": {}, \"args\": {}, \"kwargs\": {}, \"context\": {}}}\n",
            quoted(&one.route.to_string()),
            one.args,
            one.kwargs,
            one.context,
        ));
        let answer = match &one.answer {
            Recorded::Result(result) => format!("\"result\": {result}"),
            Recorded::Error(error) => format!("\"error\": {error}"),
            Recorded::Unread { content_type, bytes } => {
                let content_type = content_type.as_deref().map_or_else(|| "null".to_owned(), quoted);
                format!("\"reply\": {{\"content_type\": {content_type}, \"bytes\": {bytes}}}")
            }
            Recorded::Silent => "\"silent\": true".to_owned(),
            Recorded::Failed(failure) => format!("\"failed\": {}", quoted(failure.name())),
        };
        let headers = if one.headers.is_empty() {
            String::new()
        } else {
            format!("\"headers\": {}, ", written(&one.headers))
        };
        text.push_str(&format!(
            "{{\"ms\": {}, {headers}{answer}}}\n",
            one.took.as_millis()
        ));
    }
    text
}

/// Reads a cassette's text; an error says which line.
pub(crate) fn read(text: &str) -> Result<Vec<Interaction>, String> {
    let mut lines = (1..)
        .zip(text.lines())
        .filter(|(_, line)| !line.trim().is_empty());
    let at = |number: usize, what: &dyn std::fmt::Display| format!("line {number}: {what}");
    let header = lines
        .next()
        .ok_or("it is empty, without the header of a cassette")?;
    let Header { cassette, blank } =
        serde_json::from_str(header.1).map_err(|error| at(header.0, &format!("no cassette: {error}")))?;
    if cassette != VERSION || blank != BLANK {
        return Err(at(
            header.0,
            &format!("a cassette of version {cassette}, this testkit reads version {VERSION}"),
        ));
    }
    let mut interactions = Vec::new();
    while let Some((number, line)) = lines.next() {
        let call: CallLine<'_> = serde_json::from_str(line).map_err(|error| at(number, &error))?;
        let route = call
            .route()
            .ok_or_else(|| at(number, &format!("{:?} is no route", call.call)))?;
        let (number, line) = lines
            .next()
            .ok_or_else(|| at(number, &"the answer to this call is missing"))?;
        let answer: AnswerLine<'_> = serde_json::from_str(line).map_err(|error| at(number, &error))?;
        interactions.push(Interaction {
            route,
            args: call.args.get().to_owned(),
            kwargs: call.kwargs.get().to_owned(),
            context: call.context.get().to_owned(),
            took: Duration::from_millis(answer.ms),
            headers: answer.headers.clone(),
            answer: answer.recorded().map_err(|error| at(number, &error))?,
        });
    }
    Ok(interactions)
}

/// As the other parts of a line are written: with a space behind each colon and comma.
fn written(members: &Map<String, Value>) -> String {
    let member = |(name, value): (&String, &Value)| format!("{}: {value}", quoted(name));
    let members: Vec<String> = members.iter().map(member).collect();
    format!("{{{}}}", members.join(", "))
}

const VERSION: u32 = 1;

#[derive(Deserialize)]
struct Header<'a> {
    cassette: u32,
    blank: &'a str,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CallLine<'a> {
    call: String,
    #[serde(borrow)]
    args: &'a RawValue,
    #[serde(borrow)]
    kwargs: &'a RawValue,
    #[serde(borrow)]
    context: &'a RawValue,
}

impl CallLine<'_> {
    fn route(&self) -> Option<Route> {
        let (service, method) = self.call.rsplit_once('.')?;
        Route::new(service, method).ok()
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct AnswerLine<'a> {
    ms: u64,
    #[serde(default)]
    headers: Map<String, Value>,
    #[serde(borrow, default, deserialize_with = "present")]
    result: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    error: Option<&'a RawValue>,
    #[serde(default)]
    reply: Option<ReplyLine>,
    #[serde(default)]
    silent: bool,
    #[serde(default)]
    failed: Option<String>,
}

#[derive(Deserialize)]
struct ReplyLine {
    content_type: Option<String>,
    bytes: usize,
}

/// A member that is there, be it `null`.
fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<&'de RawValue>, D::Error> {
    <&RawValue>::deserialize(deserializer).map(Some)
}

impl AnswerLine<'_> {
    fn recorded(self) -> Result<Recorded, String> {
        let failed = match &self.failed {
            None => None,
            Some(name) => {
                let failure = Failure::ALL.into_iter().find(|failure| failure.name() == name);
                Some(Recorded::Failed(
                    failure.ok_or_else(|| format!("{name:?} is no failure"))?,
                ))
            }
        };
        let reply = self.reply.map(|reply| Recorded::Unread {
            content_type: reply.content_type,
            bytes: reply.bytes,
        });
        let all = [
            self.result
                .map(|result| Recorded::Result(result.get().to_owned())),
            self.error.map(|error| Recorded::Error(error.get().to_owned())),
            reply,
            self.silent.then_some(Recorded::Silent),
            failed,
        ];
        let mut given = all.into_iter().flatten();
        match (given.next(), given.next()) {
            (Some(answer), None) => Ok(answer),
            _ => Err("an answer is one of result, error, reply, silent and failed".to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_is_written_is_read_again() {
        let answers = [
            Recorded::Result("null".to_owned()),
            Recorded::Result(r#"{"total": 36893488147419103232}"#.to_owned()),
            Recorded::Error(r#"{"exc_type": "KeyError"}"#.to_owned()),
            Recorded::Unread {
                content_type: None,
                bytes: 3,
            },
            Recorded::Unread {
                content_type: Some("text/plain".to_owned()),
                bytes: 0,
            },
            Recorded::Silent,
        ];
        let failures = Failure::ALL.map(Recorded::Failed);
        let written: Vec<Interaction> = answers
            .into_iter()
            .chain(failures)
            .map(|answer| Interaction {
                route: Route::new("a.b", "get").unwrap(),
                args: r#"["é", 1.10]"#.to_owned(),
                kwargs: "{}".to_owned(),
                context: r#"{"language": "sv"}"#.to_owned(),
                took: Duration::from_millis(12),
                headers: match json!({"age": 7, "cache-control": "max-age=30"}) {
                    Value::Object(headers) if answer != Recorded::Silent => headers,
                    _ => Map::new(),
                },
                answer,
            })
            .collect();
        assert_eq!(read(&write(&written)), Ok(written));
    }

    #[test]
    fn what_is_no_cassette_is_refused_by_its_line() {
        let call = r#"{"call": "a.b", "args": [], "kwargs": {}, "context": {}}"#;
        let header = r#"{"cassette": 1, "blank": "<redacted>"}"#;
        let why = |text: &str| read(text).unwrap_err();
        assert!(why("").contains("empty"));
        assert!(why("hello").starts_with("line 1: no cassette"));
        assert!(why(r#"{"cassette": 2, "blank": "<redacted>"}"#).contains("version 2"));
        assert!(why(&format!("{header}\n{call}")).starts_with("line 2: the answer"));
        assert!(
            why(&format!("{header}\n\n{call}\n{{\"ms\": 1}}")).starts_with("line 4: an answer is one of")
        );
        let both = format!("{header}\n{call}\n{{\"ms\": 1, \"result\": 1, \"silent\": true}}");
        assert!(why(&both).contains("one of"));
        let typo = format!("{header}\n{call}\n{{\"ms\": 1, \"resutl\": 1}}");
        assert!(why(&typo).contains("resutl"), "{}", why(&typo));
        let failed = format!("{header}\n{call}\n{{\"ms\": 1, \"failed\": \"?\"}}");
        assert!(why(&failed).contains("no failure"));
    }
}
