//! Plants bugs in a copy of the library, one at a time, and has the explorer look for each; for bugs that hide between
//! two locks, core's example `shuttle`.
//!
//! ```sh
//! cargo run --example mutants                     # all of them: some 20 minutes
//! cargo run --example mutants -- "off by one"     # those whose names contain this
//! cargo run --example mutants -- interleaved      # one of the two lists
//! cargo run --example mutants -- --check          # plants none, and says whether all could be: at once
//! ```
//!
//! Nothing of it ever ships: the bugs are texts (`planted.txt`, `interleaved.txt`), put into copies of the files beneath
//! `target/mutants`. A bug counts as found if one of 20,000 schedules breaks an invariant; the last line counts.

use std::{
    env, fs, io,
    path::{Path, PathBuf},
    process::{Command, ExitCode},
};

/// How many schedules may be needed to find a bug: of the explorer, or of each scenario of the scheduler.
const SCHEDULES: &str = "20000";
/// In seconds: far more than that many schedules take. A bug may make a run hang.
const LIMIT: &str = "300";

/// One bug.
struct Mutant {
    name: String,
    file: String,
    original: String,
    planted: String,
    list: List,
}

/// Bugs of one kind, and who finds something wrong in a copy of the library.
#[derive(Clone, Copy)]
struct List {
    name: &'static str,
    text: &'static str,
    finds: fn(&Path) -> Result<bool, String>,
}

const LISTS: [List; 2] = [
    List {
        name: "planted",
        text: include_str!("planted.txt"),
        finds: explorer_finds,
    },
    List {
        name: "interleaved",
        text: include_str!("interleaved.txt"),
        finds: scheduler_finds,
    },
];

fn main() -> ExitCode {
    let wanted = env::args().nth(1).unwrap_or_default();
    let mutants: Vec<_> = LISTS
        .into_iter()
        .flat_map(parsed)
        .filter(|mutant| mutant.list.name == wanted || mutant.name.contains(&wanted))
        .collect();
    if wanted == "--check" {
        return check();
    }
    match look_for(&mutants) {
        Ok(found) => {
            println!("mutants: planted={} found={found}", mutants.len());
            if found == mutants.len() {
                ExitCode::SUCCESS
            } else {
                ExitCode::FAILURE
            }
        }
        Err(error) => {
            eprintln!("{error}");
            ExitCode::from(2)
        }
    }
}

/// Whether every bug's text stands where it should, once.
fn check() -> ExitCode {
    let mutants: Vec<_> = LISTS.into_iter().flat_map(parsed).collect();
    let errors: Vec<_> = mutants
        .iter()
        .filter_map(|mutant| text_of(&workspace(), mutant).err())
        .collect();
    errors.iter().for_each(|error| eprintln!("{error}"));
    println!("mutants: planted={} misplaced={}", mutants.len(), errors.len());
    if errors.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

fn look_for(mutants: &[Mutant]) -> Result<usize, String> {
    let (source, copy) = (workspace(), workspace().join("target/mutants/copy"));
    copy_all(&source, &copy).map_err(|error| format!("{}: {error}", copy.display()))?;
    for list in LISTS {
        if mutants.iter().any(|mutant| mutant.list.name == list.name) && (list.finds)(&copy)? {
            return Err("something is found without any bug planted: see that first".to_owned());
        }
    }
    let mut found = 0;
    for mutant in mutants {
        let is_found = planted(&copy, mutant)?;
        found += usize::from(is_found);
        println!("{}  {}", if is_found { "found " } else { "MISSED" }, mutant.name);
    }
    Ok(found)
}

/// Plants one bug, looks for it, and takes it out again.
fn planted(copy: &Path, mutant: &Mutant) -> Result<bool, String> {
    let path = copy.join(&mutant.file);
    let failed = |error: io::Error| format!("{}: {error}", path.display());
    let text = text_of(copy, mutant)?;
    fs::write(&path, text.replace(&mutant.original, &mutant.planted)).map_err(failed)?;
    let found = (mutant.list.finds)(copy).map_err(|error| format!("\"{}\": {error}", mutant.name));
    fs::write(&path, text).map_err(failed)?;
    found
}

/// The file of one bug, in which its text stands once.
fn text_of(copy: &Path, mutant: &Mutant) -> Result<String, String> {
    let path = copy.join(&mutant.file);
    let text = fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))?;
    if text.matches(&mutant.original).count() == 1 {
        return Ok(text);
    }
    let (name, file) = (&mutant.name, &mutant.file);
    Err(format!("\"{name}\": its text has to stand in {file} once"))
}

fn explorer_finds(copy: &Path) -> Result<bool, String> {
    let cargo = |arguments: &[&str]| {
        let mut command = cargo(copy, "target");
        command
            .args([
                "test",
                "--offline",
                "--package",
                "nameko-cachetools-testkit",
                "--test",
                "explore",
            ])
            .args(arguments)
            .env("CARGO_PROFILE_DEV_OPT_LEVEL", "1")
            .env("CARGO_PROFILE_DEV_DEBUG", "0")
            .env("EXPLORE_COUNT", SCHEDULES);
        command
    };
    built(cargo(&["--no-run"]))?;
    Ok(!ends_well(cargo(&["machine::"]))?)
}

fn scheduler_finds(copy: &Path) -> Result<bool, String> {
    let cargo = |verb: &str, arguments: &[&str]| {
        let mut command = cargo(copy, "shuttle");
        command
            .args([
                verb,
                "--offline",
                "--profile",
                "fast",
                "--package",
                "nameko-cachetools",
                "--example",
                "shuttle",
            ])
            .args(arguments)
            .env("RUSTFLAGS", "--cfg shuttle");
        command
    };
    built(cargo("build", &[]))?;
    Ok(!ends_well(cargo("run", &["--", "--each", SCHEDULES]))?)
}

/// cargo within limits, and with a target folder of its own.
fn cargo(copy: &Path, target: &str) -> Command {
    let mut command = Command::new("timeout");
    command.args([LIMIT, "cargo"]).current_dir(copy).env(
        "CARGO_TARGET_DIR",
        workspace().join("target/mutants").join(target),
    );
    command
}

fn built(mut cargo: Command) -> Result<(), String> {
    let output = cargo.output().map_err(|error| error.to_string())?;
    if output.status.success() {
        return Ok(());
    }
    Err(format!(
        "it does not compile\n{}",
        String::from_utf8_lossy(&output.stderr)
    ))
}

fn ends_well(mut cargo: Command) -> Result<bool, String> {
    let output = cargo.output().map_err(|error| error.to_string())?;
    Ok(output.status.success())
}

/// The files that git knows, and those that it would take in.
fn copy_all(source: &Path, copy: &Path) -> io::Result<()> {
    let listed = Command::new("git")
        .args(["ls-files", "--cached", "--others", "--exclude-standard"])
        .current_dir(source)
        .output()?;
    let listed = String::from_utf8_lossy(&listed.stdout).into_owned();
    forget_others(&copy.join("core/src"), copy, &listed)?;
    for name in listed.lines() {
        let (from, to) = (source.join(name), copy.join(name));
        let Ok(text) = fs::read(&from) else { continue }; // deleted
        if fs::read(&to).is_ok_and(|there| there == text) {
            continue; // cargo builds what is newer
        }
        fs::create_dir_all(to.parent().unwrap_or(copy))?;
        fs::write(to, text)?;
    }
    Ok(())
}

/// What was moved since the last run must not stand at both places.
fn forget_others(folder: &Path, copy: &Path, listed: &str) -> io::Result<()> {
    let Ok(entries) = fs::read_dir(folder) else {
        return Ok(());
    }; // the first run
    for entry in entries {
        let path = entry?.path();
        if path.is_dir() {
            forget_others(&path, copy, listed)?;
        } else if !listed.lines().any(|name| copy.join(name) == path) {
            fs::remove_file(path)?;
        }
    }
    Ok(())
}

fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .map_or_else(PathBuf::new, Path::to_path_buf)
}

fn parsed(list: List) -> Vec<Mutant> {
    let blocks = list
        .text
        .split("\n\n")
        .skip(1)
        .filter(|block| !block.trim().is_empty());
    blocks
        .map(|block| mutant(block.trim_start_matches('\n'), list))
        .collect()
}

fn mutant(block: &str, list: List) -> Mutant {
    let side = |mark: &str| {
        let lines: Vec<_> = block.lines().filter_map(|line| line.strip_prefix(mark)).collect();
        lines.join("\n")
    };
    let mut lines = block.lines().map(str::to_owned);
    Mutant {
        name: lines.next().unwrap_or_default(),
        file: lines.next().unwrap_or_default(),
        original: side("< "),
        planted: side("> "),
        list,
    }
}
