//! Holds what the library costs against targets and peers: `cargo run --release -p nameko-cachetools-benches --bin
//! compare`. Each row is `name ours peer value target noise verdict`; candidates are measured in turn, round by round, in
//! processor time of their thread. It ends with 1 if a row falls short by more than its own noise.
#![forbid(unsafe_code)]
#![allow(clippy::expect_used, reason = "a bench may panic")]

mod calls;
mod chart;
mod children;
mod hit;
mod instructions;
mod key;
mod memory;
mod peers;
mod python;
mod report;
mod stampede;
mod threads;
mod transports;

use nameko_cachetools_benches::Row;

/// What a subset measured; or why it could not.
type Rows = Result<Vec<Row>, String>;

/// A part of the comparison, by its name.
type Subset = (&'static str, fn() -> Rows);

const SUBSETS: &[Subset] = &[
    ("hit", hit::rows),
    ("threads", threads::rows),
    ("key", key::rows),
    ("instructions", instructions::rows),
    ("baseline", instructions::against_baseline),
    ("memory", memory::rows),
    ("calls", calls::rows),
    ("stampede", stampede::rows),
    ("python", python::rows),
    ("transports", transports::rows),
    ("peers", || peers::rows("end_to_end")),
    ("ratio", || peers::rows("ratio")),
];

fn main() {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let (options, wanted): (Vec<&String>, Vec<&String>) =
        words.iter().partition(|word| word.starts_with("--"));
    let known = |name: &str| SUBSETS.iter().any(|(subset, _)| *subset == name);
    if options.iter().any(|option| *option != "--write") || !wanted.iter().all(|name| known(name)) {
        let names: Vec<_> = SUBSETS.iter().map(|(name, _)| *name).collect();
        eprintln!(
            "usage: compare [--write] [SUBSET..]\n\n  --write   draws benches/compare.svg and renews the table of benches/README.md\n\nsubsets: {}",
            names.join(" ")
        );
        std::process::exit(2);
    }
    report::head();
    let mut all = Vec::new();
    for (name, rows) in SUBSETS {
        if !wanted.is_empty() && !wanted.iter().any(|wanted| wanted == name) {
            continue;
        }
        println!("-- {name}");
        match rows() {
            Err(why) => println!("SKIPPED {name}: {why}"),
            Ok(rows) => {
                rows.iter().for_each(|row| println!("{row}"));
                all.extend(rows);
            }
        }
    }
    if !options.is_empty() {
        report::write(&all).expect("files in benches can be written");
    }
    let short = all.iter().filter(|row| row.is_short()).count();
    println!("{} rows, {short} short", all.len());
    std::process::exit(i32::from(short > 0));
}
