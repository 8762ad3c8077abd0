//! A dialogue between raw clients and a broker, and its transcript.

use std::{collections::BTreeMap, time::Duration};

use nameko_cachetools_testkit::wire::RawClient;
use tokio::time::{Instant, sleep};

/// One line per command, as [`RawClient::say`] takes it, behind the letter of the connection that says it; or
/// `sleep MS`. `$` stands for the dialogue's name.
pub(crate) struct Dialogue {
    pub(crate) name: &'static str,
    pub(crate) text: &'static str,
}

/// What was said, and what was heard before the next thing was said.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Step {
    said: String,
    heard: Vec<String>,
}

impl Dialogue {
    /// Plays it. A step is over when what was said has been answered, and when as much has come as in `expected`, or a
    /// long while later.
    pub(crate) async fn play(&self, uri: &str, expected: Option<&[Step]>) -> Vec<Step> {
        let (mut clients, mut steps) = (BTreeMap::<&str, RawClient>::new(), Vec::new());
        let lines = self.text.lines().map(str::trim).filter(|line| !line.is_empty());
        for (index, line) in lines.enumerate() {
            let (who, command) = line.split_once(' ').unwrap();
            let command = command.replace('$', self.name);
            let mut heard = Vec::new();
            if who == "sleep" {
                sleep(Duration::from_millis(command.parse().unwrap())).await;
            } else {
                if !clients.contains_key(who) {
                    clients.insert(who, RawClient::connect(uri).await.unwrap());
                }
                let client = clients.get_mut(who).unwrap();
                client.say(&command).await;
                if answered(client, who, &command, &mut heard).await {
                    clients.remove(who);
                }
            }
            let count = expected
                .and_then(|steps| steps.get(index))
                .map_or(0, |step| step.heard.len());
            listen(&mut clients, count, &mut heard).await;
            steps.push(Step {
                said: line.to_owned(),
                heard: ordered(heard),
            });
        }
        steps
    }
}

/// Listens until what was told is done, and says whether the connection has ended: a channel answers what it is asked
/// next.
async fn answered(client: &mut RawClient, who: &str, command: &str, heard: &mut Vec<String>) -> bool {
    let (channel, name) = command.split_once(' ').unwrap();
    let mark = match name {
        "channel.close-ok" => return false,
        "channel.close" => format!("{channel} channel.close-ok"),
        "connection.close" => "connection.close-ok".to_owned(),
        "connection.close-ok" => "the end".to_owned(),
        _ => {
            client.say(&format!("{channel} channel.flow")).await;
            format!("{channel} channel.flow-ok true")
        }
    };
    loop {
        let line = client.hear().await;
        let has_ended = ["closed", "reset"].contains(&line.as_str());
        let is_over = line == mark
            || line.starts_with(&format!("{channel} channel.close "))
            || line.starts_with("connection.close ");
        if line == "silence" {
            return false;
        }
        if !line.contains("channel.flow-ok") {
            heard.push(format!("{who} {}", normal(&line)));
        }
        if is_over || has_ended {
            return has_ended;
        }
    }
}

async fn listen(clients: &mut BTreeMap<&str, RawClient>, count: usize, heard: &mut Vec<String>) {
    let start = Instant::now();
    loop {
        let before = heard.len();
        let mut ended = Vec::new();
        for (who, client) in clients.iter_mut() {
            loop {
                match client.hear_within(QUIET).await.as_str() {
                    "silence" => break,
                    "heartbeat" => {}
                    end @ ("closed" | "reset") => {
                        heard.push(format!("{who} {end}"));
                        ended.push(*who);
                        break;
                    }
                    line => heard.push(format!("{who} {}", normal(line))),
                }
            }
        }
        for who in ended {
            clients.remove(who);
        }
        if heard.len() == before && (heard.len() >= count || start.elapsed() > LONGEST) {
            return;
        }
    }
}

/// Without what no two brokers have in common: names that the broker gives.
fn normal(line: &str) -> String {
    let words = line.split(' ').map(|word| match word {
        name if name.starts_with("amq.gen-") => "amq.gen-..",
        name if name.starts_with("amq.ctag-") => "amq.ctag-..",
        word => word,
    });
    words.collect::<Vec<_>>().join(" ")
}

/// Confirms overtake deliveries and come in batches, as they like, and so do cancellations: what counts is which
/// messages are confirmed, and who is cancelled.
fn ordered(heard: Vec<String>) -> Vec<String> {
    let is = |name: &'static str| move |line: &String| line.contains(name);
    let (acks, rest): (Vec<String>, Vec<String>) = heard.into_iter().partition(is(" basic.ack "));
    let (cancelled, mut rest): (Vec<String>, Vec<String>) = rest.into_iter().partition(is(" basic.cancel "));
    let mut highest = BTreeMap::<String, u64>::new();
    for ack in &acks {
        let (channel, number) = ack.split_once(" basic.ack ").unwrap();
        let number: u64 = number.split(' ').next().unwrap().parse().unwrap();
        let last = highest.entry(channel.to_owned()).or_default();
        *last = number.max(*last);
    }
    rest.extend(cancelled);
    rest.extend(
        highest
            .into_iter()
            .map(|(channel, last)| format!("{channel} confirmed up to {last}")),
    );
    rest
}

/// How long a step waits for more.
const QUIET: Duration = Duration::from_millis(30);
/// How long it waits for what must come, on a busy machine.
const LONGEST: Duration = Duration::from_secs(5);
