//! Checks of putting, finding and forgetting.

use std::{future::poll_fn, pin::pin, sync::Arc, task::Poll};

use nameko_cachetools::{Key, Put, Store};

use super::{Harness, Outcome, Past, body, get, key, put};
use crate::conformance::ensure;

/// Two of the harness's moments.
const OLD: u32 = 1;
const NEW: u32 = 2;

pub(super) async fn a_new_store_is_empty(harness: &dyn Harness) -> Outcome {
    let store = harness.store().await;
    ensure!(
        get(&store, &key("k")).await?.is_none(),
        "it has an entry that nobody put"
    );
    Ok(())
}

/// Proves: S1.
pub(super) async fn what_was_put_is_found(harness: &dyn Harness) -> Outcome {
    let (store, past) = (harness.store().await, Past::of(harness).await);
    let outcome = put(&store, &key("k"), past.entry(NEW, r#"{"a": 1}"#)).await?;
    ensure!(outcome == Put::Stored, "a first put was answered {outcome:?}");
    for _ in 0..2 {
        let found = body(&store, &key("k")).await?;
        ensure!(found == r#"{"a": 1}"#, "found {found}");
    }
    Ok(())
}

/// Proves: 67.
pub(super) async fn a_null_result_is_a_hit(harness: &dyn Harness) -> Outcome {
    let (store, past) = (harness.store().await, Past::of(harness).await);
    put(&store, &key("k"), past.entry(NEW, "null")).await?;
    let found = body(&store, &key("k")).await?;
    ensure!(found == "null", "found {found}");
    Ok(())
}

/// Proves: S1, S3.
pub(super) async fn bodies_are_kept_byte_exact(harness: &dyn Harness) -> Outcome {
    let (store, past) = (harness.store().await, Past::of(harness).await);
    let large = format!("\"{}\"", "x".repeat(1 << 18));
    for text in [
        "\"é😀\\u0000\"",
        "1.0",
        "1e3",
        " [1,  2] ",
        "123456789012345678901234567890",
        &large,
    ] {
        if put(&store, &key(text), past.entry(NEW, text)).await? == Put::TooLarge {
            continue;
        }
        let found = body(&store, &key(text)).await?;
        ensure!(found == text, "a body of {} bytes was changed", text.len());
    }
    Ok(())
}

/// Proves: 60, S3.
pub(super) async fn keys_are_compared_in_full(harness: &dyn Harness) -> Outcome {
    let (store, past) = (harness.store().await, Past::of(harness).await);
    let long = "k".repeat(1000);
    let mut keys: Vec<Key> = [
        "a",
        "ab",
        "b",
        "A",
        "a ",
        " a",
        "a\0",
        "a*",
        "a:b",
        "é",
        &long,
        &(long.clone() + "1"),
    ]
    .map(key)
    .to_vec();
    keys.push(Key::from_bytes([0]));
    keys.push(Key::from_bytes([0, 0]));
    keys.push(Key::from_bytes([0xff, 0xfe]));
    for (i, key) in keys.iter().enumerate() {
        put(&store, key, past.entry(NEW, &i.to_string())).await?;
    }
    for (i, key) in keys.iter().enumerate() {
        let found = body(&store, key).await?;
        ensure!(
            found == i.to_string(),
            "key {i} of the check has the entry of key {found}"
        );
    }
    ensure!(
        get(&store, &Key::from_bytes(&long[1..])).await?.is_none(),
        "a key that nobody put has an entry"
    );
    Ok(())
}

/// Proves: S5.
pub(super) async fn removing_forgets_one_key(harness: &dyn Harness) -> Outcome {
    let (store, past) = (harness.store().await, Past::of(harness).await);
    put(&store, &key("k"), past.entry(NEW, "1")).await?;
    put(&store, &key("other"), past.entry(NEW, "2")).await?;
    for expected in [true, false] {
        let removed = store
            .remove(&key("k"), None)
            .await
            .map_err(|error| error.to_string())?;
        ensure!(removed == expected, "remove said {removed}, not {expected}");
        ensure!(
            get(&store, &key("k")).await?.is_none(),
            "what was removed is still there"
        );
    }
    ensure!(
        body(&store, &key("other")).await? == "2",
        "another key was touched"
    );
    let outcome = put(&store, &key("k"), past.entry(OLD, "3")).await?;
    ensure!(
        outcome == Put::Stored,
        "after a remove, an older entry was answered {outcome:?}"
    );
    Ok(())
}

/// Proves: 8, S7.
pub(super) async fn removing_what_was_seen_leaves_a_newer_entry(harness: &dyn Harness) -> Outcome {
    let (store, past) = (harness.store().await, Past::of(harness).await);
    put(&store, &key("k"), past.entry(OLD, "1")).await?;
    let seen = get(&store, &key("k")).await?;
    put(&store, &key("k"), past.entry(NEW, "2")).await?;
    let removed = store
        .remove(&key("k"), seen.as_ref())
        .await
        .map_err(|error| error.to_string())?;
    ensure!(
        !removed,
        "a newer entry was removed in place of the one that was seen"
    );
    ensure!(
        body(&store, &key("k")).await? == "2",
        "the newer entry was changed"
    );

    let seen = get(&store, &key("k")).await?;
    let removed = store
        .remove(&key("k"), seen.as_ref())
        .await
        .map_err(|error| error.to_string())?;
    ensure!(removed, "remove said that nothing was there");
    ensure!(
        get(&store, &key("k")).await?.is_none(),
        "the entry that was seen was not removed"
    );
    let removed = store
        .remove(&key("k"), seen.as_ref())
        .await
        .map_err(|error| error.to_string())?;
    ensure!(!removed, "it was removed twice");
    Ok(())
}

/// Proves: S5.
pub(super) async fn clearing_forgets_everything(harness: &dyn Harness) -> Outcome {
    let (store, past) = (harness.store().await, Past::of(harness).await);
    for i in 0..200 {
        put(&store, &key(&format!("k{i}")), past.entry(NEW, "1")).await?;
    }
    store.clear().await.map_err(|error| error.to_string())?;
    for i in 0..200 {
        ensure!(
            get(&store, &key(&format!("k{i}"))).await?.is_none(),
            "an entry outlived `clear`"
        );
    }
    put(&store, &key("k0"), past.entry(OLD, "2")).await?;
    ensure!(
        body(&store, &key("k0")).await? == "2",
        "after `clear` it keeps nothing new"
    );
    Ok(())
}

pub(super) async fn a_dropped_put_happens_wholly_or_not_at_all(harness: &dyn Harness) -> Outcome {
    let (store, past) = (harness.store().await, Past::of(harness).await);
    for polls in 0..5 {
        let key = key(&format!("k{polls}"));
        put(&store, &key, past.entry(OLD, "\"before\"")).await?;
        {
            let mut dropped = pin!(store.put(&key, past.entry(NEW, "\"after\"")));
            let mut is_done = false;
            for _ in 0..polls {
                if !is_done {
                    is_done = poll_fn(|context| Poll::Ready(dropped.as_mut().poll(context).is_ready())).await;
                }
            }
        }
        let found = body(&store, &key).await?;
        ensure!(
            found == "\"before\"" || found == "\"after\"",
            "after a dropped put, found {found}"
        );
    }
    Ok(())
}

pub(super) async fn pointers_forward_everything(harness: &dyn Harness) -> Outcome {
    let (inner, past) = (harness.store().await, Past::of(harness).await);
    let boxed: Box<dyn Store> = Box::new(Arc::clone(&inner));
    let outer: Arc<dyn Store> = Arc::new(boxed);
    put(&outer, &key("k"), past.entry(NEW, "1")).await?;
    ensure!(
        body(&inner, &key("k")).await? == "1" && body(&outer, &key("k")).await? == "1",
        "`put` was not forwarded"
    );
    let kind = |store: &dyn Store| std::mem::discriminant(&store.peek(&key("k"), super::now()));
    ensure!(kind(&outer) == kind(&inner), "`peek` was not forwarded");
    ensure!(
        outer.time_to_live() == inner.time_to_live(),
        "`time_to_live` was not forwarded"
    );
    let seen = get(&outer, &key("k")).await?;
    ensure!(
        outer
            .remove(&key("k"), seen.as_ref())
            .await
            .is_ok_and(|removed| removed),
        "`remove` was not forwarded"
    );
    put(&inner, &key("k"), past.entry(NEW, "2")).await?;
    outer.clear().await.map_err(|error| error.to_string())?;
    ensure!(
        get(&inner, &key("k")).await?.is_none(),
        "`clear` was not forwarded"
    );
    Ok(())
}
