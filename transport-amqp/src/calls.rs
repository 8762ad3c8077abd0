//! Who waits for which reply: the correlation table, and the gate in front of it.
//!
//! One lock holds both, so that a request is either refused or registered with a living link, and the end of a link
//! reaches every request that was registered with it. No request survives its link.

use std::{
    collections::HashMap,
    future::pending,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use foldhash::fast::RandomState;
use nameko_cachetools::{Delivery, Response, Timer, TransportError};
use tokio::{
    sync::{mpsc, oneshot, watch},
    time::Instant,
};
use uuid::Uuid;

use crate::{events::News, ids::Ids, link::Link};

/// The requests under way on one transport.
pub(crate) struct Calls {
    table: Mutex<Table>,
    max_in_flight: usize,
    /// Whether requests are still waiting, after the gate was closed for ever.
    drained: watch::Sender<bool>,
    /// Counts all signs of life.
    heard: AtomicU64,
    /// Counts what came to the reply queue: silence is when it stands still.
    replies: AtomicU64,
    unmatched: AtomicU64,
}

struct Table {
    gate: Gate,
    waiting: HashMap<u128, Slot, RandomState>,
    ids: Ids,
    /// The transport's own message, sent while no request may be.
    trial: Option<(Uuid, oneshot::Sender<()>)>,
}

impl Table {
    /// Whether this was the trial, of which the broker has said something now.
    fn ends_trial(&mut self, id: Uuid) -> bool {
        match self.trial.take_if(|(trial, _)| *trial == id) {
            Some((_, trial)) => trial.send(()).is_ok(),
            None => false,
        }
    }
}

enum Gate {
    Open(Arc<dyn Link>),
    /// The link lives, but the broker doesn't read.
    Blocked {
        error: TransportError,
        news: mpsc::UnboundedSender<News>,
    },
    Shut(TransportError),
    /// For ever.
    Closed,
}

struct Slot {
    answer: oneshot::Sender<Answer>,
    waits_for_room: bool,
    /// From when the link has it until the socket has taken it.
    unwritten_since: Option<Instant>,
    confirmed: bool,
}

impl Slot {
    fn is_unwritten_for(&self, limit: Duration) -> bool {
        self.unwritten_since.is_some_and(|since| since.elapsed() >= limit)
    }
}

pub(crate) enum Answer {
    Reply(Response),
    Failed(TransportError),
    /// The link ended, for this reason.
    Lost(Arc<str>),
}

impl Calls {
    pub(crate) fn new(max_in_flight: usize) -> Arc<Self> {
        Arc::new(Self {
            table: Mutex::new(Table {
                gate: Gate::Shut(TransportError::NotConnected {
                    reason: "the first connection is being made".to_owned(),
                }),
                waiting: HashMap::default(),
                ids: Ids::default(),
                trial: None,
            }),
            max_in_flight,
            drained: watch::Sender::new(false),
            heard: AtomicU64::new(0),
            replies: AtomicU64::new(0),
            unmatched: AtomicU64::new(0),
        })
    }

    /// Registers a request, or says why it can't be sent now. One that the link gets at once may be
    /// [handed over](Waiting::hand_over) right here.
    pub(crate) fn begin(&self, handed_over: bool) -> Result<Waiting<'_>, TransportError> {
        let (sender, answer) = oneshot::channel();
        let unwritten_since = handed_over.then(Instant::now);
        let mut table = self.lock();
        let link = match &table.gate {
            Gate::Open(link) => link.clone(),
            Gate::Blocked { error, .. } | Gate::Shut(error) => return Err(error.clone()),
            Gate::Closed => return Err(TransportError::Closed),
        };
        if table.waiting.len() >= self.max_in_flight {
            return Err(TransportError::Overloaded {
                limit: self.max_in_flight,
            });
        }
        let slot = Slot {
            answer: sender,
            waits_for_room: !handed_over,
            unwritten_since,
            confirmed: false,
        };
        let id = table.ids.next();
        table.waiting.insert(id.as_u128(), slot);
        Ok(Waiting {
            calls: self,
            id,
            link,
            answer,
            handed_over,
        })
    }

    /// The link that requests go out on now.
    pub(crate) fn link(&self) -> Option<Arc<dyn Link>> {
        match &self.lock().gate {
            Gate::Open(link) => Some(link.clone()),
            _ => None,
        }
    }

    /// An id to send under although no request may be sent, and who is told when the broker has said something of it.
    pub(crate) fn trial(&self) -> (Uuid, oneshot::Receiver<()>) {
        let (id, (sender, answered)) = (Uuid::new_v4(), oneshot::channel());
        self.lock().trial = Some((id, sender));
        (id, answered)
    }

    /// A link is there: let requests in, unless the transport was closed meanwhile.
    pub(crate) fn open(&self, link: Arc<dyn Link>) {
        let mut table = self.lock();
        if !matches!(table.gate, Gate::Closed) {
            table.gate = Gate::Open(link);
        }
    }

    /// The broker doesn't read: refuse new requests, keep those under way.
    pub(crate) fn block(&self, reason: String, news: mpsc::UnboundedSender<News>) {
        let mut table = self.lock();
        if !matches!(table.gate, Gate::Closed) {
            table.gate = Gate::Blocked {
                error: TransportError::Blocked { reason },
                news,
            };
        }
    }

    /// The link is gone: refuse new requests with `error`, end those under way because of `lost`.
    pub(crate) fn shut(&self, error: TransportError, lost: &str) {
        let mut table = self.lock();
        if !matches!(table.gate, Gate::Closed) {
            table.gate = Gate::Shut(error);
        }
        drop(table);
        self.lose_all(lost);
    }

    /// Refuses new requests from now on.
    pub(crate) fn close(&self) {
        let mut table = self.lock();
        table.gate = Gate::Closed;
        self.note_if_drained(&table);
    }

    /// Waits until no request is under way, after `close`.
    pub(crate) async fn drained(&self) {
        if self
            .drained
            .subscribe()
            .wait_for(|drained| *drained)
            .await
            .is_err()
        {
            pending().await // can't be: `self` holds the sender
        }
    }

    /// Ends all requests under way.
    pub(crate) fn lose_all(&self, reason: &str) {
        let lost: Vec<Slot> = {
            let mut table = self.lock();
            let lost = table.waiting.drain().map(|(_, slot)| slot).collect();
            self.note_if_drained(&table);
            lost
        };
        let reason: Arc<str> = reason.into();
        for slot in lost {
            // Whoever gave up is not there any more.
            let _ = slot.answer.send(Answer::Lost(reason.clone()));
        }
    }

    /// Whether there is a request that the socket has not taken for `limit`, or one for which there is no room behind
    /// others.
    pub(crate) fn is_stalled(&self, limit: Duration) -> bool {
        let table = self.lock();
        let mut waiting = table.waiting.values();
        waiting.any(|slot| slot.waits_for_room || slot.is_unwritten_for(limit))
    }

    /// Ends the requests that the socket has not taken for `limit`; whether there were any.
    pub(crate) fn fail_unwritten(&self, limit: Duration) -> bool {
        let stalled: Vec<Slot> = {
            let mut table = self.lock();
            table
                .waiting
                .extract_if(|_, slot| slot.is_unwritten_for(limit))
                .map(|(_, slot)| slot)
                .collect()
        };
        let some = !stalled.is_empty();
        for slot in stalled {
            let _ = slot.answer.send(Answer::Failed(TransportError::Timeout {
                timer: Timer::SendTimeout,
                after: limit,
                delivery: Delivery::Unknown,
            }));
        }
        some
    }

    /// Ends one request; `false` if it doesn't wait any more, or never did.
    pub(crate) fn answer(&self, id: Uuid, answer: Answer) -> bool {
        let mut table = self.lock();
        if table.ends_trial(id) {
            return true;
        }
        let slot = table.waiting.remove(&id.as_u128());
        self.note_if_drained(&table);
        drop(table);
        slot.is_some_and(|slot| slot.answer.send(answer).is_ok())
    }

    pub(crate) fn written(&self, id: Uuid) {
        if let Some(slot) = self.lock().waiting.get_mut(&id.as_u128()) {
            slot.unwritten_since = None;
        }
    }

    pub(crate) fn confirmed(&self, id: Uuid) {
        let mut table = self.lock();
        if let Some(slot) = table.waiting.get_mut(&id.as_u128()) {
            slot.confirmed = true;
            slot.unwritten_since = None;
        } else {
            table.ends_trial(id);
        }
    }

    /// The broker said something.
    pub(crate) fn hear(&self) {
        self.heard.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn heard(&self) -> u64 {
        self.heard.load(Ordering::Relaxed)
    }

    /// The same, and through the reply queue.
    pub(crate) fn hear_reply(&self) {
        self.hear();
        self.replies.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn replies(&self) -> u64 {
        self.replies.load(Ordering::Relaxed)
    }

    pub(crate) fn count_unmatched(&self) {
        self.unmatched.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn unmatched(&self) -> u64 {
        self.unmatched.load(Ordering::Relaxed)
    }

    pub(crate) fn in_flight(&self) -> usize {
        self.lock().waiting.len()
    }

    fn forget(&self, id: Uuid, handed_over: bool) {
        let mut table = self.lock();
        let Some(slot) = table.waiting.remove(&id.as_u128()) else {
            return;
        };
        if let Gate::Blocked { news, .. } = &table.gate
            && handed_over
            && !slot.confirmed
        {
            // The receiver is gone only if the link is being ended anyway.
            let _ = news.send(News::GivenUpUnread);
        }
        self.note_if_drained(&table);
    }

    fn note_if_drained(&self, table: &Table) {
        if matches!(table.gate, Gate::Closed) && table.waiting.is_empty() {
            self.drained.send_replace(true);
        }
    }

    /// No code that may panic runs under this lock, so a poisoned one is as good as new.
    fn lock(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A registered request. Dropping it frees its slot.
pub(crate) struct Waiting<'a> {
    calls: &'a Calls,
    pub(crate) id: Uuid,
    pub(crate) link: Arc<dyn Link>,
    answer: oneshot::Receiver<Answer>,
    handed_over: bool,
}

impl Waiting<'_> {
    /// The link gets the request now: from here on it may have been written.
    pub(crate) fn hand_over(&mut self) {
        self.handed_over = true;
        if let Some(slot) = self.calls.lock().waiting.get_mut(&self.id.as_u128()) {
            slot.waits_for_room = false;
            slot.unwritten_since = Some(Instant::now());
        }
    }

    /// Waits for the request's end.
    pub(crate) async fn answer(&mut self) -> Result<Response, TransportError> {
        let lost = match (&mut self.answer).await {
            Ok(Answer::Reply(response)) => return Ok(response),
            Ok(Answer::Failed(error)) => return Err(error),
            Ok(Answer::Lost(reason)) => reason,
            Err(_) => "the transport is gone".into(),
        };
        Err(TransportError::Disconnected {
            delivery: if self.handed_over {
                Delivery::Unknown
            } else {
                Delivery::NotSent
            },
            reason: lost.to_string(),
        })
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        // Whoever answers has taken the slot.
        if !self.answer.is_terminated() {
            self.calls.forget(self.id, self.handed_over);
        }
    }
}
