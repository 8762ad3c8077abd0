//! What calls cost over a broker, beside the bare libraries and other clients: by the program `transports`.

use std::process::Command;

use crate::{Rows, children};

pub(crate) fn rows() -> Rows {
    let transports = children::sibling("transports")?;
    children::rows_of(Command::new(transports).arg("rows"))
}
