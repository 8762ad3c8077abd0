//! The rows as text: on the terminal, and as a table in `benches/README.md`.

use std::{io, process::Command};

use nameko_cachetools_benches::{Row, renew};

use crate::{chart, children};

/// The columns' names.
pub(crate) fn head() {
    println!(
        "{:<62} {:>11} {:>11} {:>8} {:>16} {:>7}",
        "", "ours", "peer", "value", "target (goal)", "noise"
    );
}

/// Draws the chart, and renews the table.
pub(crate) fn write(rows: &[Row]) -> io::Result<()> {
    let package = children::package();
    std::fs::write(package.join("compare.svg"), chart::draw(rows))?;
    renew(&package.join("README.md"), "compare", &table(rows))
}

fn table(rows: &[Row]) -> String {
    let mut text = format!(
        "{}.\n\n| | ours | peer | value | target (goal) | noise | |\n|---|---:|---:|---:|---:|---:|---|\n",
        machine()
    );
    for row in rows {
        text += &format!("| {} |\n", row.cells().join(" | "));
    }
    text
}

/// Where it was measured, and by which compiler.
fn machine() -> String {
    let file = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let cpu = file("/proc/cpuinfo");
    let cpu = cpu
        .lines()
        .find_map(|line| line.strip_prefix("model name")?.split_once(':'))
        .map_or("an unknown processor", |(_, name)| name.trim());
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let kernel = file("/proc/sys/kernel/osrelease");
    let rustc = Command::new("rustc").arg("--version").output();
    let rustc = rustc.map_or_else(
        |_| String::new(),
        |output| String::from_utf8_lossy(&output.stdout).into_owned(),
    );
    format!(
        "Measured on {cpu}, {cores} cores, Linux {}, by {}",
        kernel.trim(),
        rustc.trim()
    )
}
