//! A counter that costs a hit next to nothing: each thread counts where no other does.

use std::{
    cell::Cell,
    sync::atomic::{AtomicU64, AtomicUsize, Ordering},
};

/// A counter in parts, a cache line each. So many threads have a part of their own, in which they add without a locked
/// instruction; the others share the rest.
#[derive(Default)]
pub(crate) struct Striped {
    own: [Stripe; OWNED],
    shared: [Stripe; SHARED],
}

/// Threads that have a part of their own: one per bit of [`TAKEN`].
const OWNED: usize = 32;

/// Parts that the threads beyond them share.
const SHARED: usize = 16;

#[derive(Default)]
#[repr(align(128))]
struct Stripe(AtomicU64);

impl Striped {
    #[inline]
    pub(crate) fn count(&self) {
        match self.own.get(PLACE.get()) {
            Some(Stripe(own)) => own.store(own.load(Ordering::Relaxed) + 1, Ordering::Relaxed),
            None => self.count_otherwise(),
        }
    }

    #[cold]
    #[inline(never)]
    fn count_otherwise(&self) {
        match PLACE
            .get()
            .checked_sub(OWNED)
            .and_then(|place| self.shared.get(place))
        {
            Some(Stripe(shared)) => {
                shared.fetch_add(1, Ordering::Relaxed);
            }
            None => {
                // Where the thread is ending there is no lease any more.
                let own = LEASE.try_with(|lease| lease.0).ok().flatten();
                PLACE.set(own.unwrap_or_else(shared_place));
                self.count();
            }
        }
    }

    pub(crate) fn sum(&self) -> u64 {
        self.own
            .iter()
            .chain(&self.shared)
            .map(|stripe| stripe.0.load(Ordering::Relaxed))
            .sum()
    }
}

thread_local! {
    /// Where this thread counts, in all counters.
    static PLACE: Cell<usize> = const { Cell::new(UNKNOWN) };
    static LEASE: Lease = Lease::take();
}

const UNKNOWN: usize = usize::MAX;

/// A bit for each place that a thread has to itself.
static TAKEN: AtomicU64 = AtomicU64::new(0);

/// A thread's place of its own, until the thread ends.
struct Lease(Option<usize>);

impl Lease {
    fn take() -> Self {
        let mut taken = TAKEN.load(Ordering::Relaxed);
        loop {
            let free = taken.trailing_ones() as usize;
            if free >= OWNED {
                return Self(None);
            }
            // Acquired, as it is released below: who had it before has done with it, and all it counted is there.
            match TAKEN.compare_exchange_weak(taken, taken | 1 << free, Ordering::Acquire, Ordering::Relaxed)
            {
                Ok(_) => return Self(Some(free)),
                Err(now) => taken = now,
            }
        }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if let Some(place) = self.0 {
            PLACE.set(shared_place());
            TAKEN.fetch_and(!(1 << place), Ordering::Release);
        }
    }
}

fn shared_place() -> usize {
    static THREADS: AtomicUsize = AtomicUsize::new(0);
    OWNED + THREADS.fetch_add(1, Ordering::Relaxed) % SHARED
}

#[cfg(test)]
mod tests {
    use std::{sync::Barrier, thread};

    use super::*;

    #[test]
    fn of_more_threads_at_once_than_places_no_two_have_the_same_and_no_count_is_lost() {
        const THREADS: usize = OWNED + 2 * SHARED;
        let (counter, all) = (Striped::default(), Barrier::new(THREADS));
        let count = || {
            all.wait();
            (0..1000).for_each(|_| counter.count());
            all.wait();
            PLACE.get()
        };
        let mut own: Vec<usize> = thread::scope(|threads| {
            let threads: Vec<_> = (0..THREADS).map(|_| threads.spawn(count)).collect();
            let places = threads.into_iter().map(|thread| thread.join().unwrap());
            places.filter(|place| *place < OWNED).collect()
        });
        assert_eq!(counter.sum(), THREADS as u64 * 1000);
        let many = own.len();
        own.sort_unstable();
        own.dedup();
        assert!(own.len() == many && many > 0, "{own:?} of {many}");
    }

    #[test]
    fn a_place_goes_from_one_thread_to_the_next_with_its_count() {
        let counter = Striped::default();
        for _ in 0..3 * OWNED {
            thread::scope(|threads| {
                for _ in 0..2 {
                    threads.spawn(|| counter.count());
                }
            });
        }
        assert_eq!(counter.sum(), 6 * OWNED as u64);
    }

    #[test]
    fn a_thread_that_is_ending_counts_too() {
        struct Late(std::sync::Arc<Striped>);
        impl Drop for Late {
            fn drop(&mut self) {
                self.0.count();
            }
        }
        thread_local! {
            static LATE: Cell<Option<Late>> = const { Cell::new(None) };
        }
        let counter = std::sync::Arc::new(Striped::default());
        let theirs = counter.clone();
        thread::spawn(move || {
            LATE.set(Some(Late(theirs.clone()))); // registered first, dropped last or first: both are right
            theirs.count();
        })
        .join()
        .unwrap();
        assert_eq!(counter.sum(), 2);
    }
}
