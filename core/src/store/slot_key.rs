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
        self.0.hash64() == key.hash && self.0.as_bytes() == key.as_bytes()
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
