//! Checks of order and age.

use std::{sync::Arc, time::Duration};

use nameko_cachetools::{Entry, Peek, Put};
use tokio::task::JoinSet;

use super::{Harness, Outcome, Past, body, get, key, later, now, put};
use crate::conformance::ensure;

/// Proves: 6, S7.
pub(super) async fn the_newer_entry_wins_in_any_order(harness: &dyn Harness) -> Outcome {
    let past = Past::of(harness).await;
    for order in permutations(4) {
        let store = harness.store().await;
        let mut newest = 0;
        for &rank in &order {
            // The higher the rank, the later it was sent.
            let outcome = put(&store, &key("k"), past.entry(rank, &rank.to_string())).await?;
            let expected = if rank >= newest { Put::Stored } else { Put::Older };
            ensure!(
                outcome == expected,
                "in order {order:?}, put of {rank} was answered {outcome:?}"
            );
            newest = newest.max(rank);
            let found = body(&store, &key("k")).await?;
            ensure!(
                found == newest.to_string(),
                "in order {order:?}, {found} is kept and not {newest}"
            );
        }
    }
    Ok(())
}

/// Proves: S7.
pub(super) async fn the_newer_entry_wins_among_concurrent_puts(harness: &dyn Harness) -> Outcome {
    let (store, past) = (harness.store().await, Past::of(harness).await);
    let mut tasks = JoinSet::new();
    for task in 0..8_u32 {
        let store = Arc::clone(&store);
        tasks.spawn(async move {
            for i in 0..25 {
                let rank = (i * 7 + task * 3) % 100; // each task in an order of its own
                put(&store, &key("k"), past.entry(rank, &rank.to_string())).await?;
                tokio::task::yield_now().await;
            }
            Ok::<(), String>(())
        });
    }
    while let Some(ended) = tasks.join_next().await {
        ended.map_err(|error| error.to_string())??;
    }
    let newest = (0..8)
        .flat_map(|task| (0..25).map(move |i| (i * 7 + task * 3) % 100))
        .max()
        .unwrap_or(0);
    let found = body(&store, &key("k")).await?;
    ensure!(
        found == newest.to_string(),
        "{found} is kept and not {newest}, the newest of 200"
    );
    Ok(())
}

pub(super) async fn tasks_do_not_disturb_each_other(harness: &dyn Harness) -> Outcome {
    let (store, past) = (harness.store().await, Past::of(harness).await);
    let mut tasks = JoinSet::new();
    for task in 0..8 {
        let store = Arc::clone(&store);
        tasks.spawn(async move {
            let key = key(&format!("task {task}"));
            for i in 0..25_u32 {
                let text = format!("[{task}, {i}]");
                put(&store, &key, past.entry(i, &text)).await?;
                tokio::task::yield_now().await;
                let found = body(&store, &key).await?;
                ensure!(found == text, "task {task} put {text} and found {found}");
                store
                    .remove(&key, None)
                    .await
                    .map_err(|error| error.to_string())?;
                ensure!(
                    get(&store, &key).await?.is_none(),
                    "what task {task} removed is there again"
                );
            }
            Ok::<(), String>(())
        });
    }
    while let Some(ended) = tasks.join_next().await {
        ended.map_err(|error| error.to_string())??;
    }
    Ok(())
}

/// Proves: 38.
pub(super) async fn an_entry_keeps_its_age(harness: &dyn Harness) -> Outcome {
    let (store, past) = (harness.store().await, Past::of(harness).await);
    let sent = past.entry(0, "1");
    put(&store, &key("k"), sent.clone()).await?;
    for _ in 0..3 {
        let Some(found) = get(&store, &key("k")).await? else {
            return Err("an entry that was put is not there".to_owned());
        };
        let shift = found
            .sent_at()
            .since(sent.sent_at())
            .max(sent.sent_at().since(found.sent_at()));
        ensure!(shift <= harness.tolerance(), "`sent_at` was shifted by {shift:?}");
    }
    Ok(())
}

/// Proves: S2.
pub(super) async fn an_entry_ends_with_its_time_to_live(harness: &dyn Harness) -> Outcome {
    let store = harness.store().await;
    let Some(life) = store.time_to_live() else {
        return Ok(());
    };
    let sent = Entry::new(now(), "1");
    put(&store, &key("k"), sent.clone()).await?;
    let at = |age| later(sent.sent_at(), age);
    let tick = Duration::from_nanos(1);
    let (before, after) = (
        at(life.saturating_sub(harness.tolerance() + tick)),
        at(life + harness.tolerance()),
    );
    if now() < before {
        let found = store
            .get(&key("k"), before)
            .await
            .map_err(|error| error.to_string())?;
        ensure!(found.is_some(), "it ended before its time to live of {life:?}");
    }
    ensure!(
        !matches!(store.peek(&key("k"), after), Peek::Hit(_)),
        "`peek` finds it after {life:?}"
    );
    let found = store
        .get(&key("k"), after)
        .await
        .map_err(|error| error.to_string())?;
    ensure!(
        found.is_none(),
        "`get` finds it after its time to live of {life:?}"
    );
    Ok(())
}

/// All orders of 1, 2, .. n.
fn permutations(n: u32) -> Vec<Vec<u32>> {
    if n == 0 {
        return vec![Vec::new()];
    }
    let mut all = Vec::new();
    for shorter in permutations(n - 1) {
        for place in 0..=shorter.len() {
            let mut longer = shorter.clone();
            longer.insert(place, n);
            all.push(longer);
        }
    }
    all
}
