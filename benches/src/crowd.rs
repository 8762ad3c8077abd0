//! Whether somebody else uses the core: what each half of one gets depends on what the other half does, and on a rented
//! machine the other half may be a stranger's.
//!
//! Operations that could all run at once, as most of a hit could, take up to twice as long beside a busy neighbour;
//! those that wait for each other, as in a bare look-up, hardly longer. So ratios of the two are a matter of the
//! neighbours too, and rounds are taken, as far as possible, while there are none.

use std::{
    hint::black_box,
    sync::atomic::{AtomicU64, Ordering},
    thread,
    time::{Duration, Instant},
};

/// How much slower than on a core of its own is still taken for that.
const TOLERATED: f64 = 1.1;

/// The lowest figure so far, which is that of a core of one's own, if there was ever one. Bits of positive floats are in
/// the order of the floats.
static LOWEST: AtomicU64 = AtomicU64::new(f64::INFINITY.to_bits());

/// How long this thread's core takes for more than it has units for, in nanoseconds.
pub fn crowding() -> f64 {
    // Of several, as an interrupt may fall into one.
    let lowest = (0..3).map(|_| one()).fold(f64::INFINITY, f64::min);
    LOWEST.fetch_min(lowest.to_bits(), Ordering::Relaxed);
    lowest
}

/// The higher figure of two cores that are busy at once.
pub fn crowding_of_two() -> f64 {
    thread::scope(|threads| {
        let other = threads.spawn(crowding);
        crowding().max(other.join().expect("no thread panics"))
    })
}

/// Whether a figure is that of a core of one's own, as far as this process has seen one.
pub fn is_alone(crowding: f64) -> bool {
    crowding <= TOLERATED * f64::from_bits(LOWEST.load(Ordering::Relaxed))
}

/// Waits for a core of one's own while there is patience left, which is used up by that.
pub fn wait(patience: &mut Duration, crowding: fn() -> f64) {
    const PAUSE: Duration = Duration::from_millis(2);
    while !is_alone(crowding()) && !patience.is_zero() {
        thread::sleep(PAUSE);
        *patience = patience.saturating_sub(PAUSE);
    }
}

fn one() -> f64 {
    const STEPS: u64 = 5_000;
    let began = Instant::now();
    black_box(six_at_once(black_box(STEPS)));
    began.elapsed().as_nanos() as f64
}

/// Six chains of operations that each wait for the one before. No two rotate alike, so that no instruction does two.
fn six_at_once(steps: u64) -> u64 {
    let (mut a, mut b, mut c, mut d, mut e, mut f) = (1u64, 2u64, 3u64, 4u64, 5u64, 6u64);
    for _ in 0..steps {
        a = a.rotate_left(1) ^ 0x9e37;
        b = b.rotate_left(3) ^ 0x79b9;
        c = c.rotate_left(5) ^ 0x7f4a;
        d = d.rotate_left(7) ^ 0x7c15;
        e = e.rotate_left(11) ^ 0xbf58;
        f = f.rotate_left(13) ^ 0x476d;
    }
    a ^ b ^ c ^ d ^ e ^ f
}
