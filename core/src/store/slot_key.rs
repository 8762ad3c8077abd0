//! Keys as the store in memory holds and looks them up: compared in full, found by their own hash.

use std::hash::{Hash, Hasher};

use quick_cache::Equivalent;

use crate::key::Key;

/// A key as the cache holds it: short ones inline, so that comparing them touches no other memory.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct SlotKey {
    hash: u64,
    bytes: KeyBytes,
}

#[derive(Clone, PartialEq, Eq)]
enum KeyBytes {
    Inline(u8, [u8; KeyBytes::INLINE]),
    Heap(Box<[u8]>),
}

impl KeyBytes {
    const INLINE: usize = 46;
}

impl SlotKey {
    pub(super) fn new(key: &Key) -> Self {
        let bytes = key.as_bytes();
        let mut inline = [0; KeyBytes::INLINE];
        let bytes = match inline.get_mut(..bytes.len()) {
            Some(place) => {
                place.copy_from_slice(bytes);
                KeyBytes::Inline(bytes.len() as u8, inline)
            }
            None => KeyBytes::Heap(bytes.into()),
        };
        Self {
            hash: key.hash64(),
            bytes,
        }
    }

    #[inline]
    fn as_bytes(&self) -> &[u8] {
        match &self.bytes {
            KeyBytes::Inline(len, bytes) => &bytes[..usize::from(*len)],
            KeyBytes::Heap(bytes) => bytes,
        }
    }

    pub(super) fn heap_bytes(&self) -> usize {
        match &self.bytes {
            KeyBytes::Inline(..) => 0,
            KeyBytes::Heap(bytes) => bytes.len(),
        }
    }
}

impl Hash for SlotKey {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.hash);
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
        self.0.hash64() == key.hash && same(self.0.as_bytes(), key.as_bytes())
    }
}

/// Whether they are equal. Compared by words and inlined: a call in the middle of a look-up would cost as much as what it
/// compares, since all that the look-up has at hand would be stored before it and loaded after it.
#[inline(always)]
fn same(a: &[u8], b: &[u8]) -> bool {
    if a.len() != b.len() {
        return false;
    }
    let (words, others) = (a.as_chunks::<8>(), b.as_chunks::<8>());
    for (x, y) in words.0.iter().zip(others.0) {
        if u64::from_ne_bytes(*x) != u64::from_ne_bytes(*y) {
            return false;
        }
    }
    match (a.last_chunk::<8>(), b.last_chunk::<8>()) {
        (Some(x), Some(y)) => u64::from_ne_bytes(*x) == u64::from_ne_bytes(*y),
        _ => words.1.iter().eq(others.1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Proves: 60, R9.
    #[test]
    fn the_same_hash_is_not_the_same_key() {
        for length in [0, 45, 46, 47, 500] {
            let (a, b) = (
                Key::from_bytes(vec![1; length]),
                Key::from_bytes(vec![2; length + 1]),
            );
            assert!(Probe(&a).equivalent(&SlotKey::new(&a)));
            let forged = SlotKey {
                hash: b.hash64(),
                ..SlotKey::new(&a)
            };
            assert!(!Probe(&b).equivalent(&forged));
        }
    }
}
