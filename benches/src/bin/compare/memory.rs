//! What entries take, and what hits allocate: by the program `memory`, which counts allocations and therefore measures no
//! time.

use std::process::Command;

use nameko_cachetools_benches::Row;

use crate::{Rows, children, python::Python};

pub(crate) fn rows() -> Rows {
    let memory = children::sibling("memory")?;
    let mut rows = children::rows_of(&mut Command::new(&memory))?;
    let object = Command::new(&memory).arg("object").output();
    let ours = object
        .ok()
        .and_then(|output| String::from_utf8(output.stdout).ok()?.trim().parse().ok());
    let (Some(ours), Ok(mut python)) = (ours, Python::start()) else {
        println!("SKIPPED memory of an object, against Python: there is no environment of `interop`");
        return Ok(rows);
    };
    let theirs = python.ask("memory 10000")?;
    rows.push(
        Row::ratio(
            "memory per entry of a 215 B object, against Python",
            "B",
            (ours, theirs),
        )
        .target(0.5, 0.3),
    );
    Ok(rows)
}
