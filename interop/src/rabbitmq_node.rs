//! What makes a RabbitMQ node this one, through all its restarts.

use std::{
    ffi::OsString,
    io,
    net::{Ipv4Addr, TcpListener},
    path::{Path, PathBuf},
    time::Duration,
};

use tokio::{
    process::Command,
    time::{Instant, sleep, timeout},
};
use uuid::Uuid;

use crate::{Unavailable, broker::speaks_amqp, leash::Leash, process::Process};

/// A node's name, ports, and directory.
#[derive(Debug)]
pub(crate) struct Node {
    programs: PathBuf,
    directory: PathBuf,
    name: String,
    amqp: u16,
    distribution: u16,
    mapper: u16,
}

impl Node {
    pub(crate) async fn new() -> Result<Self, Unavailable> {
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

    pub(crate) fn address(&self) -> String {
        format!("{}:{}", Ipv4Addr::LOCALHOST, self.amqp)
    }

    pub(crate) fn leash(&self) -> io::Result<Leash> {
        let cleanup: [OsString; 3] = ["rm".into(), "-rf".into(), self.directory.clone().into()];
        Leash::new(&cleanup, &[])
    }

    pub(crate) fn write_files(&self) -> io::Result<()> {
        std::fs::create_dir(&self.directory)?;
        std::fs::write(
            self.directory.join("rabbitmq.conf"),
            format!("listeners.tcp.1 = {}\n", self.address()),
        )?;
        std::fs::write(self.directory.join("rabbitmq-env.conf"), "")?; // or the system's own would rename the node
        std::fs::write(self.directory.join("enabled_plugins"), "[].\n")
    }

    pub(crate) async fn run(&self, leash: &mut Leash) -> Result<Process, Unavailable> {
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
    pub(crate) fn command(&self, program: &str) -> Command {
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
            .env("ERL_CRASH_DUMP_SECONDS", "0") // or one that is killed while it starts leaves a file where it was started
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

/// Where RabbitMQ's own scripts are. What Debian has in the `PATH` is a wrapper that changes the user.
const PROGRAMS: [&str; 4] = [
    "/usr/lib/rabbitmq/bin",
    "/opt/rabbitmq/sbin",
    "/opt/homebrew/opt/rabbitmq/sbin",
    "/usr/local/opt/rabbitmq/sbin",
];
const INSTALL: &str = "install it: apt-get install rabbitmq-server (ci.sh does)";
const READY_LIMIT: Duration = Duration::from_secs(180);
const ANSWER_LIMIT: Duration = Duration::from_secs(2);
const POLL: Duration = Duration::from_millis(50);
