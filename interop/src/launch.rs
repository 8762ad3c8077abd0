//! With what the services are started, each time anew.

use std::{ffi::OsString, io, path::PathBuf, time::Duration};

use tokio::{process::Command, time::Instant};
use uuid::Uuid;

use crate::{
    Interop, Packages, Unavailable, amqp_uri, broker, leash::Leash, live, process::Process, venv::scripts,
};

/// Choices for [`Interop::builder`].
#[derive(Debug, Clone, Default)]
pub struct InteropBuilder {
    packages: Packages,
    uri: Option<String>,
    prefix: Option<String>,
    arguments: Vec<String>,
    modules: Vec<&'static str>,
    make_venv: bool,
}

impl InteropBuilder {
    /// Which Python packages. The default is [`Packages::Nameko2`].
    #[must_use]
    pub fn packages(self, packages: Packages) -> Self {
        Self { packages, ..self }
    }

    /// Another broker than that of [`amqp_uri`].
    #[must_use]
    pub fn uri(self, uri: impl Into<String>) -> Self {
        Self {
            uri: Some(uri.into()),
            ..self
        }
    }

    /// Another process's [`prefix`](Interop::prefix), for services that call its services. The default is a new one.
    #[must_use]
    pub fn prefix(self, prefix: impl Into<String>) -> Self {
        Self {
            prefix: Some(prefix.into()),
            ..self
        }
    }

    /// Adds a Python module (`"nk_cached"`) whose services are run. The default is `nk_services` and `nk_catalog`.
    #[must_use]
    pub fn module(mut self, module: &'static str) -> Self {
        self.modules.push(module);
        self
    }

    /// Sets a key of nameko's configuration to a JSON value: `("max_workers", "50")`.
    #[must_use]
    pub fn config(self, key: &str, json: &str) -> Self {
        self.argument(["--set".into(), format!("{key}={json}")])
    }

    /// Allows making the virtual environment when it is absent: it downloads the pinned packages. Not allowed by
    /// default, but with `CI_LIVE=1` in the environment.
    #[must_use]
    pub fn make_venv(self, make_venv: bool) -> Self {
        Self { make_venv, ..self }
    }

    /// Starts the services and waits until they consume: about half a second, 60 at the most.
    ///
    /// # Errors
    /// [`Unavailable`]: what the machine lacks, or what the process said before it ended.
    pub async fn start(self) -> Result<Interop, Unavailable> {
        let uri = self.uri.unwrap_or_else(amqp_uri);
        broker::check(&uri).await?;
        let python = self
            .packages
            .python(self.make_venv || live::is_required())
            .await?;
        let modules = if self.modules.is_empty() {
            vec!["nk_services", "nk_catalog"]
        } else {
            self.modules
        };
        let prefix = self
            .prefix
            .unwrap_or_else(|| format!("nct{}_", &Uuid::new_v4().simple().to_string()[..8]));
        let modules = modules
            .into_iter()
            .flat_map(|module| ["--module".into(), module.into()])
            .collect();
        let launch = Launch {
            python,
            uri,
            prefix,
            modules,
            arguments: self.arguments,
        };

        Interop::launch(launch).await
    }

    fn argument(mut self, words: [String; 2]) -> Self {
        self.arguments.extend(words);
        self
    }
}

/// How the process is started, each time anew.
#[derive(Debug)]
pub(crate) struct Launch {
    pub(crate) python: PathBuf,
    pub(crate) uri: String,
    pub(crate) prefix: String,
    modules: Vec<String>,
    arguments: Vec<String>,
}

impl Launch {
    pub(crate) async fn run(&self, leash: &mut Leash) -> Result<Process, Unavailable> {
        let mut command = Command::new(&self.python);
        command.args(["-W", "ignore"]).arg(scripts().join("nk_serve.py"));
        // Failing on purpose is these services' work: what they log about it would hide what matters.
        command
            .args(["--log", "CRITICAL"])
            .args(&self.modules)
            .args(&self.arguments);
        command.envs(self.environment());
        let started = Instant::now();
        let mut process = Process::spawn(command, leash).map_err(Unavailable::io("starting nk_serve.py"))?;
        if process.says("READY", READY_LIMIT).await {
            return Ok(process);
        }
        Err(Unavailable::NotReady {
            program: "nk_serve.py",
            waited: started.elapsed(),
            output: process.last_words(),
        })
    }

    /// What deletes the services' queues when they are gone.
    pub(crate) fn leash(&self) -> io::Result<Leash> {
        let mut cleanup: Vec<OsString> =
            vec![self.python.clone().into(), scripts().join("nk_clean.py").into()];
        cleanup.extend(self.modules.iter().map(OsString::from));
        Leash::new(&cleanup, &self.environment())
    }

    pub(crate) fn environment(&self) -> [(&'static str, &str); 2] {
        [("AMQP_URI", &self.uri), ("INTEROP_PREFIX", &self.prefix)]
    }
}

/// Far more than a service needs, for machines that are busy with building.
const READY_LIMIT: Duration = Duration::from_secs(60);
