//! Other programs that measure: built, run, and asked for their rows.

use std::{
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use nameko_cachetools_benches::Row;

/// This package's folder.
pub(crate) fn package() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn cargo() -> Command {
    Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
}

/// Builds another program of this package, and says where it is: beside this one.
pub(crate) fn sibling(name: &str) -> Result<PathBuf, String> {
    let built = cargo()
        .args([
            "build",
            "--quiet",
            "--release",
            "--locked",
            "--bin",
            name,
            "--manifest-path",
        ])
        .arg(package().join("Cargo.toml"))
        .status();
    match (built, std::env::current_exe()) {
        (Ok(status), Ok(this)) if status.success() => Ok(this.with_file_name(name)),
        _ => Err(format!("`{name}` could not be built")),
    }
}

/// Builds and runs the package in `peers`, which takes what needs a newer Rust than we do.
pub(crate) fn run_peers(subset: &str) -> Result<Vec<Row>, String> {
    let manifest = package().join("peers/Cargo.toml");
    let mut run = cargo();
    run.args(["run", "--quiet", "--release", "--locked", "--manifest-path"])
        .arg(manifest)
        .args(["--", subset]);
    rows_of(&mut run).map_err(|why| format!("the peers: {why}"))
}

/// The rows that a program prints.
pub(crate) fn rows_of(command: &mut Command) -> Result<Vec<Row>, String> {
    let output = command
        .stderr(Stdio::inherit())
        .output()
        .map_err(|error| error.to_string())?;
    if !output.status.success() {
        return Err(format!("it ended with {}", output.status));
    }
    let text = String::from_utf8_lossy(&output.stdout);
    Ok(text.lines().filter_map(Row::decode).collect())
}
