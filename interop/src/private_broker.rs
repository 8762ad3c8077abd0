//! A RabbitMQ node of one's own, for tests that break a broker.

use std::{
    ffi::OsString,
    io,
    net::{Ipv4Addr, TcpListener},
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use tokio::{
    process::Command,
    time::{Instant, sleep, timeout},
};
use uuid::Uuid;

use crate::{Unavailable, broker::speaks_amqp, leash::Leash, process::Process};

/// A RabbitMQ node with its own name, ports, directory and Erlang port mapper, without plugins, on the loopback
/// interface. It knows the user `guest` and the vhost `/`; what is durable survives [`restart`](Self::restart).
///
/// Dropped, the node is killed and its directory is deleted.
///
/// Measured on 2 quiet cores: the start takes 5 s, a graceful stop 1 s, 130 MB of memory.
#[derive(Debug)]
pub struct PrivateBroker {
    node: Node,
    process: Option<Process>,
    leash: Leash,
}

impl PrivateBroker {
    /// Starts a node and waits until it speaks AMQP, 90 seconds at the most.
    ///
    /// # Errors
    /// [`Unavailable`]: RabbitMQ isn't installed, or what it said before it ended.
    pub async fn start() -> Result<Self, Unavailable> {
        let node = Node::new().await?;
        let mut leash = node.leash().map_err(Unavailable::io("starting sh"))?;
        node.write_files()
            .map_err(Unavailable::io("writing RabbitMQ's configuration"))?;
        let process = Some(node.run(&mut leash).await?);
        Ok(Self { node, process, leash })
    }

    /// Where to connect to; the same after a restart.
    pub fn uri(&self) -> String {
        format!("amqp://guest:guest@{}/%2f", self.node.address())
    }

    /// SIGTERM: closes its connections with 320 `CONNECTION_FORCED` and ends.
    ///
    /// # Errors
    /// [`NotFound`](io::ErrorKind::NotFound) when it isn't running; [`TimedOut`](io::ErrorKind::TimedOut) when it
    /// hadn't ended after 30 seconds and was killed.
    pub async fn stop(&mut self) -> io::Result<()> {
        let stopped = self.take()?.stop(STOP_LIMIT).await;
        self.buried().await?;
        stopped
    }

    /// SIGKILL: its connections end without a word.
    ///
    /// # Errors
    /// [`NotFound`](io::ErrorKind::NotFound) when it isn't running.
    pub async fn kill(&mut self) -> io::Result<()> {
        let killed = self.take()?.kill().await;
        self.buried().await?;
        killed
    }

    /// SIGSTOP: its connections stay open, and nothing is read or answered.
    ///
    /// # Errors
    /// [`NotFound`](io::ErrorKind::NotFound) when it isn't running.
    pub fn hang(&self) -> io::Result<()> {
        self.process.as_ref().ok_or_else(not_running)?.hang()
    }

    /// SIGCONT: the end of [`hang`](Self::hang).
    ///
    /// # Errors
    /// [`NotFound`](io::ErrorKind::NotFound) when it isn't running.
    pub fn resume(&self) -> io::Result<()> {
        self.process.as_ref().ok_or_else(not_running)?.resume()
    }

    /// The same node again, on the same port; one that still runs is stopped before.
    ///
    /// # Errors
    /// [`Unavailable`], as [`start`](Self::start).
    pub async fn restart(&mut self) -> Result<(), Unavailable> {
        if self.process.is_some() {
            self.stop().await.map_err(Unavailable::io("stopping RabbitMQ"))?;
        }
        self.process = Some(self.node.run(&mut self.leash).await?);
        Ok(())
    }

    /// Runs `rabbitmqctl` on the node (`["set_vm_memory_high_watermark", "0"]`, `["close_all_connections", "test"]`)
    /// and returns its output: about a second, 30 at the most.
    ///
    /// # Errors
    /// [`TimedOut`](io::ErrorKind::TimedOut); [`Other`](io::ErrorKind::Other) with the output when it fails.
    pub async fn ctl(&self, arguments: &[&str]) -> io::Result<String> {
        let mut command = self.node.command("rabbitmqctl");
        command
            .arg("--quiet")
            .args(arguments)
            .stdin(Stdio::null())
            .kill_on_drop(true);
        let done = timeout(STOP_LIMIT, command.output())
            .await
            .map_err(|_| io::ErrorKind::TimedOut)??;
        let output = String::from_utf8_lossy(&[done.stdout, done.stderr].concat()).into_owned();
        if done.status.success() {
            Ok(output)
        } else {
            Err(io::Error::other(output))
        }
    }

    fn take(&mut self) -> io::Result<Process> {
        self.process.take().ok_or_else(not_running)
    }

    /// Waits until the Erlang machine, a child of the child, has let go of the port.
    async fn buried(&mut self) -> io::Result<()> {
        self.leash.hold(None)?;
        let deadline = Instant::now() + STOP_LIMIT;
        while Instant::now() < deadline && TcpListener::bind(self.node.address()).is_err() {
            sleep(POLL).await;
        }
        Ok(())
    }
}

/// What makes a node this one, through all its restarts.
#[derive(Debug)]
struct Node {
    programs: PathBuf,
    directory: PathBuf,
    name: String,
    amqp: u16,
    distribution: u16,
    mapper: u16,
}

impl Node {
    async fn new() -> Result<Self, Unavailable> {
        let Some(programs) = PROGRAMS
            .iter()
            .map(Path::new)
            .find(|dir| dir.join("rabbitmq-server").exists())
        else {
            let program = "rabbitmq-server".into();
            return Err(Unavailable::NotInstalled {
                program,
                hint: INSTALL,
                source: io::ErrorKind::NotFound.into(),
            });
        };
        let id = Uuid::new_v4().simple().to_string();
        let [amqp, distribution, mapper] = free_ports().map_err(Unavailable::io("finding free ports"))?;
        Ok(Self {
            programs: programs.into(),
            directory: std::env::temp_dir().join(format!("nct-rabbitmq-{id}")),
            name: format!("nct{}@localhost", &id[..8]),
            amqp,
            distribution,
            mapper,
        })
    }

    fn address(&self) -> String {
        format!("{}:{}", Ipv4Addr::LOCALHOST, self.amqp)
    }

    fn leash(&self) -> io::Result<Leash> {
        let cleanup: [OsString; 3] = ["rm".into(), "-rf".into(), self.directory.clone().into()];
        Leash::new(&cleanup, &[])
    }

    fn write_files(&self) -> io::Result<()> {
        std::fs::create_dir(&self.directory)?;
        std::fs::write(
            self.directory.join("rabbitmq.conf"),
            format!("listeners.tcp.1 = {}\n", self.address()),
        )?;
        std::fs::write(self.directory.join("rabbitmq-env.conf"), "")?; // or the system's own would rename the node
        std::fs::write(self.directory.join("enabled_plugins"), "[].\n")
    }

    async fn run(&self, leash: &mut Leash) -> Result<Process, Unavailable> {
        // The port mapper runs in the foreground: one that Erlang starts by itself would outlive the node.
        let mut command = self.command("sh");
        command
            .args(["-c", r#"epmd -port "$ERL_EPMD_PORT" & exec "$0""#])
            .arg(self.programs.join("rabbitmq-server"));
        let started = Instant::now();
        let mut process = Process::spawn(command, leash).map_err(Unavailable::io("starting RabbitMQ"))?;
        while process.is_running() && started.elapsed() < READY_LIMIT {
            if matches!(
                timeout(ANSWER_LIMIT, speaks_amqp(&self.address())).await,
                Ok(Ok(()))
            ) {
                return Ok(process);
            }
            sleep(POLL).await;
        }
        let (waited, output) = (started.elapsed(), process.last_words());
        Err(Unavailable::NotReady {
            program: "rabbitmq-server",
            waited,
            output,
        })
    }

    /// One of RabbitMQ's programs, or another, in the node's environment.
    fn command(&self, program: &str) -> Command {
        let own = self.programs.join(program);
        let mut command = Command::new(if own.exists() {
            own.as_path()
        } else {
            Path::new(program)
        });
        let file = |name: &str| self.directory.join(name);
        command
            .env("HOME", &self.directory) // Erlang's cookie is made there
            .env("RABBITMQ_NODENAME", &self.name)
            .env("RABBITMQ_CONFIG_FILE", file("rabbitmq.conf"))
            .env("RABBITMQ_CONF_ENV_FILE", file("rabbitmq-env.conf"))
            .env("RABBITMQ_ENABLED_PLUGINS_FILE", file("enabled_plugins"))
            .env("RABBITMQ_MNESIA_BASE", file("mnesia"))
            .env("RABBITMQ_LOG_BASE", file("log"))
            .env("RABBITMQ_LOGS", "-")
            .env("RABBITMQ_DIST_PORT", self.distribution.to_string())
            .env("ERL_EPMD_PORT", self.mapper.to_string())
            .env("ERL_EPMD_ADDRESS", Ipv4Addr::LOCALHOST.to_string())
            .env("ERL_FLAGS", "-kernel inet_dist_use_interface {127,0,0,1}");
        command
    }
}

/// Bound all at once, so that they differ, and let go again.
fn free_ports() -> io::Result<[u16; 3]> {
    let bind = || TcpListener::bind((Ipv4Addr::LOCALHOST, 0));
    let listeners = [bind()?, bind()?, bind()?];
    let [amqp, distribution, mapper] = &listeners;
    Ok([
        amqp.local_addr()?.port(),
        distribution.local_addr()?.port(),
        mapper.local_addr()?.port(),
    ])
}

fn not_running() -> io::Error {
    io::Error::new(io::ErrorKind::NotFound, "the broker is not running")
}

/// Where RabbitMQ's own scripts are. What Debian has in the `PATH` is a wrapper that changes the user.
const PROGRAMS: [&str; 4] = [
    "/usr/lib/rabbitmq/bin",
    "/opt/rabbitmq/sbin",
    "/opt/homebrew/opt/rabbitmq/sbin",
    "/usr/local/opt/rabbitmq/sbin",
];
const INSTALL: &str = "install it: apt-get install rabbitmq-server (ci.sh does)";
const READY_LIMIT: Duration = Duration::from_secs(90);
const STOP_LIMIT: Duration = Duration::from_secs(30);
const ANSWER_LIMIT: Duration = Duration::from_secs(2);
const POLL: Duration = Duration::from_millis(50);
