//! Every shape of a call that is answered.

use std::time::Duration;

use nameko_cachetools::{Args, Client, Delivery, ErrorClass, Reply, args};
use nameko_cachetools_interop::{Packages, live};
use nameko_cachetools_lapin::LapinTransport;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::{task::JoinSet, time::Instant};

use crate::{client, interop};

#[test]
fn positional_and_keyword_arguments_arrive_as_such() {
    for packages in [Packages::Nameko2, Packages::OldKombu, Packages::Nameko3] {
        live::shared(packages, async |nameko| {
            let interop = interop(nameko).await;
            let echo: Reply<Value> = interop.call("echo", args![1, "two", three = 3]).await.unwrap();
            assert_eq!(
                *echo,
                json!({"args": [1, "two"], "kwargs": {"three": 3}}),
                "{packages:?}"
            );
        });
    }
}

#[test]
fn a_call_may_have_no_arguments_or_only_some() {
    live::shared(Packages::Nameko2, async |nameko| {
        let interop = interop(nameko).await;
        let echo: Reply<Value> = interop.call("echo", args![]).await.unwrap();
        assert_eq!(*echo, json!({"args": [], "kwargs": {}}));
        assert_eq!(
            *interop.call::<i64, _>("add", args![40]).await.unwrap(),
            42,
            "the method's own default"
        );
        assert_eq!(
            *interop.call::<i64, _>("add", args![40, b = 1]).await.unwrap(),
            41
        );
        assert_eq!(
            *interop.call::<i64, _>("add", args![b = 1, a = 40]).await.unwrap(),
            41
        );
    });
}

#[test]
fn structs_maps_and_lists_are_arguments() {
    #[derive(Serialize)]
    struct Search<'a> {
        state: &'a str,
        limit: Option<u32>,
    }
    live::shared(Packages::Nameko2, async |nameko| {
        let interop = interop(nameko).await;
        let search = Search {
            state: "open",
            limit: None,
        };
        let echo: Reply<Value> = interop.call("echo", Args::keywords(&search)).await.unwrap();
        assert_eq!(
            *echo,
            json!({"args": [], "kwargs": {"state": "open", "limit": null}})
        );
        let echo: Reply<Value> = interop.call("echo", (vec![1, 2], search)).await.unwrap();
        assert_eq!(echo["args"], json!([[1, 2], {"state": "open", "limit": null}]));
        let echo: Reply<Value> = interop
            .call("echo", vec!["made", "at", "run time"])
            .await
            .unwrap();
        assert_eq!(echo["args"], json!(["made", "at", "run time"]));
    });
}

#[test]
fn results_are_decoded_to_the_callers_types() {
    #[derive(Deserialize, Debug, PartialEq)]
    struct Row {
        id: u32,
        name: String,
        tags: Vec<String>,
        score: f64,
    }
    live::shared(Packages::Nameko2, async |nameko| {
        let interop = interop(nameko).await;
        let rows: Reply<Vec<Row>> = interop.call("big_rows", (2,)).await.unwrap();
        let tags = vec!["a".to_owned(), "b".to_owned()];
        assert_eq!(
            rows[1],
            Row {
                id: 1,
                name: "name-1".into(),
                tags,
                score: 1.0 / 7.0
            }
        );

        let none: Reply<Option<Row>> = interop.call("none", args![]).await.unwrap();
        assert_eq!(*none, None);
        let nothing: Reply<()> = interop.call("none", args![]).await.unwrap();
        assert_eq!(*nothing, ());
    });
}

#[test]
fn text_of_any_script_goes_both_ways() {
    let text =
        "snowman \u{2603}, clef \u{1d11e}, nul \0, del \u{7f}, quote \", backslash \\, e\u{301} and \u{e9}";
    live::shared(Packages::Nameko2, async |nameko| {
        let interop = interop(nameko).await;
        assert_eq!(*interop.call::<String, _>("ident", (text,)).await.unwrap(), text);
        let echo: Reply<Value> = interop
            .call("echo", args![json!({text: [text]}), größe = text])
            .await
            .unwrap();
        assert_eq!(
            *echo,
            json!({"args": [{text: [text]}], "kwargs": {"größe": text}})
        );
        // What Python counts is characters, so nothing was escaped twice or cut on the way.
        let seen: Reply<Vec<(String, String)>> = interop.call("describe", ("\u{1d11e}",)).await.unwrap();
        assert_eq!(*seen, [("str".to_owned(), "'\u{1d11e}'".to_owned())]);
    });
}

#[test]
fn megabytes_go_both_ways() {
    live::shared(Packages::Nameko2, async |nameko| {
        let interop = interop(nameko).await;
        assert_eq!(
            interop
                .call::<String, _>("big", (3_000_000,))
                .await
                .unwrap()
                .len(),
            3_000_000
        );
        let large = "y".repeat(3_000_000);
        assert_eq!(
            *interop.call::<String, _>("ident", (&large,)).await.unwrap(),
            large
        );
    });
}

#[test]
fn a_reply_beyond_the_transports_limit_is_an_error_that_disturbs_no_other_call() {
    live::shared(Packages::Nameko2, async |nameko| {
        let transport = LapinTransport::builder()
            .uri(nameko.uri())
            .max_reply_bytes(1_000)
            .connect()
            .await
            .unwrap();
        let interop = Client::new(transport).service(nameko.service("interop"));
        let error = interop.call::<String, _>("big", (5_000_000,)).await.unwrap_err();
        assert_eq!(
            (error.class(), error.delivery()),
            (ErrorClass::ServerFault, Delivery::Answered)
        );
        assert!(error.to_string().contains("limit of 1000"), "{error}");
        assert_eq!(*interop.call::<u8, _>("ident", (1,)).await.unwrap(), 1);
    });
}

#[test]
fn concurrent_calls_of_one_connection_get_their_own_replies() {
    live::shared(Packages::Nameko2, async |nameko| {
        let client = client(nameko).await;
        let mut calls = JoinSet::new();
        for n in 0..200 {
            let interop = client.service(nameko.service("interop"));
            calls.spawn(async move { (n, *interop.call::<u32, _>("ident", (n,)).await.unwrap()) });
        }
        let replies = calls.join_all().await;
        assert_eq!(replies.len(), 200);
        assert!(
            replies.iter().all(|(sent, received)| sent == received),
            "{replies:?}"
        );
    });
}

#[test]
fn a_slow_call_holds_up_no_other() {
    live::shared(Packages::Nameko2, async |nameko| {
        let interop = interop(nameko).await;
        let slow = interop.call::<String, _>("sleep", (3.0, "slow"));
        let slow = tokio::spawn(slow.into_future());
        let began = Instant::now();
        assert_eq!(
            *interop.call::<String, _>("ident", ("quick",)).await.unwrap(),
            "quick"
        );
        assert!(
            began.elapsed() < Duration::from_secs(2) && !slow.is_finished(),
            "{:?}",
            began.elapsed()
        );
        assert_eq!(*slow.await.unwrap().unwrap(), "slow");
    });
}

#[test]
fn a_service_can_be_called_through_a_service() {
    for packages in [Packages::Nameko2, Packages::Nameko3] {
        live::shared(packages, async |nameko| {
            let relay = client(nameko).await.service(nameko.service("interop_relay"));
            let args = args!["echo", args = [1], kwargs = json!({"two": 2})];
            let echo: Reply<Value> = relay.call("call", args).await.unwrap();
            assert_eq!(*echo, json!({"args": [1], "kwargs": {"two": 2}}), "{packages:?}");
        });
    }
}
