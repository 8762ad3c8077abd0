//! A service that answers as a schedule wants, and callers who leave when they want.

use std::{
    future::{Future, poll_fn},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    task::Poll,
};

use nameko_cachetools::{Client, Delivery, Request, Response, TransportError, transport_fn};
use shuttle::{
    future::{JoinHandle, yield_now},
    rand::{Rng as _, thread_rng},
};

/// A number below `end`, drawn by the schedule.
pub(crate) fn below(end: u64) -> u64 {
    thread_rng().gen_range(0..end)
}

/// Lets others go first, up to `most` times.
pub(crate) async fn linger(most: u64) {
    for _ in 0..below(most + 1) {
        yield_now().await;
    }
}

/// A service with one value, which grows; it answers with it as it is at some moment of the request.
#[derive(Clone, Default)]
pub(crate) struct Service(Arc<State>);

#[derive(Default)]
struct State {
    value: AtomicU64,
    in_flight: AtomicU64,
    most_in_flight: AtomicU64,
    /// What of requests ends otherwise than well, in percent.
    trouble: AtomicU64,
    /// The values that requests were answered with.
    answered: Mutex<Vec<u64>>,
}

/// Ends with its request, whatever ends it.
struct InFlight(Service);

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.0.in_flight.fetch_sub(1, Relaxed);
    }
}

impl Service {
    /// So many percent of requests fail, or end their task.
    pub(crate) fn set_trouble(&self, percent: u64) {
        self.0.trouble.store(percent, Relaxed);
    }

    /// A new value, which this returns.
    pub(crate) fn change(&self) -> u64 {
        self.0.value.fetch_add(1, Relaxed) + 1
    }

    pub(crate) fn in_flight(&self) -> u64 {
        self.0.in_flight.load(Relaxed)
    }

    pub(crate) fn most_in_flight(&self) -> u64 {
        self.0.most_in_flight.load(Relaxed)
    }

    pub(crate) fn has_answered(&self, value: u64) -> bool {
        self.answered().contains(&value)
    }

    pub(crate) fn client(&self) -> Client {
        let service = self.clone();
        Client::new(transport_fn(move |_: Request| service.clone().answer()))
    }

    async fn answer(self) -> Result<Response, TransportError> {
        let in_flight = self.0.in_flight.fetch_add(1, Relaxed) + 1;
        self.0.most_in_flight.fetch_max(in_flight, Relaxed);
        let _in_flight = InFlight(self.clone());
        linger(3).await;
        if below(100) < self.0.trouble.load(Relaxed) {
            if below(2) == 0 {
                nameko_cachetools::end_task();
                std::future::pending::<()>().await;
            }
            return Err(TransportError::other("as planned", Delivery::Unknown));
        }
        let value = self.0.value.load(Relaxed);
        self.answered().push(value);
        linger(3).await;
        Ok(Response::json(format!(r#"{{"result": {value}, "error": null}}"#)))
    }

    fn answered(&self) -> std::sync::MutexGuard<'_, Vec<u64>> {
        // Held by one step of a schedule, never by two.
        self.0.answered.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What `future` brings, unless its caller leaves before: after up to so many polls, or never. Who will leave is polled
/// again whenever the schedule wants, not only when there is news: callers leave while nothing happens.
pub(crate) async fn leaving<F: Future>(future: F, most_polls: Option<u64>) -> Option<F::Output> {
    let mut polls = most_polls.map(below);
    let mut future = Box::pin(future);
    poll_fn(move |cx| {
        match &mut polls {
            Some(0) => return Poll::Ready(None),
            Some(polls) => {
                *polls -= 1;
                cx.waker().wake_by_ref();
            }
            None => {}
        }
        future.as_mut().poll(cx).map(Some)
    })
    .await
}

/// Runs all of these at once; what they bring.
pub(crate) fn together<F>(futures: impl IntoIterator<Item = F>) -> Vec<F::Output>
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    let tasks: Vec<JoinHandle<_>> = futures.into_iter().map(shuttle::future::spawn).collect();
    shuttle::future::block_on(async {
        let mut brought = Vec::new();
        for task in tasks {
            brought.extend(task.await.ok());
        }
        brought
    })
}
