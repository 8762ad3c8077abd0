//! Calls of the fake broker in memory, on one core. `cargo bench -p nameko-cachetools-benches --bench fake_broker`
#![allow(missing_docs, reason = "criterion's macros make public items")]
#![allow(clippy::expect_used, reason = "a bench may panic")]

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use nameko_cachetools::{Request, Route, Transport};
use nameko_cachetools_testkit::{Answer, FakeBroker};
use tokio::runtime::Builder;

const CALLS: u64 = 1000;

fn calls(c: &mut Criterion) {
    let runtime = Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a runtime");
    let _within = runtime.enter();
    let broker = FakeBroker::new();
    broker.on("products.get").reply(Answer::ok("The Odyssey"));
    let transport = broker.transport();
    let route = Route::new("products", "get").expect("a route");
    let mut request = Request::new(
        route,
        r#"{"args": ["the_odyssey"], "kwargs": {"currency": "EUR"}}"#,
    );
    request.headers.push(("nameko.language".into(), "sv".into()));

    let mut group = c.benchmark_group("fake_broker");
    group.throughput(Throughput::Elements(CALLS));
    group.bench_function("calls", |b| {
        b.iter(|| {
            runtime.block_on(async {
                for _ in 0..CALLS {
                    black_box(transport.request(request.clone()).await.expect("an answer"));
                }
            });
        });
    });
    group.finish();
}

criterion_group! {
    name = benches;
    config = Criterion::default().without_plots();
    targets = calls
}
criterion_main!(benches);
