//! `nameko-cassette check FILE..`: whether recorded cassettes hold secrets.
//!
//! Secrets to look for are in the environment variable `CASSETTE_SECRETS`, one a line: on a command line everybody on
//! the machine could read them.
#![forbid(unsafe_code)]

use std::{env, process::ExitCode};

use nameko_cachetools_testkit::cassette::Cassette;

const USAGE: &str = "usage: nameko-cassette check FILE..
Looks for members that are named like secrets and not redacted, and for the lines of $CASSETTE_SECRETS.";

fn main() -> ExitCode {
    let args: Vec<String> = env::args().skip(1).collect();
    match args.split_first() {
        Some((command, files)) if command == "check" && !files.is_empty() => check(files),
        _ => {
            eprintln!("{USAGE}");
            ExitCode::from(2)
        }
    }
}

fn check(files: &[String]) -> ExitCode {
    let secrets = env::var("CASSETTE_SECRETS").unwrap_or_default();
    let mut code = ExitCode::SUCCESS;
    for file in files {
        match Cassette::load(file).map(|cassette| cassette.check(secrets.lines())) {
            Ok(Ok(())) => println!("{file}: nothing found"),
            Ok(Err(leaks)) => {
                println!("{file}:\n{leaks}");
                code = ExitCode::FAILURE;
            }
            Err(error) => {
                eprintln!("{error}");
                return ExitCode::from(2);
            }
        }
    }
    code
}
