//! What invalidations reach, and what they leave alone.

use super::*;
use crate::clock::Clock;

fn key(n: usize) -> Key {
    Key::from_bytes(n.to_be_bytes())
}

fn sent() -> Sent {
    Sent::now(Clock::Tokio)
}

fn judge(epochs: &Epochs, sent: Sent, n: usize, tags: &[&str]) -> Verdict {
    let tags: Vec<String> = tags.iter().map(|tag| (*tag).to_owned()).collect();
    epochs.judge(sent, &key(n), &Route::new("shop", "get").unwrap(), &tags)
}

/// Proves: 3, E10.
#[test]
fn each_scope_reaches_what_came_before_it_and_nothing_else() {
    let reaching = [
        Scope::Everything,
        Scope::service("shop"),
        Scope::method("shop", "get"),
        Scope::tag("a"),
    ];
    let missing = [
        Scope::service("sho"),
        Scope::method("shop", "ge"),
        Scope::method("sho", "get"),
        Scope::tag("b"),
    ];
    for (scope, reached) in reaching
        .iter()
        .map(|s| (s, true))
        .chain(missing.iter().map(|s| (s, false)))
    {
        for (force, verdict) in [(Force::Hard, Verdict::Gone), (Force::Soft, Verdict::Expired)] {
            let epochs = Epochs::default();
            let before = sent();
            epochs.raise(scope, sent(), force);
            let expected = if reached { verdict } else { Verdict::Untouched };
            assert_eq!(judge(&epochs, before, 1, &["a"]), expected, "{scope:?}");
            assert_eq!(judge(&epochs, sent(), 1, &["a"]), Verdict::Untouched, "{scope:?}");
        }
    }
}

#[test]
fn hard_wins_over_soft_and_a_later_one_over_an_earlier() {
    let epochs = Epochs::default();
    let first = sent();
    epochs.raise_call(&key(1), sent(), Force::Hard);
    let second = sent();
    epochs.raise_call(&key(1), sent(), Force::Soft);
    assert_eq!(judge(&epochs, first, 1, &[]), Verdict::Gone);
    assert_eq!(judge(&epochs, second, 1, &[]), Verdict::Expired);
    assert_eq!(judge(&epochs, first, 2, &[]), Verdict::Untouched);
}

/// Proves: 5, E10.
#[tokio::test(start_paused = true)]
async fn within_one_moment_the_order_of_events_decides() {
    let epochs = Epochs::default();
    let (before, barrier, after) = (sent(), sent(), sent());
    epochs.raise(&Scope::Everything, barrier, Force::Hard);
    assert_eq!(judge(&epochs, before, 1, &[]), Verdict::Gone);
    assert_eq!(judge(&epochs, after, 1, &[]), Verdict::Untouched);
}

#[tokio::test(start_paused = true)]
async fn what_came_after_the_latest_needs_no_closer_look() {
    let epochs = Epochs::default();
    let before = sent();
    assert!(epochs.none_since(before.moment()));
    let barrier = sent();
    epochs.raise(&Scope::tag("a"), barrier, Force::Soft);
    assert!(!epochs.none_since(before.moment()) && epochs.any_tag_since(before));
    assert!(!epochs.any_tag_since(barrier), "it is no invalidation of itself");
    tokio::time::advance(std::time::Duration::from_nanos(1)).await;
    assert!(epochs.none_since(sent().moment()));
}

/// Else one invalidation would send all hits the long way until their answers are renewed.
#[test]
fn what_others_were_about_needs_no_closer_look() {
    let epochs = Epochs::default();
    let before = sent();
    for n in 0..20 {
        epochs.raise(&Scope::service(format!("other {n}")), sent(), Force::Hard);
        epochs.raise(&Scope::method("shop", format!("other {n}")), sent(), Force::Soft);
        epochs.raise(&Scope::tag(format!("other {n}")), sent(), Force::Hard);
        epochs.raise_call(&key(1000 + n), sent(), Force::Hard);
        epochs.raise_error(&key(2000 + n), sent());
    }
    let untouched = |n: &usize| {
        let tags = [format!("a {n}")];
        let at_once = epochs.none_of_it_since(before.moment(), &key(*n), &format!("shop {n}"), "get", &tags);
        assert!(!epochs.none_since(before.moment()));
        at_once
    };
    let at_once = (0..100).filter(untouched).count();
    assert!(at_once > 80, "{at_once} of 100"); // others share a place by chance: 6, about
}

/// Proves: 9.
#[test]
fn barriers_are_bounded_and_never_forgotten() {
    let epochs = Epochs::default();
    let old = sent();
    let mut middle = old;
    for n in 0..MAX_BARRIERS {
        epochs.raise_call(&key(n), sent(), Force::Hard);
        if n == MAX_BARRIERS / 2 {
            middle = sent();
        }
    }
    assert_eq!(judge(&epochs, old, usize::MAX, &[]), Verdict::Untouched);
    let young = sent();
    epochs.raise_call(&key(MAX_BARRIERS), sent(), Force::Soft);
    assert_eq!(epochs.lock().calls.len(), MAX_BARRIERS / 2);
    assert_eq!(
        judge(&epochs, middle, usize::MAX, &[]),
        Verdict::Untouched,
        "only the older half counts for all"
    );
    for n in [0, 1, MAX_BARRIERS / 2, MAX_BARRIERS - 1] {
        assert_eq!(judge(&epochs, old, n, &[]), Verdict::Gone, "{n} still counts");
    }
    assert_eq!(
        judge(&epochs, old, usize::MAX, &[]),
        Verdict::Gone,
        "as does more than was asked for"
    );
    assert_eq!(judge(&epochs, young, 0, &[]), Verdict::Untouched);
    assert_eq!(judge(&epochs, young, MAX_BARRIERS, &[]), Verdict::Expired);

    let epochs = Epochs::default();
    for n in 0..MAX_BARRIERS + 1 {
        epochs.raise(&Scope::tag(n.to_string()), sent(), Force::Soft);
    }
    assert_eq!(epochs.lock().tags.len(), MAX_BARRIERS / 2);
    assert_eq!(judge(&epochs, old, 0, &["0"]), Verdict::Expired);
    assert_eq!(
        judge(&epochs, old, 0, &["untold"]),
        Verdict::Expired,
        "whatever has a tag"
    );
    assert_eq!(judge(&epochs, old, 0, &[]), Verdict::Untouched);
}

/// Whoever asks for enough of what there is not, must not empty the cache.
///
/// Proves: 11.
#[test]
fn too_many_errors_take_nothing_that_is_stored_and_still_count_for_what_is_on_its_way() {
    let epochs = Epochs::default();
    let old = sent();
    (0..MAX_BARRIERS).for_each(|n| epochs.raise_error(&key(n), sent()));
    assert_eq!(judge(&epochs, old, 0, &[]), Verdict::Gone);
    assert!(!epochs.may_be_denied(old));
    let young = sent();
    epochs.raise_error(&key(MAX_BARRIERS), sent());
    assert_eq!(epochs.lock().errors.len(), MAX_BARRIERS / 2);
    assert_eq!(judge(&epochs, old, usize::MAX, &[]), Verdict::Untouched);
    assert!(epochs.may_be_denied(old) && !epochs.may_be_denied(young));
}

/// Proves: 9.
#[test]
fn names_from_outside_fill_no_memory() {
    let epochs = Epochs::default();
    let old = sent();
    for n in 0..=MAX_BARRIERS {
        epochs.raise(&Scope::method("shop", n.to_string()), sent(), Force::Soft);
    }
    assert_eq!(epochs.lock().services["shop"].methods.len(), MAX_BARRIERS);
    assert_eq!(judge(&epochs, old, 1, &[]), Verdict::Expired, "the whole service");

    let epochs = Epochs::default();
    for n in 0..=MAX_BARRIERS {
        epochs.raise(&Scope::service(n.to_string()), sent(), Force::Hard);
    }
    assert_eq!(epochs.lock().services.len(), MAX_BARRIERS);
    assert_eq!(judge(&epochs, old, 1, &[]), Verdict::Gone, "everything");
    let young = sent();
    epochs.raise(&Scope::service("0"), sent(), Force::Hard);
    assert_eq!(
        judge(&epochs, young, 1, &[]),
        Verdict::Untouched,
        "what has its place keeps it"
    );
}
