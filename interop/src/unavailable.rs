//! Why there is no service or no broker.

use std::{io, path::PathBuf, time::Duration};

/// Why something could not be started.
///
/// [`is_missing`](Self::is_missing) tells what the machine lacks (a live test may skip) from what is there and does not
/// work (a live test must fail).
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Unavailable {
    /// The program isn't installed.
    #[error("{program} can't be run ({source}); {hint}")]
    NotInstalled {
        /// Its name or path.
        program: String,
        /// What would help.
        hint: &'static str,
        /// What the system said.
        source: io::Error,
    },
    /// There is no virtual environment with the pinned packages, and making one was not allowed.
    #[error(
        "no Python packages in {path}; run ci.sh, or: python3 interop/nk_venv.py interop/{requirements} {path}"
    )]
    NoVenv {
        /// Where it should be.
        path: PathBuf,
        /// The file with the pinned versions, in `interop/`.
        requirements: &'static str,
    },
    /// Making the virtual environment failed.
    #[error("making the virtual environment {path} failed:\n{output}")]
    VenvFailed {
        /// Where it should be.
        path: PathBuf,
        /// What venv or pip wrote.
        output: String,
    },
    /// Nothing answers where the broker should be.
    #[error("no AMQP broker at {address} ({source}); set AMQP_URI, or start one: ci.sh does")]
    NoBroker {
        /// Host and port.
        address: String,
        /// What the system said.
        source: io::Error,
    },
    /// `AMQP_URI` is no URI with a host.
    #[error("AMQP_URI is no usable URI: {reason}")]
    BrokerUri {
        /// What is wrong with it; never the URI itself, which holds a password.
        reason: String,
    },
    /// The process was started, but wasn't ready in time or ended before.
    #[error("{program} was not ready after {waited:?}; its last words:\n{output}")]
    NotReady {
        /// What was started.
        program: &'static str,
        /// How long it was waited for.
        waited: Duration,
        /// The last lines it wrote.
        output: String,
    },
    /// The system refused something else.
    #[error("{what}: {source}")]
    Io {
        /// What was tried.
        what: &'static str,
        /// What the system said.
        source: io::Error,
    },
}

impl Unavailable {
    /// Whether the machine lacks something, in contrast to something that is there and fails.
    pub fn is_missing(&self) -> bool {
        matches!(
            self,
            Self::NotInstalled { .. } | Self::NoVenv { .. } | Self::NoBroker { .. }
        )
    }

    pub(crate) fn io(what: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io { what, source }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_machine_lacks_is_missing() {
        let source = || io::Error::from(io::ErrorKind::NotFound);
        let missing = [
            Unavailable::NotInstalled {
                program: "python3".into(),
                hint: "install it",
                source: source(),
            },
            Unavailable::NoVenv {
                path: "target/venv".into(),
                requirements: "requirements.txt",
            },
            Unavailable::NoBroker {
                address: "127.0.0.1:5672".into(),
                source: source(),
            },
        ];
        assert!(missing.iter().all(Unavailable::is_missing));
    }

    #[test]
    fn what_is_there_and_fails_is_not_missing() {
        let failing = [
            Unavailable::VenvFailed {
                path: "target/venv".into(),
                output: "no network".into(),
            },
            Unavailable::BrokerUri {
                reason: "empty host".into(),
            },
            Unavailable::NotReady {
                program: "nk_serve.py",
                waited: Duration::from_secs(1),
                output: String::new(),
            },
            Unavailable::io("spawning")(io::ErrorKind::Other.into()),
        ];
        assert!(!failing.iter().any(Unavailable::is_missing));
    }
}
