//! Other clients, each a process of its own that measures itself: it says that it is ready, and answers each line
//! `IN_FLIGHT BYTES MILLISECONDS` by one, `CALLS_PER_SECOND P50_US CPU_US`.

use std::{error::Error, path::Path, process::Stdio};

use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines},
    process::{Child, ChildStdin, ChildStdout, Command},
};

use super::measure::{Measured, Plan};

pub(crate) struct Other {
    asks: ChildStdin,
    answers: Lines<BufReader<ChildStdout>>,
    _child: Child,
}

impl Other {
    /// nameko's `ClusterRpcProxy`, in the environment that `ci.sh` makes for `interop`.
    pub(crate) async fn python(uri: &str) -> Result<Self, Box<dyn Error>> {
        let this = std::env::current_exe()?;
        let target = this.ancestors().nth(2).ok_or("no target folder")?;
        let python = target.join("interop-venv/bin/python");
        if !python.exists() {
            return Err(
                "there is no environment of `interop` (./ci.sh makes it, or interop/nk_venv.py)".into(),
            );
        }
        let mut command = Command::new(python);
        command
            .args(["-W", "ignore"])
            .arg(package().join("python/calls.py"));
        Self::start(command.arg(uri)).await
    }

    /// girolle, which brings an older lapin: it is in the package of peers.
    pub(crate) async fn girolle(uri: &str) -> Result<Self, Box<dyn Error>> {
        let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        command.args(["run", "--quiet", "--release", "--locked", "--manifest-path"]);
        command.arg(package().join("peers/Cargo.toml"));
        Self::start(command.args(["--", "girolle", uri])).await
    }

    async fn start(command: &mut Command) -> Result<Self, Box<dyn Error>> {
        let pipes = command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = pipes.kill_on_drop(true).spawn()?;
        let (Some(asks), Some(answers)) = (child.stdin.take(), child.stdout.take()) else {
            return Err("no pipes".into());
        };
        let mut answers = BufReader::new(answers).lines();
        match answers.next_line().await?.as_deref() {
            Some("ready") => Ok(Self {
                asks,
                answers,
                _child: child,
            }),
            other => Err(format!("it said {other:?}").into()),
        }
    }

    pub(crate) async fn measure(&mut self, plan: Plan) -> Result<Measured, Box<dyn Error>> {
        let Plan {
            in_flight,
            argument,
            time,
        } = plan;
        let ask = format!("{in_flight} {argument} {}\n", time.as_millis());
        self.asks.write_all(ask.as_bytes()).await?;
        let line = self.answers.next_line().await?.ok_or("it has ended")?;
        let figures: Vec<f64> = line.split(' ').map(str::parse).collect::<Result<_, _>>()?;
        let &[rate, p50_us, cpu_us] = figures.as_slice() else {
            return Err(format!("it said {line:?}").into());
        };
        let crowding = 0.0;
        Ok(Measured {
            rate,
            p50_us,
            cpu_us,
            crowding,
        })
    }
}

/// This package's folder.
fn package() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}
