//! Calls of a real service, recorded once and replayed for ever.
//!
//! A [`Recorder`] is a transport around another one. What it saw is a [`Cassette`], a text file to be kept beside the
//! tests. [`FakeBroker::replay`](crate::FakeBroker::replay) makes rules of it, so that everything that holds for rules
//! holds for recordings: virtual time, pushes, outages, near misses.
//!
//! ```
//! use nameko_cachetools::{Client, Reply, args};
//! use nameko_cachetools_testkit::{Answer, FakeBroker, cassette::{Cassette, Matching, Recorder}};
//!
//! # #[tokio::main(flavor = "current_thread", start_paused = true)]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let real = FakeBroker::new(); // in place of RabbitMQ
//! # real.on("billing.total").reply(Answer::ok(12));
//! # let folder = std::env::temp_dir().join(format!("nameko-cassette-doc-{}", std::process::id()));
//! # std::fs::create_dir_all(&folder)?;
//! # let path = folder.join("billing.jsonl");
//! // Once, against the real service:
//! let recorder = Recorder::new(real.transport());
//! let billing = Client::new(recorder.clone()).service("billing");
//! let live: Reply<u32> = billing.call("total", args![7]).await?;
//! recorder.cassette().save(&path)?;
//!
//! // From then on, in every test:
//! let broker = FakeBroker::new();
//! broker.replay(&Cassette::load(&path)?, Matching::Strict);
//! let replayed: Reply<u32> = broker.client().service("billing").call("total", args![7]).await?;
//! assert_eq!(*replayed, *live);
//! # std::fs::remove_dir_all(&folder)?;
//! # Ok(())
//! # }
//! ```
//!
//! # The file
//!
//! One JSON object a line: first a header, then for each call a line of its own and one for its answer, in the order in
//! which the calls began. Arguments have their members sorted, results are as the service sent them, numbers digit by
//! digit. There are no dates, numbers or ids, so that a new recording differs where the service does.
//!
//! ```text
//! {"cassette": 1, "blank": "<redacted>"}
//! {"call": "billing.total", "args": [7], "kwargs": {}, "context": {"language": "sv", "user_id": "<redacted>"}}
//! {"ms": 12, "result": 12}
//! {"call": "stock.level", "args": ["A1"], "kwargs": {}, "context": {}}
//! {"ms": 1, "error": {"exc_type": "KeyError", "exc_path": "builtins.KeyError", "exc_args": ["A1"], "value": "'A1'"}}
//! {"call": "stock.level", "args": ["A2"], "kwargs": {}, "context": {}}
//! {"ms": 5000, "silent": true}
//! ```
//!
//! Beside `result`, `error` and `silent` (the caller gave up first) an answer is `failed` (`unknown service`, `nack`,
//! `not sent` or `disconnected`), or a `reply` that is none of nameko's: of that, only the content type and the number
//! of bytes are kept, since what can't be read can't be redacted. A reply's AMQP headers, if it has any, are in `headers`
//! beside it.
//!
//! # What is kept out of it
//!
//! Recordings go into version control, so redaction comes before writing, and is on unless it is turned off. A redacted
//! value is written `"<redacted>"`, and matches anything when it is replayed:
//!
//! - everything of the context but the language, in a reply's headers too: it says who asks;
//! - members that are named like secrets, at any depth: see [`SECRET_NAMES`];
//! - what [`Recorder::redact`] and [`Recorder::redact_arg`] name;
//! - any text that quotes one of these values, of four characters or more, wherever in the recording it stands: services
//!   like to repeat what they were sent.
//!
//! Never recorded at all are call ids, correlation ids and reply queues. A secret under a harmless name that nothing above
//! reaches gets into the file: [`Cassette::check`] finds it, if you tell it what to look for.

mod check;
mod json;
mod order;
mod recorder;
mod redaction;
mod replay;
mod tape;

use std::{
    fmt, fs, io,
    path::{Path, PathBuf},
};

pub use check::Leaks;
pub use recorder::Recorder;
pub use redaction::SECRET_NAMES;
pub use replay::Matching;

pub(crate) use order::Order;
use tape::Interaction;

/// Recorded calls with their answers, in the order in which the calls began.
#[derive(Clone)]
pub struct Cassette {
    /// Where it was loaded from, for reports.
    path: Option<PathBuf>,
    interactions: Vec<Interaction>,
}

impl Cassette {
    /// Reads a file that [`save`](Self::save) wrote.
    ///
    /// # Errors
    /// If it can't be read, or isn't a cassette; says which line.
    pub fn load(path: impl AsRef<Path>) -> io::Result<Self> {
        let path = path.as_ref();
        let named = |error: &dyn fmt::Display| format!("{}: {error}", path.display());
        let text = fs::read_to_string(path).map_err(|error| io::Error::new(error.kind(), named(&error)))?;
        let interactions =
            tape::read(&text).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, named(&error)))?;
        Ok(Self {
            path: Some(path.to_owned()),
            interactions,
        })
    }

    /// Writes it to a file, in place of what was there.
    ///
    /// # Errors
    /// If the file can't be written.
    pub fn save(&self, path: impl AsRef<Path>) -> io::Result<()> {
        fs::write(path, self.to_string())
    }

    /// How many calls it holds.
    pub fn len(&self) -> usize {
        self.interactions.len()
    }

    /// Whether it holds none.
    pub fn is_empty(&self) -> bool {
        self.interactions.is_empty()
    }
}

/// The file's text.
impl fmt::Display for Cassette {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&tape::write(&self.interactions))
    }
}

impl fmt::Debug for Cassette {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Cassette({} calls)", self.len())
    }
}
