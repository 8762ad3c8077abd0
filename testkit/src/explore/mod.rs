//! Code against a misbehaving broker, in as many ways as there are seeds.
//!
//! [`explore`] runs a scenario once per seed: each time on a runtime of its own, whose clock is paused, so that hours
//! of time limits take a millisecond. All chance of a scenario comes from its [`Sim`], hence a seed that fails once
//! fails every time.
//!
//! ```
//! use nameko_cachetools::{CachedRpcProxy, Failover, Reply, args};
//! use nameko_cachetools_testkit::{Answer, explore, explore::Seeds};
//! use serde_json::json;
//! use std::time::Duration;
//! use tokio::time::{Instant, sleep};
//!
//! const MS: fn(u64) -> Duration = Duration::from_millis;
//!
//! // in a #[test], not a #[tokio::test]
//! explore(Seeds::default().count(50), |sim| async move {
//!     let broker = sim.broker();
//!     broker.on("products.get").reply_with(sim.misbehaving(|call| Answer::ok(json!({"id": call.args[0]}))));
//!     let policy = Failover::after(MS(300)).call_timeout(MS(2000));
//!     let products = CachedRpcProxy::builder("products").policy(policy).build(&broker.client());
//!
//!     let callers = async {
//!         for _ in 0..10 {
//!             sleep(sim.between(MS(0), MS(700))).await;
//!             let (id, start) = (sim.below(3), Instant::now());
//!             let answer = products.call("get", args![id]).await;
//!             assert!(start.elapsed() <= MS(2000), "a caller waited for {:?}", start.elapsed());
//!             if let Ok(reply) = answer {
//!                 let product: Reply<serde_json::Value> = reply;
//!                 assert_eq!(product["id"], id, "somebody else's answer");
//!             }
//!         }
//!     };
//!     tokio::join!(callers, sim.outages(&broker, &["products"], MS(5000)));
//! });
//! ```
//!
//! A scenario fails by a panic, as tests do. `explore` then says how to run that seed again, with its timeline:
//!
//! ```text
//! seed 852 fails: a caller waited for 2.3s
//!   run it again: EXPLORE_SEED=852 cargo test callers_never_wait_too_long
//! ```
//!
//! The environment goes before the code: `EXPLORE_SEED` runs that one seed, `EXPLORE_COUNT` as many as it says.
//!
//! # The same seed, the same run
//!
//! Each hundredth seed runs twice, and both timelines (those of its brokers, and its [notes](Sim::note)) must be equal:
//! otherwise a failing seed could not be replayed. What breaks it: chance from elsewhere than [`Sim`], the order of a
//! `HashMap`, other threads, the real clock; `tokio::select!` without `biased`, and `tokio::sync::watch`, which wakes
//! those who wait in random order.

pub mod machine;
mod misbehaving;
mod outages;
mod run;
mod seeds;
mod sim;

use std::future::Future;

pub use seeds::Seeds;
pub use sim::Sim;

use crate::fail;
use run::{Ran, first_difference, run};

/// Runs `scenario` once for each of `seeds`: see the [module](self).
///
/// # Panics
/// If a scenario panics, or two runs of one seed differ: with the seed, and how to run it again. If it is called from
/// within a runtime: it makes its own.
#[track_caller]
pub fn explore<F, Fut>(seeds: Seeds, scenario: F)
where
    F: Fn(Sim) -> Fut,
    Fut: Future<Output = ()>,
{
    let replayed = seeds.is_replay();
    for (index, seed) in seeds.iter().enumerate() {
        let ran = run(seed, &scenario);
        if let Err(message) = &ran.result {
            fail(format!(
                "seed {seed} fails: {message}\n{}\ntimeline:\n{}",
                again(seed),
                ran.timeline
            ));
        }
        if index.is_multiple_of(TWICE) {
            assert_same(seed, &ran, &run(seed, &scenario));
        }
        if replayed {
            println!("seed {seed} passes; its timeline:\n{}", ran.timeline);
        }
    }
}

/// Of so many seeds one runs twice.
const TWICE: usize = 100;

#[track_caller]
fn assert_same(seed: u64, first: &Ran<()>, second: &Ran<()>) {
    if let Some(difference) = first_difference(&first.timeline, &second.timeline) {
        fail(format!(
            "seed {seed} does not run the same way twice, so that no failure could be replayed; first difference:\n\
             {difference}\n{}",
            again(seed)
        ));
    }
}

/// How to run a seed again. The test harness names its threads after the tests.
fn again(seed: u64) -> String {
    let thread = std::thread::current();
    let test = thread.name().filter(|name| *name != "main").unwrap_or_default();
    format!("  run it again: EXPLORE_SEED={seed} cargo test {test}")
}
