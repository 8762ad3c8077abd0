//! Where several tasks meet: the locks, atomics, tasks and waits of the standard library and of tokio. Under
//! `cfg(shuttle)` a scheduler stands in for them, which tries one interleaving after the other (`core/examples/shuttle`).
//!
//! What is not here is left as it is: tokio's `Notify`, `SetOnce` and `Semaphore` count as one step each, and so do locks
//! that nobody holds while meeting others.

#[cfg(not(shuttle))]
pub(crate) use {
    std::sync::{
        Mutex, MutexGuard,
        atomic::{AtomicBool, AtomicU64, AtomicUsize},
    },
    tokio::{
        spawn,
        time::{sleep_until, timeout},
    },
};

#[cfg(shuttle)]
pub use scheduled::end_task;
#[cfg(shuttle)]
pub(crate) use scheduled::{
    AtomicBool, AtomicU64, AtomicUsize, Mutex, MutexGuard, sleep_until, spawn, timeout,
};

#[cfg(shuttle)]
mod scheduled {
    use std::{
        cell::RefCell,
        collections::HashSet,
        future::{Future, pending, poll_fn},
        task::Poll,
        time::Duration,
    };

    pub(crate) use shuttle::sync::{
        Mutex, MutexGuard,
        atomic::{AtomicBool, AtomicU64, AtomicUsize},
    };
    use shuttle::{current, rand::Rng as _};
    use tokio::time::Instant;

    thread_local! {
        /// Tasks that are to end. (The scheduler runs all tasks of a schedule on one thread.)
        static ENDING: RefCell<HashSet<usize>> = RefCell::default();
    }

    /// Ends the task that asks for it at its next await, as a panic or the end of its runtime would: what it holds is
    /// dropped. (The scheduler's own locks don't survive unwinding.)
    pub fn end_task() {
        ENDING.with_borrow_mut(|ending| ending.insert(current::me().into()));
    }

    /// A task that the schedule is not over without.
    pub(crate) fn spawn<F>(future: F)
    where
        F: Future + Send + 'static,
        F::Output: Send,
    {
        let mut future = Some(Box::pin(future));
        let task = shuttle::future::spawn(poll_fn(move |cx| {
            let is_over = match &mut future {
                None => true,
                Some(running) => running.as_mut().poll(cx).is_ready(),
            };
            let is_ending = ENDING.with_borrow_mut(|ending| ending.remove(&current::me().into()));
            if is_over || is_ending {
                future = None;
                return Poll::Ready(());
            }
            Poll::Pending
        }));
        std::mem::forget(task); // dropping it would detach the task
    }

    /// Time is what a schedule makes of it: short limits pass by chance, sooner or later; long ones never.
    pub(crate) async fn sleep_until(deadline: Instant) {
        const LONG: Duration = Duration::from_secs(5);
        if deadline.saturating_duration_since(Instant::now()) > LONG {
            return pending().await;
        }
        for _ in 0..shuttle::rand::thread_rng().gen_range(0..16) {
            shuttle::future::yield_now().await;
        }
    }

    /// Runs out never.
    pub(crate) async fn timeout<F: Future>(_: Duration, future: F) -> Result<F::Output, Elapsed> {
        Ok(future.await)
    }

    pub(crate) struct Elapsed;
}
