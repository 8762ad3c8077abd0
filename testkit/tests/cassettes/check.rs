use std::{
    fs,
    process::{Command, Output},
};

use nameko_cachetools_testkit::cassette::Cassette;

const HEADER: &str = r#"{"cassette": 1, "blank": "<redacted>"}"#;
const CALL: &str =
    r#"{"call": "a.b", "args": ["can\"ary"], "kwargs": {"password": "<redacted>"}, "context": {}}"#;
const LEAK: &str = r#"{"ms": 1, "result": [{"api_key": "k"}, {"token": null}]}"#;

/// Writes a cassette, and does something with its path.
fn with_file<T>(name: &str, lines: &[&str], run: impl FnOnce(&str) -> T) -> T {
    let path = std::env::temp_dir().join(format!("nameko-check-{}-{name}.jsonl", std::process::id()));
    fs::write(&path, lines.join("\n")).unwrap();
    let outcome = run(path.to_str().unwrap());
    fs::remove_file(&path).unwrap();
    outcome
}

fn checked(secrets: &str, files: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_nameko-cassette"))
        .env("CASSETTE_SECRETS", secrets)
        .arg("check")
        .args(files)
        .output()
        .unwrap()
}

#[test]
fn secrets_are_found_as_they_are_and_as_json_writes_them() {
    let cassette = with_file("plain", &[HEADER, CALL, LEAK], |path| {
        Cassette::load(path).unwrap()
    });
    let leaks = cassette
        .check(["can\"ary", "", "nowhere"])
        .unwrap_err()
        .to_string();
    let expected = "secret 1 is on line 2\nmember \"api_key\" on line 3 is not redacted";
    assert_eq!(leaks, expected);
    assert!(!leaks.contains("can\"ary"));
}

#[test]
fn the_program_says_which_file_and_fails() {
    let clean = [HEADER, CALL, r#"{"ms": 1, "result": 1}"#];
    with_file("clean", &clean, |clean| {
        let output = checked("", &[clean]);
        assert!(output.status.success(), "{output:?}");
        with_file("leaking", &[HEADER, CALL, LEAK], |leaking| {
            let output = checked("nowhere\ncan\"ary", &[clean, leaking]);
            let told = String::from_utf8_lossy(&output.stdout).into_owned();
            assert_eq!(output.status.code(), Some(1), "{told}");
            assert!(
                told.contains("secret 2 is on line 2") && told.contains("api_key"),
                "{told}"
            );
        });
    });
    assert_eq!(checked("", &["no such file"]).status.code(), Some(2));
    assert_eq!(checked("", &[]).status.code(), Some(2));
}

/// Else a file could end the program that looks into it.
#[test]
fn what_is_nested_too_deep_is_a_finding() {
    let deep = format!(
        "{{\"ms\": 1, \"result\": {}{}}}",
        "[".repeat(50_000),
        "]".repeat(50_000)
    );
    let leaks = with_file("deep", &[HEADER, CALL, &deep], |path| {
        Cassette::load(path).unwrap().check([""; 0])
    });
    assert_eq!(
        leaks.unwrap_err().to_string(),
        "line 3 is nested too deep to look for members"
    );
}
