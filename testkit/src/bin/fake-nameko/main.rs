//! A nameko broker and its services from a script, for programs in any language.

mod options;
mod script;

use std::{process::ExitCode, time::Duration};

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
    let script = match script {
        Ok(script) => script,
        Err(mistake) => return refused(&format!("{}: {mistake}", options.script)),
    };
    // A library that can't listen fails its test; a program says so.
    match std::net::TcpListener::bind(options.address) {
        Ok(_) => serve(&options, script).await,
        Err(error) => refused(&format!("can't listen on {}: {error}", options.address)),
    }
}

/// Until Ctrl-C, or SIGTERM; then the report.
async fn serve(options: &Options, script: Script) -> ExitCode {
    let broker = FakeBroker::with_seed(script.seed);
    let listen = Listen::default()
        .address(options.address)
        .rpc_exchange(script.rpc_exchange.as_str());
    script.play_on(&broker, &options.script);
    let wire = broker.serve_with(listen).await;
    let interrupted = interrupted(); // before anybody knows that it runs
    println!("READY {}", wire.uri());
    tokio::select! {
        () = interrupted => {}
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

/// By whom a program is ended, somebody at a terminal or what runs it: from this call on, polled or not.
#[cfg(unix)]
fn interrupted() -> impl Future<Output = ()> {
    use signal::unix::{Signal, SignalKind, signal};
    async fn one(signal: std::io::Result<Signal>) {
        match signal {
            Ok(mut signal) => drop(signal.recv().await),
            Err(_) => std::future::pending().await,
        }
    }
    let [interrupt, terminate] = [SignalKind::interrupt(), SignalKind::terminate()].map(signal);
    async {
        tokio::select! {
            () = one(interrupt) => {}
            () = one(terminate) => {}
        }
    }
}

#[cfg(not(unix))]
async fn interrupted() {
    drop(signal::ctrl_c().await);
}

/// Writes what happens to standard error, as it happens.
async fn tell(broker: &FakeBroker) {
    let mut told = 0;
    loop {
        let lines;
        (lines, told) = broker.timeline_since(told);
        eprint!("{lines}");
        sleep(TOLD_EVERY).await;
    }
}

fn refused(mistake: &str) -> ExitCode {
    eprintln!("fake-nameko: {mistake}\nfake-nameko --help says more");
    ExitCode::from(2)
}

const TOLD_EVERY: Duration = Duration::from_millis(100);
