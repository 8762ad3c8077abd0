//! A child in a process group of its own, with the signals that break and mend it.

use std::{
    collections::VecDeque,
    io,
    process::Stdio,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::{
    io::{AsyncBufReadExt, AsyncRead, BufReader},
    process::{Child, Command},
    sync::watch,
    time::{sleep, timeout},
};

use crate::leash::Leash;

/// A child that was started. Dropped, it is killed.
#[derive(Debug)]
pub(crate) struct Process {
    child: Child,
    group: Pid,
    output: Output,
}

impl Process {
    /// Starts `command`, which `leash` holds from now on.
    pub(crate) fn spawn(mut command: Command, leash: &mut Leash) -> io::Result<Self> {
        let mut child = command
            .process_group(0) // or Ctrl-C would end it before us
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?;
        let group = child
            .id()
            .and_then(|id| Pid::from_raw(id.cast_signed()))
            .ok_or(io::ErrorKind::NotFound)?;
        leash.hold(Some(group))?;
        let output = Output::default();
        if let (Some(out), Some(err)) = (child.stdout.take(), child.stderr.take()) {
            output.follow(out);
            output.follow(err);
        }
        Ok(Self { child, group, output })
    }

    /// Waits until it has written a line that contains `word`. `false`: it ended before, or `limit` has passed.
    pub(crate) async fn says(&mut self, word: &str, limit: Duration) -> bool {
        let mut written = self.output.written.subscribe();
        let heard = written.wait_for(|()| self.output.has(word));
        tokio::select! {
            biased;
            heard = heard => heard.is_ok(),
            _ = self.child.wait() => false,
            () = sleep(limit) => false,
        }
    }

    /// The last lines of its standard output and error.
    pub(crate) fn last_words(&self) -> String {
        self.output.text()
    }

    /// Whether it hasn't ended.
    pub(crate) fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// SIGSTOP: it lives, holds its connections, and does nothing.
    pub(crate) fn hang(&self) -> io::Result<()> {
        self.signal(Signal::STOP)
    }

    /// SIGCONT: the end of [`hang`](Self::hang).
    pub(crate) fn resume(&self) -> io::Result<()> {
        self.signal(Signal::CONT)
    }

    /// SIGTERM, then waits for the end. A hung one is resumed, or it would never see the signal.
    ///
    /// # Errors
    /// [`TimedOut`](io::ErrorKind::TimedOut) with its last words when it hasn't ended after `limit`; it is killed then.
    pub(crate) async fn stop(mut self, limit: Duration) -> io::Result<()> {
        self.signal(Signal::TERM)?;
        self.signal(Signal::CONT)?;
        match timeout(limit, self.child.wait()).await {
            Ok(ended) => ended.map(drop),
            Err(_) => {
                let message = format!(
                    "still there {limit:?} after SIGTERM; its last words:\n{}",
                    self.last_words()
                );
                self.kill().await?;
                Err(io::Error::new(io::ErrorKind::TimedOut, message))
            }
        }
    }

    /// SIGKILL, then waits for the end.
    pub(crate) async fn kill(mut self) -> io::Result<()> {
        self.signal(Signal::KILL)?;
        self.child.wait().await.map(drop)
    }

    /// To the whole group, while the child is there: afterwards the id may be somebody else's.
    fn signal(&self, signal: Signal) -> io::Result<()> {
        match self.child.id() {
            Some(_) => Ok(kill_process_group(self.group, signal)?),
            None => Err(io::Error::new(io::ErrorKind::NotFound, "the process has ended")),
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.signal(Signal::KILL);
    }
}

/// The last lines of a process.
#[derive(Debug, Clone, Default)]
struct Output {
    lines: Arc<Mutex<VecDeque<String>>>,
    written: watch::Sender<()>,
}

impl Output {
    /// Reads to the end of `stream`, in the background: a process whose pipe is full would hang.
    fn follow(&self, stream: impl AsyncRead + Unpin + Send + 'static) {
        let output = self.clone();
        tokio::spawn(async move {
            let mut stream = BufReader::new(stream).lines();
            while let Ok(Some(line)) = stream.next_line().await {
                output.push(line);
            }
        });
    }

    fn push(&self, line: String) {
        let mut lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        if lines.len() == KEPT_LINES {
            lines.pop_front();
        }
        lines.push_back(line);
        drop(lines);
        self.written.send_replace(());
    }

    fn has(&self, word: &str) -> bool {
        self.lines
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .iter()
            .any(|line| line.contains(word))
    }

    fn text(&self) -> String {
        let lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        lines.iter().map(String::as_str).collect::<Vec<_>>().join("\n")
    }
}

const KEPT_LINES: usize = 40;
