//! Ends a child, and cleans up after it, when this process is gone: however it went.
//!
//! Destructors don't run when a test is killed, aborts, or holds its services in a static. A small shell doesn't need
//! them: it reads a pipe that this process alone keeps open, and acts at its end.

use std::{
    ffi::OsString,
    io::{self, Write},
    process::{Child, Command, Stdio},
    time::Duration,
};

use rustix::process::Pid;
use tokio::time::{Instant, sleep};

/// Dropped: kills the process group that it holds, then runs its command. So does the end of this process.
#[derive(Debug)]
pub(crate) struct Leash {
    shell: Child,
}

impl Leash {
    /// Holds no group yet. `cleanup` is a program and its arguments; secrets go by its `environment`, which other
    /// users of the machine don't see.
    pub(crate) fn new(cleanup: &[OsString], environment: &[(&str, &str)]) -> io::Result<Self> {
        let shell = Command::new("sh")
            .args(["-c", SCRIPT, "leash"])
            .args(cleanup)
            .envs(environment.iter().copied())
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        Ok(Self { shell })
    }

    /// Holds `group` from now on, instead of the one before. `None` once a group has ended: its id may soon be
    /// somebody else's.
    pub(crate) fn hold(&mut self, group: Option<Pid>) -> io::Result<()> {
        let pipe = self.shell.stdin.as_mut().ok_or(io::ErrorKind::BrokenPipe)?;
        match group {
            Some(group) => writeln!(pipe, "{}", group.as_raw_nonzero()),
            None => writeln!(pipe),
        }
    }

    /// Lets it act now and waits for the end of it, `limit` at the most.
    pub(crate) async fn pull(mut self, limit: Duration) {
        self.shell.stdin.take();
        let deadline = Instant::now() + limit;
        while matches!(self.shell.try_wait(), Ok(None)) && Instant::now() < deadline {
            sleep(Duration::from_millis(10)).await;
        }
    }
}

/// Each line is the group to hold, or empty. Signals sent to a whole terminal must not end the watcher.
const SCRIPT: &str = r#"
trap '' HUP INT TERM
while read -r line; do group=$line; done
[ -z "$group" ] || kill -s KILL -- "-$group"
exec "$@"
"#;

#[cfg(test)]
mod tests {
    use super::*;
    use std::{env, fs, os::unix::process::CommandExt, path::PathBuf};
    use tokio::time::timeout;

    fn sleeper() -> (Child, Pid) {
        let child = Command::new("sleep")
            .arg("60")
            .stdout(Stdio::null())
            .process_group(0)
            .spawn()
            .unwrap();
        let pid = Pid::from_child(&child);
        (child, pid)
    }

    /// A cleanup that makes a file, and the file.
    fn touch() -> ([OsString; 2], PathBuf) {
        let file = env::temp_dir().join(format!("leash-{}", uuid::Uuid::new_v4()));
        (["touch".into(), file.clone().into()], file)
    }

    #[tokio::test]
    async fn dropping_kills_the_group_and_runs_the_cleanup() {
        let (mut child, pid) = sleeper();
        let (cleanup, file) = touch();
        let mut leash = Leash::new(&cleanup, &[]).unwrap();
        leash.hold(Some(pid)).unwrap();
        drop(leash);

        let gone = async {
            while child.try_wait().unwrap().is_none() || !file.exists() {
                sleep(Duration::from_millis(5)).await;
            }
        };
        timeout(Duration::from_secs(10), gone)
            .await
            .expect("killed and cleaned up");
        fs::remove_file(file).unwrap();
    }

    #[tokio::test]
    async fn a_group_let_go_is_spared() {
        let (mut child, pid) = sleeper();
        let (cleanup, file) = touch();
        let mut leash = Leash::new(&cleanup, &[]).unwrap();
        leash.hold(Some(pid)).unwrap();
        leash.hold(None).unwrap();
        leash.pull(Duration::from_secs(10)).await;

        assert!(
            file.exists(),
            "the cleanup comes after the killing, and it is done"
        );
        assert!(child.try_wait().unwrap().is_none(), "still asleep");
        child.kill().unwrap();
        child.wait().unwrap();
        fs::remove_file(file).unwrap();
    }
}
