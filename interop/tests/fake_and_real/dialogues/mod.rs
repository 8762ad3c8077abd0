//! What RabbitMQ answers to everything that clients and services do, good and bad.

mod channels;
mod consuming;
mod declaring;
mod publishing;

use std::fmt::Write;

use nameko_cachetools_testkit::FakeBroker;
use tokio::task::JoinSet;

use crate::dialogue::Dialogue;

/// Plays all of them on both, at once.
pub(crate) async fn are_the_same(real: String) {
    let broker = FakeBroker::new();
    let wire = broker.serve().await;
    let mut playing = JoinSet::new();
    let all = [
        declaring::DIALOGUES,
        publishing::DIALOGUES,
        consuming::DIALOGUES,
        channels::DIALOGUES,
    ];
    for (name, text) in all.concat() {
        let (fake, real) = (wire.uri(), real.clone());
        playing.spawn(async move {
            let dialogue = Dialogue { name, text };
            let faked = dialogue.play(&fake, None).await;
            let really = dialogue.play(&real, Some(&faked)).await;
            let mut differences = String::new();
            for (faked, really) in faked
                .iter()
                .zip(&really)
                .filter(|(faked, really)| faked != really)
            {
                let _ = writeln!(
                    differences,
                    "{name}:\n    RabbitMQ {really:?}\n    the fake {faked:?}"
                );
            }
            differences
        });
    }
    let differences: String = playing.join_all().await.concat();
    assert!(differences.is_empty(), "{differences}");
    drop(broker.verify());
}

/// A dialogue's name, and what is said in it.
type Text = (&'static str, &'static str);
