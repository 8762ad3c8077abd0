//! A RabbitMQ node of one's own, for tests that break a broker.

use std::{io, net::TcpListener, process::Stdio, time::Duration};

use tokio::time::{Instant, sleep, timeout};

use crate::{Unavailable, leash::Leash, process::Process, rabbitmq_node::Node};

/// A RabbitMQ node with its own name, ports, directory and Erlang port mapper, without plugins, on the loopback
/// interface. It knows the user `guest` and the vhost `/`; what is durable survives [`restart`](Self::restart).
///
/// Dropped, the node is killed and its directory is deleted.
#[derive(Debug)]
pub struct PrivateBroker {
    node: Node,
    process: Option<Process>,
    leash: Leash,
}

impl PrivateBroker {
    /// Starts a node and waits until it speaks AMQP: some five seconds, three minutes at the most on a busy machine.
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

    /// Whether it was started and neither stopped nor killed since.
    pub fn is_running(&self) -> bool {
        self.process.is_some()
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
    /// and returns its output: about two seconds, 90 at the most.
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
        let done = timeout(CTL_LIMIT, command.output())
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

fn not_running() -> io::Error {
    io::Error::new(io::ErrorKind::NotFound, "the broker is not running")
}

/// It starts an Erlang machine of its own, which is slow on a busy one.
const CTL_LIMIT: Duration = Duration::from_secs(90);
const STOP_LIMIT: Duration = Duration::from_secs(30);
const POLL: Duration = Duration::from_millis(50);
