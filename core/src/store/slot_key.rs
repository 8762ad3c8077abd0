//! Keys as the store in memory holds and looks them up: compared in full, found by their own hash.

use std::hash::{Hash, Hasher};

use quick_cache::Equivalent;

use crate::key::{Ends, Key, hash};

/// A key as the cache holds it: short ones inline, so that comparing them touches no other memory.
#[derive(Clone, PartialEq, Eq)]
pub(super) enum SlotKey {
    Inline(u8, [u8; INLINE]),
    Heap(Box<[u8]>),
}

const INLINE: usize = 46;

impl SlotKey {
    pub(super) fn new(key: &Key) -> Self {
        let bytes = key.as_bytes();
        let mut inline = [0; INLINE];
        match inline.get_mut(..bytes.len()) {
            Some(place) => {
                place.copy_from_slice(bytes);
                Self::Inline(bytes.len() as u8, inline)
            }
            None => Self::Heap(bytes.into()),
        }
    }

    #[inline]
    fn as_bytes(&self) -> &[u8] {
        match self {
            Self::Inline(len, bytes) => &bytes[..usize::from(*len)],
            Self::Heap(bytes) => bytes,
        }
    }

    pub(super) fn heap_bytes(&self) -> usize {
        match self {
            Self::Inline(..) => 0,
            Self::Heap(bytes) => bytes.len(),
        }
    }
}

/// Calculated anew: puts, evictions and a table that grows ask for it, and hits don't. It would take 8 bytes per entry.
impl Hash for SlotKey {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(hash(self.as_bytes()));
    }
}

/// A borrowed key to look up with.
pub(super) struct Probe<'a>(pub(super) &'a Key);

impl Hash for Probe<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.0.hash64());
    }
}

impl Equivalent<SlotKey> for Probe<'_> {
    #[inline]
    fn equivalent(&self, key: &SlotKey) -> bool {
        same(self.0.as_bytes(), key.as_bytes())
    }
}

/// Whether they are equal. Keys as most are, are compared inline, in blocks that overlap: a call in the middle of a
/// look-up costs as much as what it compares, since all that the look-up has at hand is stored before it and loaded after
/// it.
#[inline(always)]
fn same(a: &[u8], b: &[u8]) -> bool {
    if a.len() != b.len() {
        return false;
    }
    match (Ends::of(a), Ends::of(b)) {
        (Some(a), Some(b)) => a.first == b.first && a.last == b.last,
        _ => same_otherwise(a, b),
    }
}

#[inline(never)]
fn same_otherwise(a: &[u8], b: &[u8]) -> bool {
    a == b
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key::Ready;

    /// Proves: 60, R9.
    #[test]
    fn keys_are_found_by_their_hash_and_compared_in_full() {
        let ready = |key: &dyn Fn(&mut Ready)| {
            let mut hasher = Ready::default();
            key(&mut hasher);
            hasher.finish()
        };
        for length in [0, 1, 15, 16, 17, 31, 32, 33, 45, 46, 47, 500] {
            let key = Key::from_bytes(vec![1; length]);
            let (probe, slot) = (Probe(&key), SlotKey::new(&key));
            assert_eq!(ready(&|to| probe.hash(to)), ready(&|to| slot.hash(to)));
            assert!(probe.equivalent(&slot));
            assert!(!probe.equivalent(&SlotKey::new(&Key::from_bytes(vec![1; length + 1]))));
            for place in 0..length {
                let mut other = vec![1; length];
                other[place] = 2;
                assert!(
                    !probe.equivalent(&SlotKey::new(&Key::from_bytes(other))),
                    "{place} of {length}"
                );
            }
        }
    }
}
