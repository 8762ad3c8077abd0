//! What the cache evicts, kept until it is whole again and its locks are free.

use quick_cache::Lifecycle;

use super::slot_key::SlotKey;
use crate::entry::Entry;

/// Letting go of a value runs its owner's code, which may panic, or ask the same store: the cache itself must not do it.
#[derive(Debug, Clone)]
pub(super) struct LetGoLater;

/// The entries that made room for one that was put, few as a rule.
#[derive(Default)]
pub(super) struct LetGo {
    first: Option<Entry>,
    others: Vec<Entry>,
}

impl Lifecycle<SlotKey, Entry> for LetGoLater {
    type RequestState = LetGo;

    #[inline]
    fn on_evict(&self, evicted: &mut LetGo, _: SlotKey, entry: Entry) {
        match evicted.first {
            None => evicted.first = Some(entry),
            Some(_) => evicted.others.push(entry),
        }
    }
}
