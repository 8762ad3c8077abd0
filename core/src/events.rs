//! nameko's events: what services tell everybody who wants to know.

use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
};

use bytes::Bytes;
use tokio::sync::mpsc;

use crate::{message::Headers, route};

/// Hears the events of nameko services, as nameko's own handlers of type `BROADCAST` without reliable delivery: each
/// process hears every event. [The guide](crate::guide::invalidation#when-a-service-sends-an-event) invalidates by them.
///
/// # What is lost
/// The broker keeps no event for who isn't connected, a listener is slow, a network is cut. Nothing of that goes
/// unnoticed: a [`Heard::Gap`] comes after it, and whoever keeps something up to date by events takes it for outdated
/// then. Not even a gap tells of events that were sent in other ways than by this broker, or lost by their sender.
///
/// # Contract for implementors
/// - A listener gets a gap first, as soon as events are heard, and each time they are heard again after they were not.
/// - Between two gaps no event is missing, none comes twice, and those of one sender are in order.
/// - It is heard again by itself after a lost connection.
/// - Dropping the [`Listener`] ends it, and frees what was kept for it.
pub trait EventSource: Send + Sync + 'static {
    /// Begins to hear `events`, behind the scenes; also if there is no connection yet.
    ///
    /// # Panics
    /// It may, outside of a tokio runtime.
    fn listen(&self, events: Events) -> Listener;
}

/// Which events of which service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Events {
    service: String,
    types: Vec<String>,
}

impl Events {
    /// Those of `service` (the one that sends them) whose type matches one of `types`. In a type, `*` stands for one
    /// word between dots, and `#` for any number of them, so `["#"]` is all events.
    ///
    /// # Errors
    /// [`InvalidEvents`] if the service's name is none, there is no type, or one that has not 1 to 255 bytes.
    ///
    /// ```
    /// use nameko_cachetools::Events;
    /// let events = Events::of("products", ["price_changed", "stock.*"]).unwrap();
    /// assert_eq!(events.exchange(), "products.events");
    /// ```
    pub fn of<T: Into<String>>(
        service: impl Into<String>,
        types: impl IntoIterator<Item = T>,
    ) -> Result<Self, InvalidEvents> {
        let (service, types) = (
            service.into(),
            types.into_iter().map(Into::into).collect::<Vec<String>>(),
        );
        if let Some(rule) = route::broken_service_rule(&service) {
            return Err(InvalidEvents(rule));
        }
        if types.is_empty() || types.iter().any(|name| !(1..=255).contains(&name.len())) {
            return Err(InvalidEvents("there is a type, and each has 1 to 255 bytes"));
        }
        Ok(Self { service, types })
    }

    /// The service that sends them.
    pub fn service(&self) -> &str {
        &self.service
    }

    /// The exchange that nameko sends them to: `{service}.events`.
    pub fn exchange(&self) -> String {
        format!("{}.events", self.service)
    }

    /// Their types, as patterns.
    pub fn types(&self) -> &[String] {
        &self.types
    }
}

/// Events that nameko has no names for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("there are no such events: {0}")]
pub struct InvalidEvents(&'static str);

/// An event as it came: not yet looked into.
#[derive(Clone)]
#[non_exhaustive]
pub struct Event {
    /// Its type: `price_changed`.
    pub event_type: String,
    /// The message's content type; nameko's is `application/json`.
    pub content_type: Option<String>,
    /// The message's body; from nameko, the payload as JSON: `serde_json::from_slice` reads it.
    pub body: Bytes,
    /// The sender's context, as headers under nameko's names.
    pub headers: Headers,
}

impl Event {
    /// An event without headers.
    pub fn new(event_type: impl Into<String>, content_type: Option<String>, body: impl Into<Bytes>) -> Self {
        Self {
            event_type: event_type.into(),
            content_type,
            body: body.into(),
            headers: Headers::new(),
        }
    }

    /// The same event with these headers.
    #[must_use]
    pub fn with_headers(self, headers: Headers) -> Self {
        Self { headers, ..self }
    }
}

/// Names and sizes only: body and headers hold a service's data.
impl fmt::Debug for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Event")
            .field("event_type", &self.event_type)
            .field("content_type", &self.content_type)
            .field("body_bytes", &self.body.len())
            .finish_non_exhaustive()
    }
}

/// What a [`Listener`] hears.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Heard {
    /// An event.
    Event(Event),
    /// Events may have been missed up to here. It is the first that is heard, too.
    Gap,
}

/// Hears events until it is dropped. It keeps up to [`BACKLOG`](Self::BACKLOG) of them; more are a [`Heard::Gap`].
#[derive(Debug)]
#[must_use = "dropping it ends it"]
pub struct Listener {
    heard: mpsc::Receiver<Heard>,
}

impl Listener {
    /// How many events wait for a listener that is busy.
    pub const BACKLOG: usize = 1024;

    /// A listener, and the end to tell it through. For implementors of [`EventSource`].
    pub fn pair() -> (Teller, Self) {
        let (told, heard) = mpsc::channel(Self::BACKLOG + 1); // and a gap
        let turn = Arc::default();
        (Teller { told, turn }, Self { heard })
    }

    /// Waits for the next thing to hear; `None` when the source was closed. Dropping the future loses nothing.
    pub async fn next(&mut self) -> Option<Heard> {
        self.heard.recv().await
    }
}

/// Tells a [`Listener`]. Nothing here waits for it.
#[derive(Debug, Clone)]
pub struct Teller {
    told: mpsc::Sender<Heard>,
    /// Whoever holds it is the only one to look for room and take it.
    turn: Arc<Mutex<()>>,
}

impl Teller {
    /// Tells of an event; of a gap instead if the listener is too busy to keep it.
    pub fn event(&self, event: Event) {
        self.tell(Heard::Event(event));
    }

    /// Tells that events may have been missed.
    pub fn gap(&self) {
        self.tell(Heard::Gap);
    }

    fn tell(&self, heard: Heard) {
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        // The last place is a gap's: if there is none, a gap is the last thing that waits there already.
        let heard = match self.told.capacity() {
            0 | 1 => Heard::Gap,
            _ => heard,
        };
        // It fails then, and if nobody listens any more.
        drop(self.told.try_send(heard));
    }

    /// Waits until nobody listens any more.
    pub async fn closed(&self) {
        self.told.closed().await;
    }

    /// Whether nobody listens any more.
    pub fn is_closed(&self) -> bool {
        self.told.is_closed()
    }
}

#[cfg(test)]
mod tests {
    use std::{sync::Barrier, thread};

    use super::*;

    fn event(n: usize) -> Event {
        Event::new(n.to_string(), None, "")
    }

    async fn shown(listener: &mut Listener) -> String {
        match listener.next().await {
            Some(Heard::Event(event)) => event.event_type,
            Some(Heard::Gap) => "gap".to_owned(),
            None => "end".to_owned(),
        }
    }

    #[tokio::test]
    async fn who_is_too_busy_hears_of_a_gap_behind_what_was_kept() {
        let (teller, mut listener) = Listener::pair();
        teller.gap();
        for n in 0..2000 {
            teller.event(event(n));
        }
        assert_eq!(shown(&mut listener).await, "gap");
        for n in 0..Listener::BACKLOG - 1 {
            assert_eq!(shown(&mut listener).await, n.to_string());
        }
        assert_eq!(shown(&mut listener).await, "gap");
        teller.event(event(7));
        assert_eq!(shown(&mut listener).await, "7");
        drop(teller);
        assert_eq!(shown(&mut listener).await, "end");
    }

    /// Two took the last two places, and nobody heard that a third event was missed.
    #[test]
    fn however_many_tell_at_once_what_is_missed_is_a_gap() {
        for _ in 0..500 {
            let (teller, mut listener) = Listener::pair();
            (1..Listener::BACKLOG).for_each(|n| teller.event(event(n)));
            let both = Barrier::new(2);
            thread::scope(|threads| {
                for _ in 0..2 {
                    threads.spawn(|| {
                        both.wait();
                        teller.event(event(0));
                    });
                }
            });
            teller.event(event(0));
            let mut last = None;
            while let Ok(heard) = listener.heard.try_recv() {
                last = Some(heard);
            }
            assert!(matches!(last, Some(Heard::Gap)), "{last:?}");
        }
    }

    #[tokio::test]
    async fn a_teller_knows_when_nobody_listens() {
        let (teller, listener) = Listener::pair();
        assert!(!teller.is_closed());
        drop(listener);
        teller.closed().await;
        teller.event(event(1));
        assert!(teller.is_closed());
    }

    #[test]
    fn what_nameko_has_no_names_for_is_refused() {
        for (service, types) in [
            ("", vec!["a".to_owned()]),
            ("a b", vec!["a".to_owned()]),
            ("a", vec![]),
            ("a", vec![String::new()]),
            ("a", vec!["x".repeat(256)]),
        ] {
            assert!(Events::of(service, types).is_err());
        }
    }

    #[test]
    fn debug_shows_no_data() {
        let event = Event::new("t", None, "canary").with_headers(vec![("h".into(), "canary".into())]);
        assert!(!format!("{event:?}").contains("canary"));
    }
}
