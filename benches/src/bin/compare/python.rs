//! Hits of the original, in a Python process beside this one, round by round.

use std::{
    io::{BufRead, BufReader, Write},
    path::PathBuf,
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
};

use nameko_cachetools_benches::{
    KEYS, Rounds, Row, Warm,
    product::{PRODUCT, Product},
    thread_time, zipf,
};

use crate::{Rows, children};

const MANY: u64 = 100_000;

pub(crate) fn rows() -> Rows {
    let mut python = Python::start()?;
    let trace = zipf(MANY, 1 << 18, 3);
    let at = |n: u64| trace[n as usize % trace.len()];
    let cold = Warm::new::<Product, _>(PRODUCT, MANY, |n| (n,));
    let hot = Warm::new::<Product, _>(PRODUCT, KEYS, |n| (n,));
    let mut all = vec![Vec::new(); 4];
    for round in 0..21 {
        // Many: Python leaves the processor's caches full of its own.
        const HITS: u64 = 100_000;
        let ours = |warm: &Warm, key: &dyn Fn(u64) -> u64| {
            let hits = |from, number| {
                warm.hits(
                    number,
                    |n, last| (key(from + n + (last & 0x8000_0000)),),
                    |p: &Product| p.stock.into(),
                );
            };
            hits(HITS, HITS / 10); // others than those below
            let began = thread_time();
            hits(0, HITS);
            (thread_time() - began).as_nanos() as f64 / HITS as f64
        };
        all[0].push(ours(&cold, &|n| at(n + round * HITS)));
        all[1].push(python.ask("cold 50000")?);
        all[2].push(ours(&hot, &|n| n % KEYS));
        all[3].push(python.ask("hot 50000")?);
    }
    let rounds = Rounds::of(all);
    let row = |name: &str, ours: usize, must: f64, goal: f64| {
        Row::faster(name, "ns", (rounds.median(ours), rounds.median(ours + 1)))
            .measured(rounds.ratio(ours, ours + 1))
            .target(must, goal)
    };
    Ok(vec![
        row("hit, 100,000 keys, Zipf, against Python's", 0, 20.0, 30.0),
        row("hit, 64 hot keys, against Python's", 2, 60.0, 100.0),
    ])
}

/// `benches/python/hits.py`, in the environment that `ci.sh` makes for `interop`.
pub(crate) struct Python {
    child: Child,
    asks: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Python {
    pub(crate) fn start() -> Result<Self, String> {
        let python =
            venv().ok_or("there is no environment of `interop` (./ci.sh makes it, or interop/nk_venv.py)")?;
        let mut child = Command::new(python)
            .args(["-W", "ignore"])
            .arg(children::package().join("python/hits.py"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|error| error.to_string())?;
        let (Some(asks), Some(answers)) = (child.stdin.take(), child.stdout.take()) else {
            return Err("Python has no pipes".to_owned());
        };
        let answers = BufReader::new(answers);
        Ok(Self { child, asks, answers })
    }

    /// One figure.
    pub(crate) fn ask(&mut self, what: &str) -> Result<f64, String> {
        let mut line = String::new();
        writeln!(self.asks, "{what}")
            .and_then(|()| self.answers.read_line(&mut line))
            .map_err(|error| format!("Python: {error}"))?;
        line.trim()
            .parse()
            .map_err(|_| format!("Python answered {line:?}"))
    }
}

impl Drop for Python {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Beside the programs that cargo built: `target/interop-venv`.
fn venv() -> Option<PathBuf> {
    let this = std::env::current_exe().ok()?;
    let target = this.ancestors().nth(2)?;
    let python = target.join("interop-venv/bin/python");
    python.exists().then_some(python)
}
