//! Whether a cassette holds what it must not.

use std::fmt;

use super::{
    Cassette,
    json::{Json, quoted},
    redaction::{BLANK, Redaction, is_too_deep},
};

impl Cassette {
    /// Looks for `secrets` in the whole text, as they are and as JSON writes them, and for members named like secrets
    /// ([`SECRET_NAMES`](super::SECRET_NAMES)) that are not redacted. Empty secrets are ignored.
    ///
    /// Plant canaries when you record (a password, a token, a name that occurs nowhere else), and look for them here:
    /// in a test over all cassettes of a repository, or by the program `nameko-cassette check`.
    ///
    /// # Errors
    /// The lines, by number; never the secrets themselves.
    ///
    /// ```
    /// # use nameko_cachetools::{Client, Context, args};
    /// # use nameko_cachetools_testkit::{Answer, FakeBroker, cassette::Recorder};
    /// # #[tokio::main(flavor = "current_thread", start_paused = true)]
    /// # async fn main() {
    /// # let real = FakeBroker::new();
    /// # real.on("accounts.login").reply_with(|call| Answer::ok(format!("welcome {}", call.args[0])));
    /// let recorder = Recorder::new(real.transport()).redact_arg("accounts.login", 1);
    /// let accounts = Client::new(recorder.clone()).service("accounts");
    /// let _ = accounts.call::<String, _>("login", args!["tess", "canary-password"]).await;
    ///
    /// assert!(recorder.cassette().check(["canary-password"]).is_ok());
    /// let leaks = recorder.cassette().check(["tess"]).unwrap_err();
    /// assert_eq!(leaks.to_string(), "secret 1 is on line 2\nsecret 1 is on line 3");
    /// # }
    /// ```
    pub fn check<S: AsRef<str>>(&self, secrets: impl IntoIterator<Item = S>) -> Result<(), Leaks> {
        let (text, usual) = (self.to_string(), Redaction::default());
        let secrets: Vec<S> = secrets.into_iter().collect();
        let mut found = Vec::new();
        for (number, line) in (1..).zip(text.lines()) {
            for (i, secret) in (1..).zip(&secrets) {
                let (plain, as_json) = (secret.as_ref(), quoted(secret.as_ref()));
                let is_there = line.contains(plain) || line.contains(as_json.trim_matches('"'));
                if is_there && !plain.is_empty() {
                    found.push(format!("secret {i} is on line {number}"));
                }
            }
            if is_too_deep(line) {
                found.push(format!("line {number} is nested too deep to look for members"));
                continue;
            }
            unredacted(line, &usual, &mut |name| {
                found.push(format!("member {name:?} on line {number} is not redacted"));
            });
        }
        if found.is_empty() {
            Ok(())
        } else {
            Err(Leaks(found))
        }
    }
}

/// Tells of all members that are named like secrets and hold something.
fn unredacted(json: &str, usual: &Redaction, tell: &mut dyn FnMut(&str)) {
    match Json::read(json) {
        Some(Json::Object(members)) => {
            for (name, value) in members {
                let is_blank = matches!(Json::read(value), Some(Json::Text(text)) if text == BLANK);
                if usual.hides(&name) && !is_blank && value != "null" {
                    tell(&name);
                } else {
                    unredacted(value, usual, tell);
                }
            }
        }
        Some(Json::Array(items)) => items.into_iter().for_each(|item| unredacted(item, usual, tell)),
        _ => {}
    }
}

/// What [`Cassette::check`] found, one a line.
#[derive(Clone, PartialEq, Eq)]
pub struct Leaks(Vec<String>);

impl fmt::Display for Leaks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join("\n"))
    }
}

/// The findings themselves, so that `unwrap` and `?` in a test show them readably.
impl fmt::Debug for Leaks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "leaks:\n{self}")
    }
}

impl std::error::Error for Leaks {}
