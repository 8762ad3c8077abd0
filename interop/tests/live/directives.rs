//! What a real nameko service says, in its replies' headers, of their life in our cache.

use std::time::Duration;

use nameko_cachetools::{CacheFirst, CacheFirstRpcProxy, Scope, args};
use nameko_cachetools_interop::{Packages, live};
use serde_json::json;

use crate::client;

#[test]
fn nameko_2_decides_about_its_replies() {
    decides(Packages::Nameko2);
}

#[test]
fn nameko_3_decides_about_its_replies() {
    decides(Packages::Nameko3);
}

fn decides(packages: Packages) {
    live::shared(packages, async |nameko| {
        let client = client(nameko).await;
        let policy = CacheFirst::fresh_for(Duration::from_secs(600));
        let proxy = |listens| {
            CacheFirstRpcProxy::builder(nameko.service("interop"))
                .policy(policy.clone().reply_directives(listens))
                .build(&client)
        };
        let (listens, does_not) = (proxy(true), proxy(false));
        for (key, directives, tag, requests) in [
            ("directives/nothing", json!({}), None, [1, 1]),
            ("directives/no_store", json!({"no_store": true}), None, [2, 1]),
            ("directives/fresh_for", json!({"fresh_for": 0}), None, [2, 1]),
            (
                "directives/tags",
                json!({"tags": ["one", "two"]}),
                Some("two"),
                [2, 1],
            ),
            ("directives/unreadable", json!({"tags": "one"}), None, [2, 1]),
        ] {
            for (proxy, who, expected) in [
                (&listens, "listens", requests[0]),
                (&does_not, "doesn't", requests[1]),
            ] {
                let key = format!("{key}/{who}");
                let call = || proxy.call::<u64, _>("directed", args![&key, &directives]);
                assert_eq!(*call().await.unwrap(), 1, "{key}");
                if let Some(tag) = tag {
                    client.invalidate(&Scope::tag(tag));
                }
                assert_eq!(*call().await.unwrap(), expected, "{key}");
            }
        }
    });
}
