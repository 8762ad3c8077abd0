//! Which keys are asked for, in which order.

use rand_chacha::{ChaCha8Rng, rand_core::SeedableRng};
use rand_distr::{Distribution, Zipf};

/// `length` keys from 0 to `keys - 1`, by Zipf's law with the exponent 0.99, as caches are usually measured. Which keys are
/// the popular ones is mixed up, so that they don't lie beside each other in memory.
///
/// # Panics
/// If there are no keys.
pub fn zipf(keys: u64, length: usize, seed: u64) -> Vec<u64> {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let law = Zipf::new(keys as f64, 0.99).expect("there are keys");
    let mixed = |rank: f64| ((rank as u64 - 1).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 7) % keys;
    (0..length).map(|_| mixed(law.sample(&mut random))).collect()
}
