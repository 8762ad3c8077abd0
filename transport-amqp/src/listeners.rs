//! Who hears which events, on whatever link there is.

use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use nameko_cachetools::{Event, Events, Listener, Teller};
use tokio::{sync::watch, task::JoinSet, time::sleep};

use crate::{calls::Calls, link::Link, topology::EventQueue};

/// The listeners of a transport. They outlive its links.
pub(crate) struct Listeners {
    /// `None` once the transport is over.
    all: Mutex<Option<Vec<Arc<Wanted>>>>,
    /// How many there have been.
    count: watch::Sender<u64>,
}

struct Wanted {
    number: u64,
    app: String,
    events: Events,
    teller: Teller,
}

impl Listeners {
    pub(crate) fn add(&self, app: &str, events: &Events) -> Listener {
        let (teller, listener) = Listener::pair();
        let mut all = self.lock();
        let Some(all) = all.as_mut() else {
            return listener; // and nobody tells it anything
        };
        all.retain(|wanted| !wanted.teller.is_closed());
        let number = *self.count.borrow() + 1;
        all.push(Arc::new(Wanted {
            number,
            app: app.to_owned(),
            events: events.clone(),
            teller,
        }));
        self.count.send_replace(number);
        listener
    }

    /// The transport is over, and nobody will hear anything any more.
    pub(crate) fn clear(&self) {
        *self.lock() = None;
    }

    fn newer_than(&self, number: u64) -> Vec<Arc<Wanted>> {
        let all = self.lock();
        let newer = all.iter().flatten().filter(|wanted| wanted.number > number);
        newer.cloned().collect()
    }

    fn lock(&self) -> MutexGuard<'_, Option<Vec<Arc<Wanted>>>> {
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for Listeners {
    fn default() -> Self {
        Self {
            all: Mutex::new(Some(Vec::new())),
            count: watch::Sender::new(0),
        }
    }
}

/// All that is heard on one link. Dropping it ends it.
pub(crate) struct Hearing {
    listeners: Arc<Listeners>,
    calls: Arc<Calls>,
    link: Arc<dyn Link>,
    max_bytes: usize,
    count: watch::Receiver<u64>,
    begun: u64,
    under_way: JoinSet<()>,
}

impl Hearing {
    pub(crate) fn new(
        listeners: Arc<Listeners>,
        calls: Arc<Calls>,
        link: Arc<dyn Link>,
        max_bytes: usize,
    ) -> Self {
        Self {
            count: listeners.count.subscribe(),
            listeners,
            calls,
            link,
            max_bytes,
            begun: 0,
            under_way: JoinSet::new(),
        }
    }

    /// Begins whatever is wanted and not begun; returns when there is more. May be dropped and called again.
    pub(crate) async fn begin(&mut self) {
        while self.under_way.try_join_next().is_some() {}
        let count = *self.count.borrow_and_update();
        for wanted in self.listeners.newer_than(self.begun) {
            self.begun = wanted.number;
            let told = EventsTold {
                teller: wanted.teller.clone(),
                calls: self.calls.clone(),
                max_bytes: self.max_bytes,
            };
            self.under_way.spawn(hear(self.link.clone(), wanted, told));
        }
        self.begun = self.begun.max(count);
        let begun = self.begun;
        let _ = self.count.wait_for(|count| *count > begun).await; // the sender is in `listeners`
    }
}

/// Hears events until nobody listens any more, or the link is over.
///
/// Each time by a queue of its own: the one before is exclusive, and a broker that hasn't heard of its connection's end
/// refuses it to any other until heartbeats are missed.
async fn hear(link: Arc<dyn Link>, wanted: Arc<Wanted>, told: EventsTold) {
    loop {
        let queue = EventQueue::new(&wanted.app, &wanted.events);
        let exchange = queue.exchange.clone();
        let reason = tokio::select! {
            biased;
            () = wanted.teller.closed() => return,
            reason = link.listen(queue, told.clone()) => reason,
        };
        tracing::warn!(exchange, reason, "events are not heard");
        sleep(RETRY).await;
    }
}

/// As long as after a refusal: the cause is one, such as a permission that is missing; or the link is over anyway.
const RETRY: Duration = Duration::from_secs(10);

/// Where a link hands on what it hears. Cheap to clone; nothing here waits.
#[derive(Clone)]
pub struct EventsTold {
    teller: Teller,
    calls: Arc<Calls>,
    max_bytes: usize,
}

impl EventsTold {
    /// The queue is bound and consumed: from now on nothing is missed.
    pub fn begins(&self) {
        self.teller.gap();
    }

    /// An event came. One that is longer than a reply may be is a gap.
    pub fn event(&self, event: Event) {
        self.calls.hear();
        if event.body.len() > self.max_bytes {
            self.teller.gap();
        } else {
            self.teller.event(event);
        }
    }
}

impl fmt::Debug for EventsTold {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("EventsTold(..)")
    }
}
