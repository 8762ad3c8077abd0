//! One Python process with nameko services.

use std::{ffi::OsString, io, path::PathBuf, process::Stdio, time::Duration};

use tokio::{process::Command, time::Instant};
use uuid::Uuid;

use crate::{Packages, Unavailable, amqp_uri, broker, leash::Leash, process::Process, venv::scripts};

/// Running nameko services, under names that nobody else uses: see [`service`](Self::service).
///
/// Dropped, the process is killed, and the queues and exchanges of its services are deleted from the broker in the
/// background; [`close`](Self::close) does the same gently and waits for it.
#[derive(Debug)]
pub struct Interop {
    launch: Launch,
    process: Option<Process>,
    leash: Leash,
}

impl Interop {
    /// The services of `interop/nk_services.py` and `interop/nk_catalog.py` on the broker of [`amqp_uri`].
    ///
    /// # Errors
    /// [`Unavailable`]: what the machine lacks, or what the process said before it ended.
    pub async fn start() -> Result<Self, Unavailable> {
        Self::builder().start().await
    }

    /// The same with choices.
    pub fn builder() -> InteropBuilder {
        InteropBuilder::default()
    }

    /// A service's name on the wire: `name` with this run's prefix before it.
    pub fn service(&self, name: &str) -> String {
        format!("{}{name}", self.launch.prefix)
    }

    /// What every service's name starts with.
    pub fn prefix(&self) -> &str {
        &self.launch.prefix
    }

    /// The broker that the services are on.
    pub fn uri(&self) -> &str {
        &self.launch.uri
    }

    /// One of the Python files of `interop/` as a command, with the same packages, broker and prefix:
    /// `nk_call.py` calls a method, `nk_dispatch.py` publishes an event.
    pub fn script(&self, file: &str) -> Command {
        let mut command = Command::new(&self.launch.python);
        command
            .args(["-W", "ignore"])
            .arg(scripts().join(file))
            .envs(self.launch.environment());
        command.stdin(Stdio::null()).kill_on_drop(true);
        command
    }

    /// SIGTERM: the services cancel their consumers, answer what they have begun, and end: nameko takes 2.5 seconds for
    /// it. Their queues stay and collect requests.
    ///
    /// # Errors
    /// [`NotFound`](io::ErrorKind::NotFound) when it isn't running; [`TimedOut`](io::ErrorKind::TimedOut) when it
    /// hadn't ended after 20 seconds and was killed.
    pub async fn stop(&mut self) -> io::Result<()> {
        let stopped = self.take()?.stop(STOP_LIMIT).await;
        self.leash.hold(None)?;
        stopped
    }

    /// SIGKILL: connections break in the middle of whatever it did; what it hadn't acknowledged is queued again.
    ///
    /// # Errors
    /// [`NotFound`](io::ErrorKind::NotFound) when it isn't running.
    pub async fn kill(&mut self) -> io::Result<()> {
        let killed = self.take()?.kill().await;
        self.leash.hold(None)?;
        killed
    }

    /// SIGSTOP: it keeps its connections and takes requests (as many as it has workers), and nothing comes back. The
    /// broker notices after two missed heartbeats of nameko's 60 seconds.
    ///
    /// # Errors
    /// [`NotFound`](io::ErrorKind::NotFound) when it isn't running.
    pub fn hang(&self) -> io::Result<()> {
        self.process.as_ref().ok_or_else(not_running)?.hang()
    }

    /// SIGCONT: it goes on where [`hang`](Self::hang) stopped it, and answers what has piled up.
    ///
    /// # Errors
    /// [`NotFound`](io::ErrorKind::NotFound) when it isn't running.
    pub fn resume(&self) -> io::Result<()> {
        self.process.as_ref().ok_or_else(not_running)?.resume()
    }

    /// The same services again, in a new process; one that still runs is stopped before.
    ///
    /// # Errors
    /// [`Unavailable`], as [`start`](Self::start).
    pub async fn restart(&mut self) -> Result<(), Unavailable> {
        if self.process.is_some() {
            self.stop()
                .await
                .map_err(Unavailable::io("stopping nk_serve.py"))?;
        }
        self.process = Some(self.launch.run(&mut self.leash).await?);
        Ok(())
    }

    /// Stops what runs, deletes the queues, and waits for both: about 3 seconds, 30 at the most.
    pub async fn close(mut self) {
        let _ = self.stop().await;
        self.leash.pull(CLEAN_LIMIT).await;
    }

    fn take(&mut self) -> io::Result<Process> {
        self.process.take().ok_or_else(not_running)
    }
}

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

    /// How many requests each service works on at once. nameko's default is 10.
    #[must_use]
    pub fn max_workers(self, workers: u16) -> Self {
        self.argument(["--max-workers".into(), workers.to_string()])
    }

    /// Sets a key of nameko's configuration to a JSON value: `("ACCEPT", r#"["json", "msgpack"]"#)`.
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
            .python(self.make_venv || crate::live::is_required())
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

        let mut leash = launch.leash().map_err(Unavailable::io("starting sh"))?;
        let process = Some(launch.run(&mut leash).await?);
        Ok(Interop {
            launch,
            process,
            leash,
        })
    }

    fn argument(mut self, words: [String; 2]) -> Self {
        self.arguments.extend(words);
        self
    }
}

/// How the process is started, each time anew.
#[derive(Debug)]
struct Launch {
    python: PathBuf,
    uri: String,
    prefix: String,
    modules: Vec<String>,
    arguments: Vec<String>,
}

impl Launch {
    async fn run(&self, leash: &mut Leash) -> Result<Process, Unavailable> {
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
    fn leash(&self) -> io::Result<Leash> {
        let mut cleanup: Vec<OsString> =
            vec![self.python.clone().into(), scripts().join("nk_clean.py").into()];
        cleanup.extend(self.modules.iter().map(OsString::from));
        Leash::new(&cleanup, &self.environment())
    }

    fn environment(&self) -> [(&'static str, &str); 2] {
        [("AMQP_URI", &self.uri), ("INTEROP_PREFIX", &self.prefix)]
    }
}

fn not_running() -> io::Error {
    io::Error::new(io::ErrorKind::NotFound, "the services are not running")
}

/// Measured: 0.3 to 0.5 s on a quiet machine.
const READY_LIMIT: Duration = Duration::from_secs(60);
const STOP_LIMIT: Duration = Duration::from_secs(20);
const CLEAN_LIMIT: Duration = Duration::from_secs(10);
