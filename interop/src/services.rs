//! One Python process with nameko services.

use std::{io, process::Stdio, time::Duration};

use tokio::process::Command;

use crate::{InteropBuilder, Unavailable, launch::Launch, leash::Leash, process::Process, venv::scripts};

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
    /// The services of `interop/nk_services.py` and `interop/nk_catalog.py` on the broker of [`amqp_uri`](crate::amqp_uri).
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

    pub(crate) async fn launch(launch: Launch) -> Result<Self, Unavailable> {
        let mut leash = launch.leash().map_err(Unavailable::io("starting sh"))?;
        let process = Some(launch.run(&mut leash).await?);
        Ok(Self {
            launch,
            process,
            leash,
        })
    }

    fn take(&mut self) -> io::Result<Process> {
        self.process.take().ok_or_else(not_running)
    }
}

fn not_running() -> io::Error {
    io::Error::new(io::ErrorKind::NotFound, "the services are not running")
}

const STOP_LIMIT: Duration = Duration::from_secs(20);
const CLEAN_LIMIT: Duration = Duration::from_secs(10);
