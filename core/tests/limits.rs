//! Which limit holds for which call.

use std::{future::pending, time::Duration};

use nameko_cachetools::{CachedRpcProxy, Client, Failover, Request, transport_fn};
use tokio::time::{Instant, timeout};

const S: Duration = Duration::from_secs(1);

/// The guide said that the client's limit holds for whatever isn't cached, which no proxy with a cache has ever done.
#[tokio::test(start_paused = true)]
async fn what_a_cached_proxy_does_not_cache_has_the_limit_of_its_policy() {
    let client = Client::builder(transport_fn(|_: Request| pending()))
        .call_timeout(5 * S)
        .build();
    let builder = || CachedRpcProxy::builder("shop").except(["set"]);
    let limited = builder()
        .policy(Failover::after(S).call_timeout(7 * S))
        .build(&client);
    let (unlimited, plain) = (builder().build(&client), client.service("shop"));

    let start = Instant::now();
    assert!(plain.call::<(), _>("set", ()).await.is_err());
    assert_eq!(start.elapsed(), 5 * S);
    assert!(limited.call::<(), _>("set", ()).await.is_err());
    assert_eq!(start.elapsed(), 12 * S);
    let set = unlimited.call::<(), _>("set", ());
    assert!(
        timeout(1000 * S, set).await.is_err(),
        "it waits, as the policy says"
    );
}
