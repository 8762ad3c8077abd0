//! A file of core imports only from lower floors. ARCHITECTURE.md has the reasons.
#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of a test may panic")]

use std::{collections::BTreeMap, fs, path::Path};

/// Module and floor. A folder's files stand on their folder's floor and may import each other.
const FLOORS: &[(&str, u8)] = &[
    ("args", 0),
    ("clock", 0),
    ("queue", 0),
    ("route", 0),
    ("striped", 0),
    ("sync", 0),
    ("types", 0),
    ("adaptive", 1),
    ("breaker", 1),
    ("context", 1),
    ("entry", 1),
    ("error", 1),
    ("message", 1),
    ("directives", 2),
    ("events", 2),
    ("key", 2),
    ("options", 2),
    ("outcome", 2),
    ("policy", 2),
    ("transport", 2),
    ("wire", 2),
    ("backoff", 3),
    ("invalidate", 3),
    ("limits", 3),
    ("negative", 3),
    ("stats", 3),
    ("store", 3),
    ("client", 4),
    ("methods", 4),
    ("flight", 4),
    ("cache", 5),
    ("decision", 5),
    ("engine", 6),
    ("explain", 7),
    ("plain", 7),
    ("driver", 8),
    ("builder", 9),
    ("call", 9),
    ("proxy", 10),
];

#[test]
fn imports_go_down() {
    let floors: BTreeMap<_, _> = FLOORS.iter().copied().collect();
    let mut seen = 0;
    for (module, path) in sources(Path::new(env!("CARGO_MANIFEST_DIR")).join("src").as_path()) {
        if module == "lib" || module == "guide" {
            continue;
        }
        let floor = *floors
            .get(module.as_str())
            .unwrap_or_else(|| panic!("{module}: which floor does it stand on?"));
        let text = fs::read_to_string(&path).unwrap();
        let code = text.split("#[cfg(test)]\nmod tests").next().unwrap();
        for imported in imports(code) {
            let Some(below) = floors.get(imported.as_str()) else {
                continue;
            };
            assert!(
                imported == module || *below < floor,
                "{module} (floor {floor}) imports {imported} (floor {below})"
            );
            seen += usize::from(imported != module);
        }
    }
    assert!(
        seen > 50,
        "only {seen} imports seen: does this test still read them?"
    );
}

/// Every source file with the top-level module it belongs to; test-only files aside.
fn sources(src: &Path) -> Vec<(String, std::path::PathBuf)> {
    let mut found = Vec::new();
    for entry in fs::read_dir(src).unwrap() {
        let path = entry.unwrap().path();
        let module = path.file_stem().unwrap().to_str().unwrap().to_owned();
        if path.is_dir() {
            found.extend(sources(&path).into_iter().map(|(_, file)| (module.clone(), file)));
        } else if path.extension().is_some_and(|e| e == "rs") && module != "tests" {
            found.push((module, path));
        }
    }
    found
}

/// The top-level modules named after `crate::`, also within braces, outside comments.
fn imports(code: &str) -> Vec<String> {
    let code: String = code
        .lines()
        .filter(|line| !line.trim_start().starts_with("//"))
        .collect::<Vec<_>>()
        .join("\n");
    let mut found = Vec::new();
    for (at, _) in code.match_indices("crate::") {
        if code[..at].ends_with('$') {
            continue; // in a macro: what its users import
        }
        let rest = &code[at + "crate::".len()..];
        let list = match rest.strip_prefix('{') {
            Some(braced) => top_level(braced),
            None => vec![
                rest.split(|c: char| !(c.is_alphanumeric() || c == '_'))
                    .next()
                    .unwrap()
                    .to_owned(),
            ],
        };
        found.extend(list);
    }
    found
}

/// First words of the items in `a::{..}, b, c::d}`, up to the brace that closes the list.
fn top_level(braced: &str) -> Vec<String> {
    let (mut depth, mut items, mut item) = (0, Vec::new(), String::new());
    for c in braced.chars() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            ',' if depth == 0 => items.push(std::mem::take(&mut item)),
            _ if depth == 0 => item.push(c),
            _ => {}
        }
    }
    items.push(item);
    items
        .iter()
        .map(|item| item.trim().split("::").next().unwrap().to_owned())
        .filter(|item| !item.is_empty())
        .collect()
}
