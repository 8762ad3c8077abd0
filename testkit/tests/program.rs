//! The program `fake-nameko`, as somebody runs it.
#![allow(clippy::expect_used, clippy::unwrap_used, reason = "tests")]

use std::{path::PathBuf, process::Stdio, time::Duration};

use nameko_cachetools_testkit::wire::RawClient;
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, BufReader},
    process::{Child, Command},
    time::timeout,
};

const SCRIPT: &str = r#"
[[on]]
call = "stock.level"
args = ["A1"]
expect = 2
sequence = [{ reply = 3 }, { error = { type = "Timeout", text = "db" } }]
"#;

#[tokio::test]
async fn it_answers_by_its_script_and_reports_at_the_end() {
    let (mut program, uri) = started("answers").await;
    let mut client = RawClient::consumer(&uri, "replies").await.unwrap();
    client.say("1 queue.bind replies nameko-rpc me").await;
    client.hear().await;
    let mut replies = Vec::new();
    for _ in 0..2 {
        client
            .call(1, "stock.level", "me", r#"{"args": ["A1"], "kwargs": {}}"#)
            .await;
        let [deliver, _, body] = [client.hear().await, client.hear().await, client.hear().await];
        assert!(deliver.starts_with("1 basic.deliver"), "{deliver}");
        replies.push(body);
    }
    assert_eq!(replies[0], r#"1 body {"result": 3, "error": null}"#);
    assert!(replies[1].contains(r#""exc_type": "Timeout""#), "{}", replies[1]);

    signal(&program, "-INT"); // Ctrl-C
    let ended = timeout(LIMIT, program.wait()).await.unwrap().unwrap();
    assert!(ended.success(), "{ended}");
}

#[tokio::test]
async fn it_fails_when_the_script_was_not_followed() {
    let (mut program, _) = started("unfollowed").await;
    signal(&program, "-TERM"); // as what runs it ends it
    let ended = timeout(LIMIT, program.wait()).await.unwrap().unwrap();
    let mut said = String::new();
    program
        .stderr
        .take()
        .unwrap()
        .read_to_string(&mut said)
        .await
        .unwrap();
    assert_eq!(ended.code(), Some(1));
    assert!(said.contains("expected exactly 2 calls, saw none"), "{said}");
}

#[tokio::test]
async fn it_listens_on_loopback_only_unless_told() {
    let output = Command::new(env!("CARGO_BIN_EXE_fake-nameko"))
        .args(["--script", "s.toml", "--host", "0.0.0.0"])
        .output();
    let output = timeout(LIMIT, output).await.unwrap().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("--i-know"));
}

#[tokio::test]
async fn a_port_that_is_taken_is_a_mistake_and_no_crash() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let script = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("taken.toml");
    std::fs::write(&script, SCRIPT).unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_fake-nameko"))
        .arg("--script")
        .arg(script)
        .args(["--port", &port])
        .output();
    let output = timeout(LIMIT, output).await.unwrap().unwrap();
    assert_eq!(output.status.code(), Some(2));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(
        said.contains(&format!("can't listen on 127.0.0.1:{port}")),
        "{said}"
    );
}

/// The program, listening, and where.
async fn started(name: &str) -> (Child, String) {
    let script = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}.toml"));
    std::fs::write(&script, SCRIPT).unwrap();
    let mut program = Command::new(env!("CARGO_BIN_EXE_fake-nameko"))
        .arg("--script")
        .arg(script)
        .args(["--port", "0", "--quiet"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(program.stdout.take().unwrap()).lines();
    let ready = timeout(LIMIT, lines.next_line())
        .await
        .unwrap()
        .unwrap()
        .expect("a line");
    (program, ready.strip_prefix("READY ").expect("READY").to_owned())
}

fn signal(program: &Child, signal: &str) {
    let id = program.id().expect("it runs").to_string();
    let sent = std::process::Command::new("kill")
        .args([signal, &id])
        .status()
        .unwrap();
    assert!(sent.success());
}

const LIMIT: Duration = Duration::from_secs(30);
