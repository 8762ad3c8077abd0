//! Parts of Markdown files that programs write.

use std::{io, path::Path};

/// Replaces what stands between `<!-- begin NAME -->` and `<!-- end NAME -->` in a file.
///
/// # Errors
/// If the file can't be read or written, or has no such part.
pub fn renew(file: &Path, name: &str, part: &str) -> io::Result<()> {
    let text = std::fs::read_to_string(file)?;
    let (begin, end) = (format!("<!-- begin {name} -->\n"), format!("<!-- end {name} -->"));
    let between = text.split_once(&begin).and_then(|(before, rest)| {
        let (_, after) = rest.split_once(&end)?;
        Some((before, after))
    });
    let Some((before, after)) = between else {
        return Err(io::Error::other(format!("{} has no part {name}", file.display())));
    };
    std::fs::write(file, format!("{before}{begin}\n{part}\n{end}{after}"))
}
