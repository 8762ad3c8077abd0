//! What is done about one call, apart from when.

use nameko_cachetools::{JSON, RemoteError, Response};

use crate::{Answer, When, json::clipped, manner::Manner};

/// One act of the broker or of a service.
#[derive(Debug, Clone)]
pub(crate) enum Act {
    Reply(Response),
    Never,
    Hold,
    UnknownService,
    Nack,
    Disconnect(When),
}

impl From<Act> for Answer {
    fn from(act: Act) -> Self {
        Self {
            act,
            after: None,
            manner: Manner::default(),
        }
    }
}

impl Act {
    /// The act in a few words, for the timeline.
    pub(crate) fn summary(&self) -> String {
        match self {
            Self::Reply(response) => reply_summary(response),
            Self::Never => "no answer".to_owned(),
            Self::Hold => "held by the test".to_owned(),
            Self::UnknownService => "returned: unknown service".to_owned(),
            Self::Nack => "refused by the broker (nack)".to_owned(),
            Self::Disconnect(When::BeforeSend) => "connection lost before sending".to_owned(),
            Self::Disconnect(When::AfterSend) => "connection lost after sending".to_owned(),
            Self::Disconnect(When::BeforeReply) => "connection lost before the reply".to_owned(),
        }
    }
}

fn reply_summary(response: &Response) -> String {
    let text = String::from_utf8_lossy(&response.body[..response.body.len().min(4 * SHOWN_CHARS)]);
    if response.content_type.as_deref() != Some(JSON) {
        let content_type = response.content_type.as_deref().unwrap_or("no content type");
        return format!("reply of {content_type}, {} bytes", response.body.len());
    }
    if text.starts_with(r#"{"result": null, "error": {"#) {
        return match serde_json::from_slice::<ErrorReply>(&response.body) {
            Ok(ErrorReply { error }) => format!("error {}", clipped(&error.to_string(), SHOWN_CHARS)),
            Err(_) => format!("reply {}", clipped(&text, SHOWN_CHARS)),
        };
    }
    match text.strip_prefix(r#"{"result": "#) {
        Some(result) => {
            format!(
                "ok {}",
                clipped(
                    result.strip_suffix(r#", "error": null}"#).unwrap_or(result),
                    SHOWN_CHARS
                )
            )
        }
        None => format!("reply {}", clipped(&text, SHOWN_CHARS)),
    }
}

#[derive(serde::Deserialize)]
struct ErrorReply {
    error: RemoteError,
}

const SHOWN_CHARS: usize = 80;

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn summaries_are_short_and_readable() {
        assert_eq!(Answer::ok(json!({"a": 1})).act.summary(), r#"ok {"a": 1}"#);
        assert_eq!(
            Answer::error("ValueError", "bad").act.summary(),
            "error ValueError bad"
        );
        assert_eq!(
            Answer::raw("é", "text/plain").act.summary(),
            "reply of text/plain, 2 bytes"
        );
        let long = Answer::ok("x".repeat(10_000)).act.summary();
        assert!(
            long.starts_with("ok \"xxx") && long.chars().count() < 100,
            "{long}"
        );
        let long = Answer::error("E", &"x".repeat(10_000)).act.summary();
        assert!(
            long.starts_with("error E xxx") && long.chars().count() < 100,
            "{long}"
        );
    }
}
