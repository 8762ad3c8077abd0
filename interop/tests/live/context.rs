//! What travels beside the arguments: identity, language, and the ids of the calls that led here.

use nameko_cachetools::{Client, Context, Reply, args};
use nameko_cachetools_interop::{Packages, live};
use nameko_cachetools_lapin::LapinTransport;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::{client, interop};

/// What a worker knows of its call (`interop.context`).
#[derive(Deserialize, Debug, Clone)]
struct Seen {
    data: Value,
    call_id: String,
    call_id_stack: Vec<String>,
}

#[test]
fn the_worker_reads_our_context_as_its_own_data() {
    live::shared(Packages::Nameko2, async |nameko| {
        let context = Context::new()
            .auth_token("t\u{f6}ken")
            .language("sv")
            .user_id(7)
            .user_agent("tests/1")
            .set("big", i64::MAX)
            .set("ratio", 0.5)
            .set("flags", json!([true, false]))
            .set("nested", json!({"a": {"b": "c"}}))
            .set("left_out", Value::Null);
        let seen: Reply<Seen> = interop(nameko)
            .await
            .call("context", args![])
            .context(context)
            .await
            .unwrap();
        let expected = json!({
            "auth_token": "t\u{f6}ken",
            "language": "sv",
            "user_id": 7,
            "user_agent": "tests/1",
            "big": i64::MAX,
            "ratio": 0.5,
            "flags": [true, false],
            "nested": {"a": {"b": "c"}},
        });
        assert_eq!(seen.data, expected);
    });
}

#[test]
fn a_clients_context_goes_with_every_call_and_a_calls_own_over_it() {
    live::shared(Packages::Nameko2, async |nameko| {
        let client = client(nameko)
            .await
            .with_context(&Context::new().auth_token("everybody").language("sv"));
        let interop = client.service(nameko.service("interop"));
        assert_eq!(
            *interop.call::<String, _>("whoami", args![]).await.unwrap(),
            "everybody"
        );
        let own = Context::new().auth_token("me");
        let seen: Reply<Seen> = interop.call("context", args![]).context(own).await.unwrap();
        assert_eq!(seen.data, json!({"auth_token": "me", "language": "sv"}));
    });
}

#[test]
fn each_call_has_an_id_under_the_clients_name() {
    live::shared(Packages::Nameko2, async |nameko| {
        let transport = LapinTransport::connect(nameko.uri()).await.unwrap();
        let client = Client::builder(transport).app_name("shop").build();
        let interop = client.service(nameko.service("interop"));
        let first: Reply<Seen> = interop.call("context", args![]).await.unwrap();
        let second: Reply<Seen> = interop.call("context", args![]).await.unwrap();

        let [ours, own] = &first.call_id_stack[..] else {
            panic!("{:?}", *first)
        };
        assert!(
            ours.starts_with("shop.call.") && ours.len() == "shop.call.".len() + 36,
            "{ours}"
        );
        assert_eq!(*own, first.call_id);
        assert!(
            own.starts_with(&format!("{}.context.", nameko.service("interop"))),
            "{own}"
        );
        assert_ne!(*ours, second.call_id_stack[0]);
    });
}

#[test]
fn the_stack_of_parent_calls_is_passed_on_and_capped_as_nameko_caps_it() {
    live::shared(Packages::Nameko2, async |nameko| {
        let interop = interop(nameko).await;
        let context = Context::new().parent_calls(["web.get.1", "shop.list.2"]);
        let seen: Reply<Seen> = interop.call("context", args![]).context(context).await.unwrap();
        assert_eq!(
            (&seen.call_id_stack[..2], seen.call_id_stack.len()),
            (&["web.get.1", "shop.list.2"].map(String::from)[..], 4)
        );

        let context = Context::new().parent_calls((0..20).map(|n| format!("id-{n}")));
        let seen: Reply<Seen> = interop.call("context", args![]).context(context).await.unwrap();
        assert_eq!(seen.call_id_stack.len(), 11, "{:?}", seen.call_id_stack);
        assert_eq!(seen.call_id_stack[10], seen.call_id, "the newest are kept");
        assert_eq!(seen.call_id_stack[8], "id-19");
    });
}

#[test]
fn a_call_behind_a_relay_sees_our_stack_and_our_context() {
    for packages in [Packages::Nameko2, Packages::OldKombu, Packages::Nameko3] {
        live::shared(packages, async |nameko| {
            let relay = client(nameko).await.service(nameko.service("interop_relay"));
            let context = Context::new()
                .auth_token("t")
                .set("traceparent", "00-ab-cd-01")
                .parent_calls(["web.get.1"]);
            let seen: Reply<Seen> = relay.call("call", ("context",)).context(context).await.unwrap();
            let mut seen = seen.into_inner();
            let stack: Vec<_> = seen
                .call_id_stack
                .iter()
                .map(|id| id.rsplit_once('.').unwrap().0)
                .collect();
            let [relay, target] = [
                nameko.service("interop_relay.call"),
                nameko.service("interop.context"),
            ];
            assert_eq!(
                stack,
                ["web.get", "nameko-cachetools.call", &relay, &target],
                "{packages:?}"
            );
            seen.data.as_object_mut().unwrap().remove("call_id_stack"); // nameko 3 counts it among the data
            assert_eq!(
                seen.data,
                json!({"auth_token": "t", "traceparent": "00-ab-cd-01"}),
                "{packages:?}"
            );
        });
    }
}
