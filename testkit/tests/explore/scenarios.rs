//! `explore`, as tests use it, and how it fails.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    process::Command,
    sync::{
        Mutex,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use nameko_cachetools::{CachedRpcProxy, Failover, Reply, args};
use nameko_cachetools_testkit::{
    Answer, explore,
    explore::{Seeds, Sim},
};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

const MS: fn(u64) -> Duration = Duration::from_millis;

/// The message of a panic.
fn message(run: impl FnOnce()) -> String {
    match catch_unwind(AssertUnwindSafe(run)) {
        Ok(()) => "it did not fail".to_owned(),
        Err(panic) => panic.downcast_ref::<String>().cloned().unwrap_or_default(),
    }
}

/// Every way of misbehaving is met within a few seeds, and no caller is kept waiting by any of them.
#[test]
fn a_misbehaving_service_and_bad_weather_keep_nobody_waiting() {
    let outcomes = Mutex::new(std::collections::BTreeSet::new());
    explore(Seeds::default().count(200), |sim| {
        let outcomes = &outcomes;
        async move {
            let broker = sim.broker();
            let answer = sim.misbehaving(|call| Answer::ok(json!({"id": call.args[0]})));
            broker.on("products.get").reply_with(answer);
            let products = CachedRpcProxy::builder("products")
                .policy(Failover::after(MS(300)).call_timeout(MS(2000)))
                .build(&broker.client());
            let callers = async {
                for _ in 0..10 {
                    sleep(sim.between(MS(0), MS(700))).await;
                    let (id, start) = (sim.below(3), Instant::now());
                    let answer: Result<Reply<Value>, _> = products.call("get", args![id]).await;
                    assert!(start.elapsed() <= MS(2000), "waited for {:?}", start.elapsed());
                    let what = match &answer {
                        Ok(reply) => format!("{:?}", reply.outcome().reason()),
                        Err(error) => error.to_string().split(' ').take(3).collect(),
                    };
                    outcomes.lock().unwrap().insert(what);
                    assert!(answer.is_err() || answer.is_ok_and(|product| product["id"] == id));
                }
            };
            tokio::join!(callers, sim.outages(&broker, &["products"], MS(5000)));
        }
    });
    let outcomes = outcomes.into_inner().unwrap();
    assert!(outcomes.len() >= 10, "{outcomes:?}");
}

#[test]
fn a_failing_seed_says_how_to_run_it_again() {
    let failing = |sim: Sim| async move {
        sim.note("one step");
        sleep(MS(5)).await;
        sim.note("another");
        assert_ne!(sim.seed(), 7, "as it should");
    };
    let text = message(|| explore(Seeds::default().count(20), failing));
    assert!(
        text.starts_with("seed 7 fails: ") && text.contains("as it should"),
        "{text}"
    );
    let again = "EXPLORE_SEED=7 cargo test scenarios::a_failing_seed_says_how_to_run_it_again\n";
    assert!(text.contains(again), "{text}");
    assert!(
        text.ends_with("timeline:\n       0 ms  one step\n       5 ms  another\n"),
        "{text}"
    );
}

#[test]
fn what_does_not_run_the_same_way_twice_is_found() {
    let runs = AtomicU64::new(0);
    let text = message(|| {
        explore(Seeds::default().from(40).count(1), |sim| {
            let run = runs.fetch_add(1, Relaxed);
            async move { sim.note(format!("run {run}")) }
        });
    });
    assert!(
        text.starts_with("seed 40 does not run the same way twice"),
        "{text}"
    );
    assert!(
        text.contains("once:        0 ms  run 0") && text.contains("then:        0 ms  run 1"),
        "{text}"
    );
}

/// Brokers verify their calls in every run.
#[test]
fn a_broker_s_own_report_fails_its_seed() {
    let text = message(|| {
        explore(Seeds::default(), |sim| async move {
            sim.broker().on("shop.get").expect(1).reply(json!(1));
        });
    });
    assert!(
        text.starts_with("seed 0 fails: fake broker: 1 violation"),
        "{text}"
    );
}

#[tokio::test]
async fn it_makes_its_own_runtime() {
    let text = message(|| explore(Seeds::default(), |_| async {}));
    assert!(
        text.contains("call it from a #[test], not from a #[tokio::test]"),
        "{text}"
    );
}

/// Run by the test below, in a process of its own.
#[test]
#[ignore = "for another test"]
fn prints_its_seeds() {
    explore(Seeds::default().count(3), |sim| async move {
        println!("ran {}", sim.seed())
    });
}

#[test]
fn the_environment_says_which_seeds() {
    let printed = |variable: &str, value: &str| {
        let output = Command::new(std::env::current_exe().unwrap())
            .args([
                "--exact",
                "scenarios::prints_its_seeds",
                "--ignored",
                "--nocapture",
            ])
            .env(variable, value)
            .output()
            .unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        text.lines()
            .filter(|line| line.contains("ran "))
            .map(str::to_owned)
            .collect::<Vec<_>>()
            .join(" ")
    };
    // The first of them runs twice.
    assert!(printed("EXPLORE_SEED", "852").ends_with("ran 852 ran 852"));
    assert!(printed("EXPLORE_COUNT", "2").ends_with("ran 0 ran 0 ran 1"));
}
