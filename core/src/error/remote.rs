//! An exception that the service raised.

use std::fmt;

use serde::Deserialize;
use serde_json::Value;

/// An exception raised by the called service, as nameko serialises it.
///
/// nameko makes `exc_args` safe for JSON: strings stay, containers are walked, everything else becomes its `str()`
/// (`7` arrives as `"7"`). `value` is `str(exception)`, usually text. An error that passed through a relay arrives
/// as `exc_type` `"RemoteError"` with the first error's text.
#[derive(Clone, PartialEq, Deserialize)]
#[non_exhaustive]
pub struct RemoteError {
    /// The exception's class, e.g. `"ValueError"`.
    pub exc_type: String,
    /// Its full path, e.g. `"builtins.ValueError"`; empty if the service sent none.
    #[serde(default)]
    pub exc_path: String,
    /// Its arguments, made safe for JSON by the service.
    #[serde(default)]
    pub exc_args: Vec<Value>,
    /// `str(exception)`; `null` if the service sent none.
    #[serde(default)]
    pub value: Value,
}

impl RemoteError {
    /// An error with a type and a text, as a fake service raises it.
    pub fn new(exc_type: impl Into<String>, value: impl Into<String>) -> Self {
        let value = value.into();
        Self {
            exc_type: exc_type.into(),
            exc_path: String::new(),
            exc_args: vec![Value::String(value.clone())],
            value: Value::String(value),
        }
    }

    /// Whether this is the exception `name`: its class (`"NotFound"`), or its full path (`"orders.exc.NotFound"`).
    pub fn is(&self, name: &str) -> bool {
        self.exc_type == name || self.exc_path == name
    }

    /// Whether nameko itself raised it because the caller asked wrongly: `MethodNotFound`, `IncorrectSignature` or
    /// `MalformedRequest` of `nameko.exceptions`.
    pub fn is_client_fault(&self) -> bool {
        matches!(
            self.exc_path.as_str(),
            "nameko.exceptions.MethodNotFound"
                | "nameko.exceptions.IncorrectSignature"
                | "nameko.exceptions.MalformedRequest"
        )
    }
}

/// As nameko's own `RemoteError` prints: `{exc_type} {value}`; control characters escaped, at most 4 KiB each.
impl fmt::Display for RemoteError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        escaped(f, &self.exc_type)?;
        match &self.value {
            Value::Null => Ok(()),
            Value::String(text) => {
                f.write_str(" ")?;
                escaped(f, text)
            }
            other => {
                f.write_str(" ")?;
                escaped(f, &other.to_string())
            }
        }
    }
}

/// The type only: the arguments and the text may quote callers' data.
impl fmt::Debug for RemoteError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RemoteError")
            .field("exc_type", &self.exc_type)
            .field("exc_path", &self.exc_path)
            .field("exc_args", &self.exc_args.len())
            .finish_non_exhaustive()
    }
}

const SHOWN_CHARS: usize = 4096;

fn escaped(f: &mut fmt::Formatter<'_>, text: &str) -> fmt::Result {
    use fmt::Write as _;
    for c in text.chars().take(SHOWN_CHARS) {
        if c.is_control() {
            write!(f, "{}", c.escape_debug())?
        } else {
            f.write_char(c)?
        }
    }
    if text.chars().nth(SHOWN_CHARS).is_some() {
        f.write_str("…")
    } else {
        Ok(())
    }
}

impl std::error::Error for RemoteError {}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// Proves: R23.
    #[test]
    fn display_is_namekos_own_and_escapes() {
        assert_eq!(
            RemoteError::new("ValueError", "bad\n\u{1b}").to_string(),
            "ValueError bad\\n\\u{1b}"
        );
        let long = RemoteError::new("E", "x".repeat(10_000)).to_string();
        assert!(long.len() < 4200 && long.ends_with('…'));
    }

    /// Proves: 80.
    #[test]
    fn debug_shows_no_data() {
        let error = RemoteError {
            exc_args: vec![json!("canary")],
            ..RemoteError::new("E", "canary")
        };
        assert!(!format!("{error:?}").contains("canary"));
    }

    #[test]
    fn only_namekos_own_exceptions_are_the_callers_fault() {
        let mut error = RemoteError::new("MethodNotFound", "nope");
        assert!(!error.is_client_fault());
        error.exc_path = "nameko.exceptions.MethodNotFound".into();
        assert!(error.is_client_fault() && error.is("MethodNotFound"));
    }
}
