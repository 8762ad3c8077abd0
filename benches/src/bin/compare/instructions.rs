//! Instructions per hit, counted by callgrind: the same on any machine, for one compiler. `benches/baseline.txt` has what
//! they were when they were last looked at.

use std::{
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use nameko_cachetools_benches::Row;

use crate::{Rows, children};

/// More than the baseline, by so much, is a step back.
const SLACK: f64 = 1.02;

const TARGETS: [(&str, &str, f64, f64); 3] = [
    ("u64", "(u64)", 420.0, 350.0),
    ("str_u64", "(str, u64)", 600.0, 500.0),
    ("struct6", "struct of 6 fields", 1900.0, 1500.0),
];

/// The counts, held against what they should be.
pub(crate) fn rows() -> Rows {
    let hits = hits()?;
    let (bare, by_hand) = (per_hit(&hits, "bare")?, per_hit(&hits, "by_hand")?);
    println!(
        "(a bare quick_cache takes {bare:.0} for a ready key, and what is written by hand for (u64) {by_hand:.0})"
    );
    let row = |(kind, name, must, goal): (&str, &str, f64, f64)| {
        let counted = per_hit(&hits, kind)?;
        Ok(Row::alone(format!("instructions per hit, {name}"), "", counted).target(must, goal))
    };
    TARGETS.into_iter().map(row).collect()
}

/// The counts, held against those of the baseline.
pub(crate) fn against_baseline() -> Rows {
    let (compiler, baseline) = baseline().ok_or("benches/baseline.txt can't be read")?;
    if rustc().is_none_or(|rustc| rustc != compiler) {
        return Err(format!(
            "the baseline is of {compiler}, and this is another compiler"
        ));
    }
    let hits = hits()?;
    let row = |(kind, name, ..): (&str, &str, f64, f64)| {
        let before = baseline.iter().find(|(of, _)| of == kind);
        let (_, before) = before.ok_or_else(|| format!("the baseline has no {kind}"))?;
        let name = format!("instructions per hit, {name}, against the baseline");
        Ok(Row::ratio(name, "", (per_hit(&hits, kind)?, *before)).target(SLACK, 1.0))
    };
    TARGETS.into_iter().map(row).collect()
}

fn hits() -> Result<PathBuf, String> {
    let found = Command::new("valgrind")
        .arg("--version")
        .stdout(Stdio::null())
        .status();
    if !found.is_ok_and(|status| status.success()) {
        return Err("there is no valgrind".to_owned());
    }
    children::sibling("hits")
}

/// The difference of two runs is without the program's start.
fn per_hit(hits: &Path, kind: &str) -> Result<f64, String> {
    const FEW: u32 = 1_000;
    const MANY: u32 = 11_000;
    let counted = |number| counted(hits, kind, number).ok_or_else(|| format!("callgrind counted no {kind}"));
    Ok((counted(MANY)? - counted(FEW)?) / f64::from(MANY - FEW))
}

fn counted(hits: &Path, kind: &str, number: u32) -> Option<f64> {
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg(hits)
        .args([kind, &number.to_string()])
        .output()
        .ok()?;
    let text = String::from_utf8_lossy(&output.stderr);
    let (_, count) = text.split_once("Collected :")?;
    count.split_whitespace().next()?.parse().ok()
}

/// The compiler that the baseline is of, and the counts by kind.
fn baseline() -> Option<(String, Vec<(String, f64)>)> {
    let text = std::fs::read_to_string(children::package().join("baseline.txt")).ok()?;
    let mut lines = text.lines().filter(|line| !line.starts_with('#'));
    let compiler = lines.next()?.to_owned();
    let counts = lines.filter_map(|line| {
        let (kind, count) = line.split_once(' ')?;
        Some((kind.to_owned(), count.parse().ok()?))
    });
    Some((compiler, counts.collect()))
}

/// As in `rustc 1.95.0`.
fn rustc() -> Option<String> {
    let output = Command::new("rustc").arg("--version").output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    let mut words = text.split_whitespace();
    Some(format!("{} {}", words.next()?, words.next()?))
}
