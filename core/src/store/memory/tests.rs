use super::*;

fn key(n: usize) -> Key {
    Key::from_bytes(n.to_be_bytes())
}

fn entry(nanos: u64, bytes: usize) -> Entry {
    Entry::new(Moment::from_nanos(nanos), vec![b' '; bytes])
}

/// Proves: 69, S4, R18.
#[tokio::test]
async fn it_holds_no_more_entries_than_it_may() {
    for (max, put) in [(1, 20), (10, 1000), (1024, 5000), (10_000, 50_000)] {
        let store = MemoryStore::builder().max_entries(max).build();
        for n in 0..put {
            assert_eq!(store.put(&key(n), entry(0, 10)).await.unwrap(), Put::Stored);
            assert!(store.len() <= max, "{} of {max}", store.len());
        }
        assert!(
            store.len() * 10 >= max * 9,
            "{} of {max}: the shards share unevenly",
            store.len()
        );
    }
}

/// Proves: 69, S4, R18.
#[tokio::test]
async fn it_holds_no_more_bytes_than_it_may() {
    let store = MemoryStore::builder()
        .max_entries(1_000_000)
        .max_bytes(1 << 20)
        .build();
    for n in 0..2000 {
        store.put(&key(n), entry(0, 5000)).await.unwrap();
        assert!(store.len() * 10_000 <= 1 << 20, "{}", store.len());
    }
    assert!(store.len() >= 90, "{}", store.len());
}

/// Proves: 68, R18.
#[tokio::test]
async fn a_reply_too_large_leaves_the_old_one_in_place() {
    let store = MemoryStore::builder().max_bytes(1 << 20).build();
    store.put(&key(1), entry(1, 10)).await.unwrap();
    assert_eq!(
        store.put(&key(1), entry(2, 200_000)).await.unwrap(),
        Put::TooLarge
    );
    assert_eq!(
        store.look_up(&key(1), Moment::default()).unwrap().body().len(),
        10
    );
    assert_eq!(store.rejected_too_large(), 1);
    assert_eq!(store.put(&key(1), entry(2, 50_000)).await.unwrap(), Put::Stored);
}

/// Proves: S2.
#[tokio::test]
async fn time_to_live_counts_from_the_request_and_is_exact() {
    let life = Duration::from_nanos(100);
    let store = MemoryStore::ttl(10, life);
    store.put(&key(1), entry(50, 1)).await.unwrap();
    assert!(store.look_up(&key(1), Moment::from_nanos(149)).is_some());
    assert!(store.look_up(&key(1), Moment::from_nanos(150)).is_none());
    assert!(store.is_empty(), "what is too old makes room");
    assert_eq!(store.time_to_live(), Some(life));
}

#[tokio::test]
async fn what_was_just_put_is_there_however_full_the_store_is() {
    for max in [1, 2, 3, 10, 100] {
        let store = MemoryStore::builder().max_entries(max).build();
        for n in 0..1000 {
            store.put(&key(n), entry(0, 1)).await.unwrap();
            for asked in [n, n.saturating_sub(1), n.saturating_sub(2)] {
                let there = store.look_up(&key(asked), Moment::default()).is_some();
                assert!(there || asked != n, "{n} of {max}");
            }
        }
    }
}

/// Proves: 60, S3.
#[tokio::test]
async fn keys_are_compared_in_full() {
    let store = MemoryStore::new();
    for length in [0, 45, 46, 47, 500] {
        let (a, b) = (
            Key::from_bytes(vec![1; length]),
            Key::from_bytes([vec![1; length], vec![2]].concat()),
        );
        store.put(&a, entry(0, length)).await.unwrap();
        assert!(store.look_up(&b, Moment::default()).is_none());
        assert_eq!(store.look_up(&a, Moment::default()).unwrap().body().len(), length);
    }
}

/// Who wants to bound entries only, sets the bytes to the most there are: sums of what entries are charged overflowed, and
/// nothing was evicted any more.
///
/// Proves: 69, S4, R18.
#[tokio::test]
async fn bytes_without_a_bound_leave_entries_theirs() {
    for max in [1, 2, 100, 3000] {
        let store = MemoryStore::builder()
            .max_entries(max)
            .max_bytes(usize::MAX)
            .build();
        for n in 0..3 * max {
            store.put(&key(n), entry(0, 10)).await.unwrap();
        }
        assert!(
            store.len() <= max && store.len() * 10 >= max * 9,
            "{} of {max}",
            store.len()
        );
    }
}

/// Who wants to bound bytes only, sets the entries to the most there are: whatever had left was remembered for ever.
///
/// Proves: 69, S12, R18.
#[tokio::test]
async fn entries_without_a_bound_leave_bytes_theirs() {
    const BYTES: usize = 64 << 10;
    let store = MemoryStore::builder()
        .max_entries(usize::MAX)
        .max_bytes(BYTES)
        .build();
    for n in 0..20_000 {
        store.put(&key(n), entry(0, 10)).await.unwrap();
    }
    let used = store.0.cache.memory_used().total();
    assert!(!store.is_empty() && used < 2 * BYTES, "{used} bytes");
}
