//! `statements.md` against the tests: each statement is proven by a test that carries its number, or says why not yet.
#![allow(clippy::unwrap_used, reason = "helpers of a test may panic")]

use std::{
    collections::{BTreeMap, BTreeSet},
    env, fs,
    path::{Path, PathBuf},
};

/// By the numbers of statements: the tests that carry them.
type Proofs = BTreeMap<String, BTreeSet<String>>;

/// One statement of the list: its number, its text, and what it says of its tests.
#[derive(Debug, PartialEq)]
struct Statement {
    number: String,
    text: String,
    not_yet: Option<String>,
    tests: Option<String>,
}

#[test]
fn every_statement_has_its_test_or_the_reason_why_not() {
    let path = workspace().join("testkit/tests/statements.md");
    let (list, proofs) = (fs::read_to_string(&path).unwrap(), proofs());
    let statements = statements(&list);

    let numbers: BTreeSet<_> = statements.iter().map(|s| s.number.clone()).collect();
    assert_eq!(numbers, expected(), "the list has all numbers");
    let unknown: Vec<_> = proofs
        .keys()
        .filter(|number| !numbers.contains(*number))
        .collect();
    assert!(
        unknown.is_empty(),
        "tests prove what is not in the list: {unknown:?}"
    );
    let missing: Vec<_> = statements
        .iter()
        .filter(|s| s.not_yet.is_some() == proofs.contains_key(&s.number))
        .map(|s| &s.number)
        .collect();
    assert!(
        missing.is_empty(),
        "each needs a test that carries its number, or the reason why it has none, and not both: {missing:?}"
    );

    let right = rendered(&list, &proofs);
    if env::var_os("STATEMENTS").is_some_and(|how| how == "write") {
        fs::write(path, right).unwrap();
    } else {
        assert!(
            list == right,
            "statements.md names other tests than there are. Write it anew: \
             STATEMENTS=write cargo test -p nameko-cachetools-testkit --test statements"
        );
    }
}

/// 83 statements, and the invariants of keys, stores, calls, transports and security.
fn expected() -> BTreeSet<String> {
    [("", 83), ("K", 12), ("S", 12), ("E", 17), ("T", 15), ("R", 30)]
        .into_iter()
        .flat_map(|(kind, last)| (1..=last).map(move |number| format!("{kind}{number}")))
        .collect()
}

/// `- **12** Text.`, then lines that are indented: more text, `Not yet: reason`, `Tests: ..`.
fn statements(list: &str) -> Vec<Statement> {
    let mut found: Vec<Statement> = Vec::new();
    for line in list.lines() {
        if let Some((number, text)) = line.strip_prefix("- **").and_then(|rest| rest.split_once("** ")) {
            found.push(Statement {
                number: number.to_owned(),
                text: text.to_owned(),
                not_yet: None,
                tests: None,
            });
        } else if let (Some(more), Some(last)) = (line.strip_prefix("  "), found.last_mut()) {
            let Statement {
                text, not_yet, tests, ..
            } = last;
            if let Some(reason) = more.strip_prefix("Not yet: ") {
                *not_yet = Some(reason.to_owned());
            } else if let Some(named) = more.strip_prefix("Tests: ") {
                *tests = Some(named.to_owned());
            } else {
                let part = tests.as_mut().or(not_yet.as_mut()).unwrap_or(text);
                *part += " ";
                *part += more;
            }
        }
    }
    found
}

/// The list with the tests that there are. What is no statement stays as it is.
fn rendered(list: &str, proofs: &Proofs) -> String {
    let mut statements = statements(list).into_iter();
    let mut text = String::new();
    for line in list.lines() {
        if line.starts_with("- **") {
            let statement = statements.next().unwrap();
            text += &wrapped(&format!("- **{}** ", statement.number), &statement.text);
            if let Some(reason) = statement.not_yet {
                text += &wrapped("  Not yet: ", &reason);
            }
            if let Some(tests) = proofs.get(&statement.number) {
                let tests: Vec<_> = tests.iter().map(|test| format!("`{test}`")).collect();
                text += &wrapped("  Tests: ", &tests.join(", "));
            }
        } else if !line.starts_with("  ") {
            text += line;
            text += "\n";
        }
    }
    text
}

/// Lines of 120 characters; all but the first are indented by two.
fn wrapped(first: &str, text: &str) -> String {
    let (mut lines, mut line) = (String::new(), first.trim_end().to_owned());
    for word in text.split_whitespace() {
        if line.chars().count() + 1 + word.chars().count() > 120 {
            lines += &line;
            lines += "\n";
            line = " ".to_owned();
        }
        line += " ";
        line += word;
    }
    lines + &line + "\n"
}

/// What the workspace's tests say that they prove: lines `/// Proves: 12, E6.` above functions.
fn proofs() -> Proofs {
    let mut proofs = Proofs::new();
    for path in sources(&workspace()) {
        let mut claimed: Vec<String> = Vec::new();
        for line in fs::read_to_string(&path).unwrap().lines().map(str::trim) {
            if let Some(numbers) = line.strip_prefix("/// Proves: ") {
                claimed.extend(numbers.trim_end_matches('.').split(", ").map(str::to_owned));
            } else if let Some((_, rest)) = line.split_once("fn ").filter(|_| !line.starts_with("//")) {
                let name = rest.split(['(', '<']).next().unwrap();
                for number in claimed.drain(..) {
                    let tests = proofs.entry(number).or_default();
                    tests.insert(format!("{}::{name}", module(&path)));
                }
            }
        }
        assert!(
            claimed.is_empty(),
            "{}: {claimed:?} by which test?",
            path.display()
        );
    }
    assert!(proofs.len() > 100, "only {} statements are claimed", proofs.len());
    proofs
}

/// The last two names of its path that say something: `engine/flight`, `core/entry`.
fn module(path: &Path) -> String {
    let path = path.strip_prefix(workspace()).unwrap().with_extension("");
    let names: Vec<_> = path
        .iter()
        .map(|name| name.to_string_lossy())
        .filter(|name| !["src", "tests", "examples", "mod", "main", "lib"].contains(&name.as_ref()))
        .collect();
    names[names.len().saturating_sub(2)..].join("/")
}

fn sources(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if path.is_dir() && name != "target" && !name.starts_with('.') {
            found.extend(sources(&path));
        } else if name.ends_with(".rs") && name != "statements.rs" {
            found.push(path);
        }
    }
    found
}

fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .unwrap()
        .to_path_buf()
}
