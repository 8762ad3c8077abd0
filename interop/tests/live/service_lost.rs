//! Both strategies, and a plain call, through a service that is stopped, killed, hung and restarted.

use std::time::Duration;

use nameko_cachetools::{CacheFirstRpcProxy, CachedRpcProxy, Client, Outcome, Reason, Reply, Source, args};
use nameko_cachetools_interop::{Interop, live};
use tokio::time::{Instant, sleep};

use crate::{LIMIT, client, interop};

#[derive(Debug, Clone, Copy)]
enum Loss {
    Stopped,
    Killed,
    Hung,
}

impl Loss {
    const ALL: [Self; 3] = [Self::Stopped, Self::Killed, Self::Hung];

    async fn befall(self, nameko: &mut Interop) {
        match self {
            Self::Stopped => nameko.stop().await.unwrap(),
            Self::Killed => nameko.kill().await.unwrap(),
            Self::Hung => nameko.hang().unwrap(),
        }
    }

    async fn end(self, nameko: &mut Interop) {
        match self {
            Self::Stopped | Self::Killed => nameko.restart().await.unwrap(),
            Self::Hung => nameko.resume().unwrap(),
        }
    }
}

#[test]
fn the_last_good_answer_stands_in_for_a_lost_service_until_it_is_back() {
    for loss in Loss::ALL {
        live::alone(Interop::builder(), async |nameko| {
            let cached = failover(nameko, &client(nameko).await);
            let live: Reply<u64> = cached.call("ident", (7,)).await.unwrap();
            assert_eq!((*live, live.outcome().source()), (7, Source::Live));

            loss.befall(nameko).await;
            for _ in 0..3 {
                let began = Instant::now();
                let stale: Reply<u64> = cached.call("ident", (7,)).await.unwrap();
                assert_eq!(
                    (*stale, reason(stale.outcome())),
                    (7, (Source::Stale, Reason::FailoverTimeout)),
                    "{loss:?}"
                );
                let waited = began.elapsed();
                assert!(
                    PATIENCE <= waited && waited < 10 * PATIENCE,
                    "{loss:?}: {waited:?}"
                );
            }

            loss.end(nameko).await;
            let deadline = Instant::now() + LIMIT;
            while cached
                .call::<u64, _>("ident", (7,))
                .await
                .unwrap()
                .outcome()
                .is_stale()
            {
                assert!(Instant::now() < deadline, "{loss:?}: the service is back");
            }
        });
    }
}

#[test]
fn cache_first_answers_at_once_whatever_becomes_of_the_service() {
    live::alone(Interop::builder(), async |nameko| {
        let cached = CacheFirstRpcProxy::builder(nameko.service("interop"))
            .call_timeout(LIMIT)
            .build(&client(nameko).await);
        let live: Reply<u64> = cached.call("count", args![]).await.unwrap();
        assert_eq!((*live, live.outcome().source()), (1, Source::Live));
        for loss in Loss::ALL {
            loss.befall(nameko).await;
            let began = Instant::now();
            let hit: Reply<u64> = cached.call("count", args![]).await.unwrap();
            assert_eq!(
                (*hit, reason(hit.outcome())),
                (1, (Source::Fresh, Reason::Hit)),
                "{loss:?}"
            );
            assert!(
                began.elapsed() < Duration::from_millis(100),
                "{loss:?}: {:?}",
                began.elapsed()
            );
            loss.end(nameko).await;
        }
        let stats = cached.stats();
        assert_eq!((stats.live, stats.hits), (1, 3), "asked once");
    });
}

#[test]
fn with_nothing_cached_both_wait_and_are_answered_when_the_service_is_back() {
    for loss in Loss::ALL {
        live::alone(Interop::builder(), async |nameko| {
            let client = client(nameko).await;
            let (plain, cached) = (
                client.service(nameko.service("interop")),
                failover(nameko, &client),
            );
            let first = CacheFirstRpcProxy::new(nameko.service("interop"), &client);
            loss.befall(nameko).await;
            let waiting = tokio::spawn(async move {
                tokio::try_join!(
                    plain.call::<u8, _>("ident", (1,)).into_future(),
                    cached.call::<u8, _>("ident", (2,)).into_future(),
                    first.call::<u8, _>("ident", (3,)).into_future(),
                )
            });
            sleep(3 * PATIENCE).await;
            assert!(
                !waiting.is_finished(),
                "{loss:?}: its durable queue keeps the requests"
            );
            loss.end(nameko).await;
            let (plain, cached, first) = waiting.await.unwrap().unwrap();
            assert_eq!((*plain, *cached, *first), (1, 2, 3), "{loss:?}");
        });
    }
}

#[test]
fn a_timeout_says_whether_anybody_reads_the_services_queue() {
    for (loss, text) in [
        (Loss::Stopped, "nobody reads its queue, where 1 request waits"),
        (Loss::Hung, "1 instance reads its queue, where 0 requests wait"),
    ] {
        live::alone(Interop::builder(), async |nameko| {
            let interop = interop(nameko).await;
            loss.befall(nameko).await;
            let limit = 5 * PATIENCE;
            let began = Instant::now();
            let error = interop
                .call::<u8, _>("ident", (1,))
                .timeout(limit)
                .await
                .unwrap_err();
            assert!(error.to_string().contains(text), "{loss:?}: {error}");
            assert!(began.elapsed() < 2 * limit, "{:?}", began.elapsed());
        });
    }
}

#[test]
fn a_call_whose_service_is_killed_at_work_is_answered_by_the_next_one() {
    live::alone(Interop::builder(), async |nameko| {
        let interop = interop(nameko).await;
        let working = tokio::spawn(interop.call::<u64, _>("slow_count", ("k", 1.0)).into_future());
        sleep(Duration::from_millis(500)).await;
        nameko.kill().await.unwrap();
        nameko.restart().await.unwrap();
        assert_eq!(
            *working.await.unwrap().unwrap(),
            1,
            "executed again, by a process that knows nothing of the first"
        );
    });
}

/// Proves: 29.
#[test]
fn a_late_reply_still_reaches_the_cache() {
    live::alone(Interop::builder(), async |nameko| {
        let cached = failover(nameko, &client(nameko).await);
        assert_eq!(*cached.call::<u64, _>("count", args![]).await.unwrap(), 1);
        nameko.hang().unwrap();
        let stale: Reply<u64> = cached.call("count", args![]).await.unwrap();
        assert_eq!((*stale, stale.outcome().is_stale()), (1, true));

        nameko.resume().unwrap();
        let deadline = Instant::now() + LIMIT;
        while *cached
            .call::<u64, _>("count", args![])
            .only_if_cached()
            .await
            .unwrap()
            != 2
        {
            assert!(
                Instant::now() < deadline,
                "the reply to the call that failed over never came"
            );
            sleep(Duration::from_millis(20)).await;
        }
    });
}

/// Proves: 36.
#[test]
fn requests_given_up_on_are_not_executed_when_the_service_returns() {
    live::alone(Interop::builder(), async |nameko| {
        let client = client(nameko).await;
        let short = CachedRpcProxy::builder(nameko.service("interop"))
            .failover_timeout(PATIENCE)
            .expiration(PATIENCE)
            .build(&client);
        let forever = failover(nameko, &client);
        let cached = async |proxy: &CachedRpcProxy, key: &str| {
            proxy.call::<u64, _>("count", (key,)).await.unwrap();
        };
        cached(&short, "short").await;
        cached(&forever, "forever").await;
        nameko.stop().await.unwrap();
        for _ in 0..3 {
            cached(&short, "short").await;
            cached(&forever, "forever").await;
        }
        sleep(PATIENCE).await;
        nameko.restart().await.unwrap();

        let count = async |key: &str| {
            let interop = client.service(nameko.service("interop"));
            *interop.call::<u64, _>("get_count", (key,)).await.unwrap()
        };
        let deadline = Instant::now() + LIMIT;
        while count("forever").await < 3 {
            assert!(
                Instant::now() < deadline,
                "without an expiration all of them are executed"
            );
            sleep(Duration::from_millis(20)).await;
        }
        assert_eq!(count("short").await, 0);
    });
}

#[test]
fn an_error_fails_over_at_once() {
    live::alone(Interop::builder(), async |nameko| {
        let client = client(nameko).await;
        let cached = CachedRpcProxy::new(nameko.service("interop"), &client);
        let switch = client.service(nameko.service("interop"));
        switch.call::<u8, _>("set_count", ("switch", 1)).await.unwrap();
        assert_eq!(
            *cached.call::<u8, _>("fail_unless", ("switch",)).await.unwrap(),
            1
        );

        switch.call::<u8, _>("set_count", ("switch", 0)).await.unwrap();
        let stale: Reply<u8> = cached.call("fail_unless", ("switch",)).await.unwrap();
        assert_eq!(
            (*stale, reason(stale.outcome())),
            (1, (Source::Stale, Reason::ServerFault))
        );
        let masked = stale.outcome().masked().and_then(|error| error.remote()).unwrap();
        assert_eq!(masked.to_string(), "CustomError switch switch is off");
        let error = cached
            .call::<u8, _>("fail_unless", ("another",))
            .await
            .unwrap_err();
        assert!(
            error.remote().unwrap().is("CustomError"),
            "nothing cached: {error}"
        );
    });
}

/// With the original's defaults, and a patience that no test waits for long.
fn failover(nameko: &Interop, client: &Client) -> CachedRpcProxy {
    CachedRpcProxy::builder(nameko.service("interop"))
        .failover_timeout(PATIENCE)
        .build(client)
}

fn reason(outcome: &Outcome) -> (Source, Reason) {
    (outcome.source(), outcome.reason())
}

const PATIENCE: Duration = Duration::from_millis(300);
