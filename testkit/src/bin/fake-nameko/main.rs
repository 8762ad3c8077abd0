//! A nameko broker and its services from a script, for programs in any language.

mod options;
mod script;

use std::{future::pending, process::ExitCode, time::Duration};

use nameko_cachetools_testkit::{FakeBroker, wire::Listen};
use options::{HELP, Options, Parsed};
use script::Script;
use tokio::{signal, time::sleep};

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let options = match Options::parse(std::env::args().skip(1)) {
        Ok(Parsed::Options(options)) => options,
        Ok(Parsed::Help) => {
            print!("{HELP}");
            return ExitCode::SUCCESS;
        }
        Err(mistake) => return refused(&mistake),
    };
    let script = match std::fs::read_to_string(&options.script) {
        Ok(text) => Script::parse(&text),
        Err(error) => Err(error.to_string()),
    };
    match script {
        Ok(script) => serve(&options, script).await,
        Err(mistake) => refused(&format!("{}: {mistake}", options.script)),
    }
}

/// Until Ctrl-C; then the report.
async fn serve(options: &Options, script: Script) -> ExitCode {
    let broker = FakeBroker::with_seed(script.seed);
    let listen = Listen::default()
        .address(options.address)
        .rpc_exchange(script.rpc_exchange.as_str());
    script.play_on(&broker);
    let wire = broker.serve_with(listen).await;
    println!("READY {}", wire.uri());
    tokio::select! {
        _ = signal::ctrl_c() => {}
        () = tell(&broker), if !options.is_quiet => {}
    }
    drop(wire);
    match broker.verify() {
        Ok(()) => ExitCode::SUCCESS,
        Err(violations) => {
            eprintln!("\n{violations}");
            ExitCode::FAILURE
        }
    }
}

/// Writes what happens to standard error, as it happens; until the timeline is full, and forgets.
async fn tell(broker: &FakeBroker) {
    let mut told = 0;
    while told < MOST_TOLD {
        let timeline = broker.timeline();
        for line in timeline.lines().skip(told) {
            eprintln!("{line}");
            told += 1;
        }
        sleep(TOLD_EVERY).await;
    }
    eprintln!("that were {told} lines; nothing more is told");
    pending().await
}

fn refused(mistake: &str) -> ExitCode {
    eprintln!("fake-nameko: {mistake}\nfake-nameko --help says more");
    ExitCode::from(2)
}

/// Well below what a timeline keeps.
const MOST_TOLD: usize = 30_000;
const TOLD_EVERY: Duration = Duration::from_millis(100);
