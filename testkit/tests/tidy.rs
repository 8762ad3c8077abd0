//! What no compiler checks of the sources.
#![allow(clippy::unwrap_used, reason = "helpers of a test may panic")]

use std::{
    fs,
    path::{Path, PathBuf},
};

fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .unwrap()
        .to_path_buf()
}

fn sources(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(sources(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
    found
}

/// Proves: R29.
#[test]
fn every_crate_forbids_unsafe_code() {
    let mut crates = 0;
    for entry in fs::read_dir(workspace()).unwrap() {
        let root = entry.unwrap().path().join("src/lib.rs");
        if let Ok(text) = fs::read_to_string(&root) {
            assert!(text.contains("#![forbid(unsafe_code)]"), "{}", root.display());
            crates += 1;
        }
    }
    assert!(crates >= 7, "only {crates} crates");
}

/// Ages come of a monotonic clock, so a wall clock that is set makes no entry younger or older.
///
/// Proves: 39, 40, R30.
#[test]
fn no_age_is_read_from_the_wall_clock() {
    let core = sources(&workspace().join("core/src"));
    assert!(core.len() > 40, "only {} files", core.len());
    for path in core {
        let text = fs::read_to_string(&path).unwrap();
        for wall_clock in ["SystemTime", "UNIX_EPOCH"] {
            assert!(
                !text.contains(wall_clock),
                "{} names {wall_clock}",
                path.display()
            );
        }
    }
}

/// Proves: R28.
#[test]
fn the_testkit_opens_no_port_to_the_world() {
    let files = sources(&workspace().join("testkit/src"));
    assert!(files.len() > 40, "only {} files", files.len());
    for path in files {
        let text = fs::read_to_string(&path).unwrap();
        // Its own tests say what it refuses.
        let text = text.split("mod tests {").next().unwrap();
        for everybody in ["UNSPECIFIED", "0.0.0.0", "[::]"] {
            assert!(!text.contains(everybody), "{} names {everybody}", path.display());
        }
    }
}
