//! A typed hit allocates nothing, whatever its arguments: counted, not timed.
#![allow(clippy::expect_used, reason = "helpers of a test may panic")]

use std::{collections::BTreeMap, hint::black_box, time::Duration};

use nameko_cachetools::{
    CacheFirstRpcProxy, CachedRpcProxy, Call, Client, Clock, Entry, Failover, IntoArgs, Key, MemoryStore,
    Moment, Reply, Request, Response, Scope, Store, args, transport_fn,
};
use nameko_cachetools_benches::runtime;
use serde::Serialize;

#[derive(Serialize, Clone, Copy)]
struct Search {
    shop: u32,
    currency: &'static str,
    in_stock: bool,
    page: u32,
    order: Option<&'static str>,
    limit: f64,
}

const SEARCH: Search = Search {
    shop: 3,
    currency: "EUR",
    in_stock: true,
    page: 1,
    order: Some("title"),
    limit: 0.1,
};

type Made<'a, A> = Call<'a, Vec<u64>, <A as IntoArgs>::Positional, <A as IntoArgs>::Keyword>;

/// Allocations of a hit, from the call to the dropped reply, once buffers have grown.
fn allocations<A: IntoArgs>(clock: Clock, args: impl Fn() -> A) -> u64 {
    allocations_after(clock, args, |_| {}, |call| call)
}

/// The same if something happens after the first calls, and the counted one has `options`.
fn allocations_after<A: IntoArgs>(
    clock: Clock,
    args: impl Fn() -> A,
    happens: impl Fn(&Client),
    options: impl Fn(Made<'_, A>) -> Made<'_, A>,
) -> u64 {
    let transport =
        transport_fn(|_: Request| async { Ok(Response::json(r#"{"result": [1, 2], "error": null}"#)) });
    let client = Client::builder(transport).clock(clock).build();
    let proxy = CacheFirstRpcProxy::builder("s")
        .cache(MemoryStore::new())
        .build(&client);
    runtime().block_on(async {
        for _ in 0..2 {
            let reply: Reply<Vec<u64>> = proxy.call("m", args()).await.expect("an answer");
            drop(reply);
        }
        happens(&client);
        let ready = args();
        let mut call = Some(options(proxy.call::<Vec<u64>, A>("m", ready)));
        let mut hit = false;
        let counted = allocation_counter::measure(|| {
            let future = call.take().map(IntoFuture::into_future);
            if let Some(mut future) = future {
                let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
                let polled = std::pin::Pin::new(&mut future).poll(&mut cx);
                hit = matches!(black_box(polled), std::task::Poll::Ready(Ok(reply)) if reply.outcome().is_cached());
            }
        });
        assert!(hit);
        counted.count_total
    })
}

/// Nor does it await anything: it is ready when it is polled first, outside of any runtime.
///
/// Proves: 24, E4.
#[test]
fn a_hit_allocates_nothing() {
    let map: BTreeMap<String, u64> = (0..20).map(|n| (format!("{:x}", n * 7919), n)).collect();
    for clock in [Clock::Coarse, Clock::Tokio] {
        assert_eq!(allocations(clock, || ()), 0);
        assert_eq!(allocations(clock, || (7u64,)), 0);
        assert_eq!(
            allocations(clock, || args!["the_odyssey", 7u64, currency = "EUR", a = [1, 2]]),
            0
        );
        assert_eq!(allocations(clock, || (SEARCH,)), 0);
        assert_eq!(allocations(clock, || (&map,)), 0);
    }
}

/// Nor does what was invalidated meanwhile and is no part of it, or an option that is about requests.
#[test]
fn what_does_not_concern_a_hit_lets_it_allocate_nothing() {
    fn limited(call: Made<'_, (u64,)>) -> Made<'_, (u64,)> {
        call.timeout(Duration::from_secs(1))
    }
    for clock in [Clock::Coarse, Clock::Tokio] {
        let elsewhere = |client: &Client| client.invalidate(&Scope::tag("another"));
        assert_eq!(allocations_after(clock, || (7u64,), elsewhere, |call| call), 0);
        assert_eq!(allocations_after(clock, || (7u64,), |_| {}, limited), 0);
    }
}

/// Futures of the call and of its request, a task, the request itself, timers, and places in tables.
#[test]
fn a_call_that_waits_holds_less_than_four_kilobytes() {
    const CALLS: u64 = 1000;
    let client = Client::new(transport_fn(|_: Request| std::future::pending()));
    let proxy = CachedRpcProxy::builder("s")
        .policy(Failover::after(Duration::from_secs(1)))
        .build(&client);
    let runtime = runtime();
    let mut waiting = Vec::with_capacity(CALLS as usize);
    let counted = allocation_counter::measure(|| {
        runtime.block_on(async {
            let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
            for n in 0..CALLS {
                let mut call = proxy.call::<u64, _>("m", (n,)).into_future();
                assert!(std::pin::Pin::new(&mut call).poll(&mut cx).is_pending());
                waiting.push(call);
            }
            tokio::task::yield_now().await; // their requests are sent
        });
    });
    assert!(counted.bytes_current / (CALLS as i64) < 4096, "{counted:?}");
}

/// Proves: R2.
#[test]
fn a_reply_is_split_without_copying_it() {
    let text = format!(
        r#"{{"result": [{}1], "error": null}}"#,
        "[1, {\"a\": null}], ".repeat(200_000)
    );
    let body = bytes::Bytes::from(text);
    let transport = transport_fn({
        let body = body.clone();
        move |_: Request| {
            std::future::ready(Ok(Response::new(
                Some("application/json".to_owned()),
                body.clone(),
            )))
        }
    });
    let client = Client::new(transport);
    let runtime = runtime();
    let counted = allocation_counter::measure(|| {
        let reply = runtime.block_on(async {
            client
                .service("s")
                .call::<serde::de::IgnoredAny, _>("m", ())
                .await
        });
        assert!(reply.is_ok());
    });
    assert!(
        body.len() > 3 << 20 && counted.bytes_max < 64 << 10,
        "{counted:?}"
    );
}

/// Proves: S12.
#[test]
fn entries_that_come_and_go_leave_the_memory_as_it_was() {
    const MANY: u64 = if cfg!(debug_assertions) {
        100_000
    } else {
        10_000_000
    };
    let store = MemoryStore::builder().max_entries(1000).build();
    let runtime = runtime();
    let put = |many: std::ops::Range<u64>| {
        runtime.block_on(async {
            for n in many {
                let entry = Entry::new(Moment::from_nanos(n), n.to_string());
                store
                    .put(&Key::from_bytes(n.to_be_bytes()), entry)
                    .await
                    .expect("no trouble");
            }
        });
    };
    put(0..10_000);
    let counted = allocation_counter::measure(|| put(10_000..MANY));
    assert!(counted.bytes_current.abs() < 64 << 10, "{counted:?}");
    assert!(counted.bytes_max < 1 << 20, "{counted:?}");
}

/// The counter counts: the check above could fail.
#[test]
fn the_counter_counts() {
    let counted = allocation_counter::measure(|| drop(black_box(vec![1, 2, 3])));
    assert_eq!(counted.count_total, 1);
}
