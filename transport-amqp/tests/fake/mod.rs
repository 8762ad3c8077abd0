//! Links without a broker: the test plays the broker's part.
#![allow(
    dead_code,
    unreachable_pub,
    clippy::unwrap_used,
    reason = "each test program uses a part of it"
)]

use std::{
    collections::VecDeque,
    future::pending,
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use nameko_cachetools::{Request, Response, Route, ServiceQueue, Transport, TransportError};
use nameko_cachetools_amqp::{
    AmqpTransport, Builder, EventQueue, EventsTold, Link, LinkEvents, LinkFactory, OpenError, Outgoing, Plan,
};
use tokio::{sync::oneshot, task::JoinHandle};

/// What the next attempt to connect meets; `Works` when the script is over.
pub enum Attempt {
    Works,
    Fails(OpenError),
    Hangs,
}

#[derive(Default)]
pub struct Broker {
    script: Mutex<VecDeque<Attempt>>,
    links: Mutex<Vec<Arc<FakeLink>>>,
    /// Of new links.
    pub mood: Mutex<Mood>,
    pub attempts: AtomicUsize,
    /// Whether new links leave their transport's own trials unanswered.
    pub holds_trials: AtomicBool,
}

/// Whatever the fake broker does with what is published.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub enum Mood {
    /// Writes and keeps; the test confirms and answers.
    #[default]
    Keeps,
    /// Answers each request with its own body.
    Echoes,
    /// The socket takes nothing.
    Stalls,
}

pub struct FakeLink {
    pub plan: Plan,
    pub events: LinkEvents,
    pub published: Mutex<Vec<Outgoing>>,
    /// Trials that were held.
    pub trials: Mutex<Vec<Outgoing>>,
    holds_trials: bool,
    pub mood: Mutex<Mood>,
    /// `None`: no answer. `Some(n)`: n consumers.
    pub consumers: Mutex<Option<u32>>,
    pub probes: AtomicU32,
    pub probes_fail: AtomicBool,
    /// Queues that were asked for.
    pub asked: Mutex<Vec<String>>,
    /// Event queues, how to tell of events, and how to end it.
    pub heard: Mutex<Vec<(EventQueue, EventsTold, oneshot::Sender<String>)>>,
    pub closes: AtomicU32,
    pub close_hangs: AtomicBool,
    pub aborted: AtomicBool,
}

impl Broker {
    pub fn new(script: impl IntoIterator<Item = Attempt>) -> Arc<Self> {
        Arc::new(Self {
            script: Mutex::new(script.into_iter().collect()),
            ..Self::default()
        })
    }

    pub fn builder(self: &Arc<Self>) -> Builder<AmqpTransport> {
        Builder::new(self.clone())
    }

    pub async fn connect(self: &Arc<Self>) -> AmqpTransport {
        self.builder().connect().await.unwrap()
    }

    pub fn then(&self, attempt: Attempt) {
        lock(&self.script).push_back(attempt);
    }

    pub fn attempts(&self) -> usize {
        self.attempts.load(Ordering::SeqCst)
    }

    /// The link opened last.
    pub fn link(&self) -> Arc<FakeLink> {
        lock(&self.links).last().unwrap().clone()
    }

    pub fn links(&self) -> Vec<Arc<FakeLink>> {
        lock(&self.links).clone()
    }
}

#[async_trait]
impl LinkFactory for Broker {
    async fn open(&self, plan: Plan, events: LinkEvents) -> Result<Arc<dyn Link>, OpenError> {
        self.attempts.fetch_add(1, Ordering::SeqCst);
        let attempt = lock(&self.script).pop_front().unwrap_or(Attempt::Works);
        match attempt {
            Attempt::Works => {}
            Attempt::Fails(error) => return Err(error),
            Attempt::Hangs => pending().await,
        }
        let link = Arc::new(FakeLink {
            plan,
            events,
            published: Mutex::default(),
            trials: Mutex::default(),
            holds_trials: self.holds_trials.load(Ordering::SeqCst),
            mood: Mutex::new(*lock(&self.mood)),
            consumers: Mutex::new(Some(1)),
            probes: AtomicU32::new(0),
            probes_fail: AtomicBool::new(false),
            asked: Mutex::default(),
            heard: Mutex::default(),
            closes: AtomicU32::new(0),
            close_hangs: AtomicBool::new(false),
            aborted: AtomicBool::new(false),
        });
        lock(&self.links).push(link.clone());
        Ok(link)
    }
}

impl FakeLink {
    pub fn set(&self, mood: Mood) {
        *lock(&self.mood) = mood;
    }

    pub fn taken(&self) -> Vec<Outgoing> {
        std::mem::take(&mut *lock(&self.published))
    }

    pub fn reply(&self, correlation_id: &str, body: &str) {
        self.events
            .reply(Some(correlation_id), Response::json(body.to_owned()));
    }

    pub fn is_aborted(&self) -> bool {
        self.aborted.load(Ordering::SeqCst)
    }
}

#[async_trait]
impl Link for FakeLink {
    fn publish(&self, mut message: Outgoing) {
        if message.route.service() == "nameko-cachetools" {
            return match self.holds_trials {
                true => lock(&self.trials).push(message),
                false => self.events.returned(Some(&message.correlation_id)),
            };
        }
        let mood = *lock(&self.mood);
        if mood != Mood::Stalls {
            message.ticket.written();
        }
        if mood == Mood::Echoes {
            let body = String::from_utf8(message.body.to_vec()).unwrap();
            self.reply(&message.correlation_id, &body);
            message.ticket.confirmed();
        } else {
            lock(&self.published).push(message);
        }
    }

    async fn probe(&self) -> Result<u32, String> {
        self.probes.fetch_add(1, Ordering::SeqCst);
        if self.probes_fail.load(Ordering::SeqCst) {
            return Err("the channel is closed".to_owned());
        }
        let consumers = *lock(&self.consumers);
        match consumers {
            Some(consumers) => Ok(consumers),
            None => pending().await,
        }
    }

    async fn service_queue(&self, name: &str) -> Result<ServiceQueue, String> {
        lock(&self.asked).push(name.to_owned());
        let stalls = *lock(&self.mood) == Mood::Stalls;
        match stalls {
            true => pending().await,
            false => Ok(ServiceQueue::Missing),
        }
    }

    async fn listen(&self, queue: EventQueue, told: EventsTold) -> String {
        told.begins();
        let (over, ended) = oneshot::channel();
        lock(&self.heard).push((queue, told, over));
        ended.await.unwrap_or_else(|_| "the test is over".to_owned())
    }

    async fn close(&self) {
        self.closes.fetch_add(1, Ordering::SeqCst);
        if self.close_hangs.load(Ordering::SeqCst) {
            pending::<()>().await;
        }
    }

    fn abort(&self) {
        self.aborted.store(true, Ordering::SeqCst);
    }
}

pub fn request(body: &str) -> Request {
    Request::new(Route::new("s", "m").unwrap(), body.to_owned())
}

pub type Call = JoinHandle<Result<Response, TransportError>>;

/// Starts a call and lets it come as far as it gets without an answer.
pub async fn start(transport: &AmqpTransport, body: &str) -> Call {
    let (transport, request) = (transport.clone(), request(body));
    let call = tokio::spawn(async move { transport.request(request).await });
    settle().await;
    call
}

/// Lets all other tasks run until they wait; no time passes.
pub async fn settle() {
    for _ in 0..20 {
        tokio::task::yield_now().await;
    }
}

/// What a call that must have ended ended with.
pub async fn error(call: Call) -> TransportError {
    settle().await;
    assert!(call.is_finished(), "the call still waits");
    call.await.unwrap().unwrap_err()
}

pub async fn body(call: Call) -> String {
    settle().await;
    assert!(call.is_finished(), "the call still waits");
    String::from_utf8(call.await.unwrap().unwrap().body.to_vec()).unwrap()
}

/// Waits, in virtual time; who else woke up at its end has run then.
pub async fn pass(seconds: f64) {
    tokio::time::sleep(Duration::from_secs_f64(seconds)).await;
    settle().await;
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap()
}
