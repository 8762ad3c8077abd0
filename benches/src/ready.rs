//! What bare caches are asked with: keys as short as ours are, written and hashed beforehand.

use std::hash::{BuildHasher, BuildHasherDefault, Hash, Hasher, RandomState};

/// Up to 46 bytes within, and their hash.
#[derive(Clone, Debug)]
#[allow(
    missing_copy_implementations,
    reason = "keys are cloned where they are inserted"
)]
pub struct ReadyKey {
    hash: u64,
    length: u8,
    bytes: [u8; 46],
}

impl ReadyKey {
    /// As many different keys of 28 bytes.
    pub fn list(keys: u64) -> Vec<Self> {
        let state = RandomState::new();
        (0..keys)
            .map(|n| {
                let mut bytes = [0; 46];
                bytes[..28].copy_from_slice(format!("a key of some {n:>8} bytes").as_bytes());
                Self {
                    hash: state.hash_one(n),
                    length: 28,
                    bytes,
                }
            })
            .collect()
    }

    fn as_bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.length)]
    }
}

impl PartialEq for ReadyKey {
    fn eq(&self, other: &Self) -> bool {
        self.hash == other.hash && self.as_bytes() == other.as_bytes()
    }
}

impl Eq for ReadyKey {}

impl Hash for ReadyKey {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.hash);
    }
}

/// Hashes a [`ReadyKey`] by its own hash.
pub type AsReady = BuildHasherDefault<Ready>;

/// Passes a ready hash on.
#[derive(Default, Debug, Clone, Copy)]
pub struct Ready(u64);

impl Hasher for Ready {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }

    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }
}

/// A bare `quick_cache` for so many keys, and some more, so that nothing is evicted.
pub fn quick_cache<V: Clone>(
    keys: u64,
) -> quick_cache::sync::Cache<ReadyKey, V, quick_cache::UnitWeighter, AsReady> {
    let room = 2 * keys as usize;
    quick_cache::sync::Cache::with(
        room,
        room as u64,
        quick_cache::UnitWeighter,
        AsReady::default(),
        quick_cache::sync::DefaultLifecycle::default(),
    )
}

/// A bare moka for so many keys, and some more.
pub fn moka<V: Clone + Send + Sync + 'static>(keys: u64) -> moka::sync::Cache<ReadyKey, V, AsReady> {
    moka::sync::Cache::builder()
        .max_capacity(2 * keys)
        .build_with_hasher(AsReady::default())
}
