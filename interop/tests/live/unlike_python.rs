//! Where ours differs from nameko-cachetools, as the guide "Coming from Python" says: the same scenario with both, and
//! what each of them makes of it.

use std::time::Duration;

use nameko_cachetools::{Context, Reply, args};
use serde_json::{Value, json};
use tokio::{
    task::JoinSet,
    time::{Instant, sleep},
};

use crate::{
    LIMIT,
    beside_python::{KEY, side_by_side},
};

#[test]
fn the_method_is_part_of_our_key() {
    side_by_side(async |_, both| {
        let (python, ours) = (both.python_first(), both.ours_first());
        python.call::<Value, _>("call", ("count", [KEY])).await.unwrap();
        let other: Reply<Value> = python.call("call", ("count_other", [KEY])).await.unwrap();
        assert_eq!(*other, 1, "the original: another method's answer");
        let state: Reply<Value> = python.call("cache_state", args![]).await.unwrap();
        assert_eq!(*state, json!({r#"[["k"], {}]"#: 1}));

        ours.call::<Value, _>("count", (KEY,)).await.unwrap();
        assert_eq!(
            *ours.call::<String, _>("count_other", (KEY,)).await.unwrap(),
            "other-1"
        );
    });
}

#[test]
fn one_caller_is_not_given_anothers_answer() {
    side_by_side(async |_, both| {
        let (python, ours) = (both.python_first(), both.ours_first());
        let mut seen = Vec::new();
        for token in ["alice", "bob"] {
            let context = || Context::new().auth_token(token);
            let python: Reply<String> = python.call("call", ("whoami",)).context(context()).await.unwrap();
            let ours: Reply<String> = ours.call("whoami", args![]).context(context()).await.unwrap();
            seen.push((python.into_inner(), ours.into_inner()));
        }
        assert_eq!(seen[0], ("alice".into(), "alice".into()));
        assert_eq!(seen[1], ("alice".into(), "bob".into()));
    });
}

#[test]
fn concurrent_misses_ask_once() {
    side_by_side(async |_, both| {
        let (python, ours) = (both.python_first(), both.ours_first());
        let mut calls = JoinSet::new();
        for _ in 0..8 {
            let (python, ours) = (python.clone(), ours.clone());
            calls.spawn(async move {
                python
                    .call("call", ("slow_count", ("python", 0.5)))
                    .await
                    .map(|_: Reply<u8>| ())
            });
            calls.spawn(async move {
                ours.call("slow_count", ("ours", 0.5))
                    .await
                    .map(|_: Reply<u8>| ())
            });
        }
        assert!(calls.join_all().await.into_iter().all(|call| call.is_ok()));
        assert_eq!(both.count("ours").await, 1);
        assert_eq!(both.count("python").await, 8, "the original: all go out");
    });
}

#[test]
fn a_ttl_bounds_the_age_of_an_entry() {
    side_by_side(async |_, both| {
        let python = both.python("cached_first_ttl"); // TTLCache(maxsize=2, ttl=2)
        let ours = both.ours_first_ttl(2, Duration::from_secs(2));
        let began = Instant::now();
        while began.elapsed() < Duration::from_secs(5) {
            python.call::<u8, _>("call", ("count", ["python"])).await.unwrap();
            ours.call::<u8, _>("count", ("ours",)).await.unwrap();
            sleep(Duration::from_millis(100)).await;
        }
        assert_eq!(
            both.count("python").await,
            1,
            "the original: every call renews the whole cache"
        );
        assert!(both.count("ours").await >= 2, "every 2 seconds");

        for key in ["a", "b", "c", "d"] {
            python.call::<u8, _>("call", ("count", [key])).await.unwrap();
        }
        let state: Reply<Value> = python.call("cache_state", args![]).await.unwrap();
        assert_eq!(
            state.as_object().unwrap().len(),
            5,
            "the original: maxsize counts services, not entries"
        );
    });
}

#[test]
fn a_late_reply_refreshes_our_cache() {
    side_by_side(async |nameko, both| {
        let (python, ours) = (both.python_failover(), both.ours_failover());
        let ask = async || {
            let python: Reply<u8> = python.call("call", ("count", ["python"])).await.unwrap();
            let ours: Reply<u8> = ours.call("count", ("ours",)).await.unwrap();
            (*python, *ours)
        };
        assert_eq!(ask().await, (1, 1));
        nameko.hang().unwrap();
        assert_eq!(ask().await, (1, 1), "both fail over");
        nameko.resume().unwrap();
        let deadline = Instant::now() + LIMIT;
        while *ours
            .call::<u8, _>("count", ("ours",))
            .only_if_cached()
            .await
            .unwrap()
            != 2
        {
            assert!(Instant::now() < deadline, "ours came late, and is cached");
            sleep(Duration::from_millis(20)).await;
        }
        while both.count("python").await != 2 {
            assert!(Instant::now() < deadline, "theirs was executed late, too");
            sleep(Duration::from_millis(20)).await;
        }
        nameko.hang().unwrap();
        assert_eq!(
            ask().await,
            (1, 2),
            "the original has thrown the late answer away"
        );
    });
}

#[test]
fn a_date_is_an_argument_like_any_other() {
    side_by_side(async |_, both| {
        let date = json!({"__type__": "date", "__value__": "2024-02-29"});
        let python = both.python_first();
        let outcome: Reply<Value> = python.call("attempt", ("describe", [&date])).await.unwrap();
        assert_eq!(outcome["error"], "TypeError", "{}", *outcome);
        let seen: Reply<Value> = both.ours_first().call("describe", (&date,)).await.unwrap();
        assert_eq!(*seen, json!([["date", "datetime.date(2024, 2, 29)"]]));
    });
}

#[test]
fn what_a_caller_does_to_an_answer_stays_with_it() {
    side_by_side(async |_, both| {
        let (python, ours) = (both.python_first(), both.ours_first());
        python.call::<(), _>("spoil", ("echo", [1])).await.unwrap();
        let next: Reply<Value> = python.call("call", ("echo", [1])).await.unwrap();
        assert_eq!(
            next["spoilt"], true,
            "the original hands out the cached object itself"
        );

        let first: Reply<Value> = ours.call("echo", (1,)).await.unwrap();
        first.into_inner()["spoilt"] = true.into();
        let next: Reply<Value> = ours.call("echo", (1,)).await.unwrap();
        assert_eq!(*next, json!({"args": [1], "kwargs": {}}));
    });
}

#[test]
fn no_query_reaches_the_service_while_an_answer_is_fresh() {
    side_by_side(async |_, both| {
        let python = both.python("cached_failover_ttl"); // TTLCache(maxsize=1024, ttl=30)
        let ours = both.ours_failover_fresh_for(Duration::from_secs(30));
        for _ in 0..3 {
            python.call::<u8, _>("call", ("count", ["python"])).await.unwrap();
            ours.call::<u8, _>("count", ("ours",)).await.unwrap();
        }
        assert_eq!(
            both.count("python").await,
            3,
            "the original promises it, and always calls"
        );
        assert_eq!(both.count("ours").await, 1);
    });
}

#[test]
fn a_method_may_have_any_name() {
    side_by_side(async |_, both| {
        let python: Reply<Value> = both.python_first().call("attempt", ("cache",)).await.unwrap();
        assert_eq!(python["text"], "'dict' object is not callable", "{}", *python);
        let ours: Reply<String> = both.ours_first().call("cache", args![]).await.unwrap();
        assert_eq!(*ours, "a method like any other");
    });
}
