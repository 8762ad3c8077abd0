//! nameko's events: what the test sends in a service's place, and who hears it.

use std::{fmt, sync::Arc};

use nameko_cachetools::{Event, EventSource, Events, JSON, Listener, Teller};
use serde::Serialize;

use crate::{FakeBroker, FakeTransport, fail, json::python_json, topic};

/// # Events
impl FakeBroker {
    /// `service` sends an event, as nameko's `EventDispatcher` does: JSON, to whoever listens now. In memory that is who
    /// listens by a [`FakeTransport`]; on a port, whoever has bound a queue to the exchange `{service}.events`.
    ///
    /// While the broker is [`down`](Self::down), nobody hears it; who listens is told afterwards that something may have
    /// been missed. While it is [`blocked`](Self::blocked), events are heard all the same.
    ///
    /// # Panics
    /// If `payload` can't be written as JSON.
    ///
    /// ```
    /// use nameko_cachetools::{CacheFirstRpcProxy, EventSource, Events, Heard, Scope};
    /// # use nameko_cachetools_testkit::{Answer, FakeBroker};
    /// # use serde_json::json;
    /// # #[tokio::main(flavor = "current_thread", start_paused = true)]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let broker = FakeBroker::new();
    /// broker.on("products.price").reply(Answer::ok(12)).then(Answer::ok(15));
    /// let transport = broker.transport();
    /// let mut events = transport.listen(Events::of("products", ["price_changed"])?);
    /// let client = nameko_cachetools::Client::new(transport);
    /// let products = CacheFirstRpcProxy::new("products", &client);
    /// tokio::spawn(async move {
    ///     while let Some(Heard::Event(_) | Heard::Gap) = events.next().await {
    ///         client.invalidate(&Scope::method("products", "price"));
    ///     }
    /// });
    /// broker.settle().await;
    ///
    /// assert_eq!(*products.call::<u32, _>("price", ("o1",)).await?, 12);
    /// assert_eq!(*products.call::<u32, _>("price", ("o1",)).await?, 12); // from the cache
    /// broker.dispatch("products", "price_changed", json!({"id": "o1"}));
    /// broker.settle().await;
    /// assert_eq!(*products.call::<u32, _>("price", ("o1",)).await?, 15);
    /// # Ok(())
    /// # }
    /// ```
    #[track_caller]
    pub fn dispatch(&self, service: &str, event_type: &str, payload: impl Serialize) {
        match python_json(&payload) {
            Ok(json) => self.dispatch_event(service, Event::new(event_type, Some(JSON.to_owned()), json)),
            Err(error) => fail(format!("dispatch: the payload can't be written as JSON: {error}")),
        }
    }

    /// The same with any body, content type and headers: also such as no nameko service sends.
    ///
    /// ```
    /// # use nameko_cachetools::Event;
    /// # use nameko_cachetools_testkit::FakeBroker;
    /// # let broker = FakeBroker::new();
    /// broker.dispatch_event("products", Event::new("price_changed", None, "no JSON"));
    /// ```
    pub fn dispatch_event(&self, service: &str, event: Event) {
        let mut state = self.hub.lock();
        let heard = state.tell(service, &event);
        let taps = match heard {
            None => Vec::new(),
            Some(_) => state.listeners.taps.clone(),
        };
        let told = match heard {
            None => "lost, the broker is down".to_owned(),
            Some(heard) => format!("heard by {heard} in memory"),
        };
        state
            .log
            .of_broker(format!("event {service}.{}: {told}", event.event_type));
        drop(state);
        taps.iter().for_each(|tap| tap(service, &event));
    }
}

/// Hears what the broker [dispatches](FakeBroker::dispatch), from now on. A lost connection is a gap, and so is the
/// beginning.
impl EventSource for FakeTransport {
    fn listen(&self, events: Events) -> Listener {
        let (teller, listener) = Listener::pair();
        self.hub.lock().listen(self.connection, events, teller);
        listener
    }
}

/// Who listens.
#[derive(Default)]
pub(crate) struct Listeners {
    pub(crate) all: Vec<Listening>,
    /// Brokers on ports, which have queues for it.
    pub(crate) taps: Vec<Tap>,
}

/// Takes an event of a service.
pub(crate) type Tap = Arc<dyn Fn(&str, &Event) + Send + Sync>;

/// One who listens in memory.
pub(crate) struct Listening {
    pub(crate) connection: u32,
    events: Events,
    teller: Teller,
    /// Not while there is no connection.
    hears: bool,
}

impl Listening {
    pub(crate) fn new(connection: u32, events: Events, teller: Teller) -> Self {
        Self {
            connection,
            events,
            teller,
            hears: false,
        }
    }

    /// Whether somebody still wants it.
    pub(crate) fn is_wanted(&self) -> bool {
        !self.teller.is_closed()
    }

    /// The connection is there, or it isn't.
    pub(crate) fn connected(&mut self, is_connected: bool) {
        if is_connected && !self.hears {
            self.teller.gap();
        }
        self.hears = is_connected;
    }

    /// Tells of an event, if it is one of those listened for.
    pub(crate) fn tell(&self, service: &str, event: &Event) -> bool {
        let fits = |pattern: &String| topic::matches(pattern, &event.event_type);
        let is_for = self.hears && self.events.service() == service && self.events.types().iter().any(fits);
        if is_for {
            self.teller.event(event.clone());
        }
        is_for
    }
}

impl fmt::Debug for Listeners {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Listeners({})", self.all.len())
    }
}
