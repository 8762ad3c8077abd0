//! The command line.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

/// What was asked for.
#[derive(Debug, PartialEq)]
pub(crate) struct Options {
    pub(crate) script: String,
    pub(crate) address: SocketAddr,
    pub(crate) is_quiet: bool,
}

#[derive(Debug, PartialEq)]
pub(crate) enum Parsed {
    Options(Options),
    Help,
}

pub(crate) const HELP: &str = "\
usage: fake-nameko --script FILE [--port PORT] [--host ADDRESS] [--quiet]

A fake RabbitMQ with nameko services that answer by a script. It prints READY and its URI when it listens, and what
happens on standard error; ended by Ctrl-C or SIGTERM, it reports calls that the script doesn't know and calls that it
expected.
Exit status: 0, 1 if there was something to report, 2 if it can't start.

  --script FILE    TOML, see below
  --port PORT      default: 5673; 0 for any free one
  --host ADDRESS   default: 127.0.0.1. Others than loopback ones need --i-know: whoever reaches it needs no password
  --quiet          only READY and the report

    seed = 7                            # of drawn latencies
    rpc_exchange = \"nameko-rpc\"         # nameko's

    [[on]]                              # the first rule that matches answers
    call = \"products.get\"
    args = [\"the_odyssey\"]              # left out: any; likewise kwargs
    kwargs = { currency = \"EUR\" }
    context = { language = \"sv\" }
    expect = 1                          # calls; left out: any number
    after_ms = 20                       # or [20, 50]: drawn evenly
    reply = { title = \"The Odyssey\" }

    [[on]]
    call = \"products.get\"
    error = { type = \"NotFound\", text = \"no such product\" }

    [[on]]
    call = \"stock.level\"
    sequence = [{ reply = 3 }, { error = { type = \"Timeout\", text = \"db\" } }, { fault = \"never\" }]

fault is one of: never, unknown_service, nack, disconnect.
";

impl Options {
    pub(crate) fn parse(words: impl Iterator<Item = String>) -> Result<Parsed, String> {
        let (mut script, mut port, mut host) = (None, 5673, IpAddr::V4(Ipv4Addr::LOCALHOST));
        let (mut is_quiet, mut i_know, mut words) = (false, false, words);
        while let Some(word) = words.next() {
            let mut value = || words.next().ok_or_else(|| format!("{word} needs a value"));
            match word.as_str() {
                "--help" | "-h" => return Ok(Parsed::Help),
                "--script" => script = Some(value()?),
                "--port" => {
                    port = value()?
                        .parse()
                        .map_err(|_| "--port takes a number up to 65535".to_owned())?
                }
                "--host" => {
                    host = value()?
                        .parse()
                        .map_err(|_| "--host takes an IP address".to_owned())?
                }
                "--quiet" => is_quiet = true,
                "--i-know" => i_know = true,
                other => return Err(format!("{other} is no option")),
            }
        }
        if !host.is_loopback() && !i_know {
            return Err(format!(
                "{host} lets everybody in your network in, without a password; if that is what you want, add --i-know"
            ));
        }
        Ok(Parsed::Options(Self {
            script: script.ok_or("--script is missing")?,
            address: (host, port).into(),
            is_quiet,
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Parsed, String> {
        Options::parse(line.split_whitespace().map(str::to_owned))
    }

    #[test]
    fn loopback_is_the_default_and_the_rest_needs_a_word() {
        let Ok(Parsed::Options(options)) = parse("--script s.toml") else {
            panic!("no options")
        };
        assert_eq!(options.address.to_string(), "127.0.0.1:5673");
        assert!(
            parse("--script s.toml --host 0.0.0.0")
                .unwrap_err()
                .contains("--i-know")
        );
        assert!(parse("--script s.toml --host 0.0.0.0 --i-know --port 0").is_ok());
        assert!(parse("--script s.toml --host ::1").is_ok());
    }

    #[test]
    fn mistakes_are_named() {
        assert_eq!(parse("").unwrap_err(), "--script is missing");
        assert_eq!(parse("--script").unwrap_err(), "--script needs a value");
        assert_eq!(parse("--scirpt s").unwrap_err(), "--scirpt is no option");
        assert!(parse("--script s --port 70000").unwrap_err().contains("65535"));
        assert_eq!(parse("--help"), Ok(Parsed::Help));
    }
}
