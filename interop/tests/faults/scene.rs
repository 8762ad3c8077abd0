//! A transport behind the proxy, with a service of its own: what a check plays with.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use nameko_cachetools::{Delivery, Request, Response, Route, TransportError};
use nameko_cachetools_amqp::Builder;
use nameko_cachetools_interop::{Asked, PrivateBroker, Replies, Responder};
use nameko_cachetools_testkit::fault_proxy::FaultProxy;
use tokio::{
    sync::RwLockReadGuard,
    task::JoinSet,
    time::{Instant, sleep, timeout},
};
use uuid::Uuid;

use crate::{
    stage::{Row, Stage},
    subject::Subject,
};

/// The longest way back after a fault has ended.
pub(crate) const RECOVERY: Duration = Duration::from_secs(2);
/// The shortest heartbeat there is: a silence is looked into after half of it, and over after one more.
pub(crate) const HEARTBEAT: Duration = Duration::from_secs(4);
/// Longest time until a silence is noticed.
pub(crate) const SILENCE: Duration = Duration::from_secs(8);
/// Longest time until an end that is told is noticed, on a busy machine.
pub(crate) const AT_ONCE: Duration = Duration::from_secs(1);

pub(crate) struct Scene<'a, T> {
    pub(crate) transport: T,
    pub(crate) proxy: FaultProxy,
    pub(crate) service: Service,
    _shared: Option<RwLockReadGuard<'a, PrivateBroker>>,
}

impl<'a, T: Subject> Scene<'a, T> {
    /// On a node that nobody breaks meanwhile.
    pub(crate) async fn new(stage: &'a Stage) -> Self {
        Self::with(stage, |builder| builder).await
    }

    /// The same, with other settings.
    pub(crate) async fn with(stage: &'a Stage, set: impl FnOnce(Builder<T>) -> Builder<T>) -> Self {
        let shared = stage.shared().await;
        Self {
            _shared: Some(shared),
            ..Self::on(&stage.uri, set).await
        }
    }

    /// On a node that the check is going to break.
    pub(crate) async fn on(uri: &str, set: impl FnOnce(Builder<T>) -> Builder<T>) -> Self {
        let proxy = FaultProxy::start(uri).await.unwrap();
        let service = Service::start(uri).await;
        let builder = set(builder::<T>(&proxy, &service));
        Self {
            transport: builder.connect().await.unwrap(),
            proxy,
            service,
            _shared: None,
        }
    }

    pub(crate) fn request(&self, method: &str, argument: &str) -> Request {
        self.service.request(method, argument)
    }

    pub(crate) async fn call(&self, method: &str, argument: &str) -> Result<Response, TransportError> {
        within(
            Duration::from_secs(20),
            self.transport.request(self.request(method, argument)),
        )
        .await
    }

    /// A call that works, and gets its own reply.
    pub(crate) async fn echo(&self, argument: &str) {
        let response = self.call("echo", argument).await.unwrap();
        assert_eq!(response.body, self.request("echo", argument).body);
    }

    /// Many at once.
    pub(crate) async fn echoes(&self, calls: usize) {
        let mut echoes = JoinSet::new();
        for n in 0..calls {
            let (transport, request) = (self.transport.clone(), self.request("echo", &n.to_string()));
            echoes.spawn(own_reply(transport, request));
        }
        for end in within(Duration::from_secs(20), echoes.join_all()).await {
            end.unwrap();
        }
    }

    /// Fifty calls whose requests the service has, and never answers.
    pub(crate) async fn waiting(&self) -> Waiting {
        let before = self.service.executed("silent");
        let mut waiting = Waiting::start(&self.transport, || self.request("silent", "x"));
        let all_are_there = async {
            while self.service.executed("silent") < before + CALLS {
                sleep(Duration::from_millis(2)).await;
            }
        };
        if timeout(Duration::from_secs(20), all_are_there).await.is_err() {
            let arrived = self.service.executed("silent") - before;
            let ended: Vec<_> = std::iter::from_fn(|| waiting.0.try_join_next()).collect();
            panic!(
                "{arrived} of {CALLS} requests have arrived after 20 s, others ended with {ended:?}: {:?}",
                self.transport
            );
        }
        // What comes back now says that their requests were written: none of them waits for its confirm any more.
        self.echoes(1).await;
        waiting
    }

    /// Calls until one works; fails after [`RECOVERY`].
    pub(crate) async fn back(&self) -> Duration {
        self.back_when(|end| end.is_ok()).await
    }

    pub(crate) async fn back_when(
        &self,
        works: impl Fn(&Result<Response, TransportError>) -> bool,
    ) -> Duration {
        let (start, mut last) = (Instant::now(), None);
        loop {
            let left = RECOVERY.saturating_sub(start.elapsed());
            match timeout(left, self.transport.request(self.request("echo", "back"))).await {
                Ok(end) if works(&end) => return start.elapsed(),
                Ok(end) => last = Some(end),
                Err(_) => panic!(
                    "no call works {RECOVERY:?} after the fault's end; the last: {last:?}; {:?}",
                    self.transport
                ),
            }
            sleep(Duration::from_millis(5)).await;
        }
    }

    /// The end of every check: many calls work, nothing is left waiting, and closing is quick.
    pub(crate) async fn end(self) {
        self.echoes(50).await;
        assert_eq!(self.transport.counters().in_flight, 0, "requests left behind");
        within(AT_ONCE, self.transport.close(Duration::ZERO)).await;
    }
}

/// Sends a request whose body comes back. (A panic of a task is shown by another test, if by any.)
pub(crate) async fn own_reply<T: Subject>(transport: T, request: Request) -> Result<(), String> {
    let body = request.body.clone();
    match transport.request(request).await {
        Ok(response) if response.body == body => Ok(()),
        end => Err(format!("{end:?}")),
    }
}

/// What the checks set for all.
pub(crate) fn builder<T: Subject>(proxy: &FaultProxy, service: &Service) -> Builder<T> {
    T::builder()
        .uri(proxy.uri())
        .app(&service.name)
        .rpc_exchange(&service.exchange)
        .heartbeat(HEARTBEAT)
}

/// Calls that wait.
pub(crate) struct Waiting(JoinSet<TransportError>);

impl Waiting {
    pub(crate) fn start<T: Subject>(transport: &T, request: impl Fn() -> Request) -> Self {
        let requests: Vec<_> = (0..CALLS).map(|_| request()).collect();
        let calls = requests.into_iter().map(|request| {
            let transport = transport.clone();
            async move { transport.request(request).await.unwrap_err() }
        });
        Self(calls.collect())
    }

    /// Each ends with what `expected` accepts; after how long the last did, and with what.
    pub(crate) async fn end(
        self,
        limit: Duration,
        expected: impl Fn(&TransportError) -> bool,
    ) -> (Duration, TransportError) {
        let start = Instant::now();
        let errors = within(limit, self.0.join_all()).await;
        let noticed = start.elapsed();
        for error in &errors {
            assert!(expected(error), "{error:?}");
        }
        (noticed, errors.into_iter().next().unwrap())
    }

    /// Each ends as one does whose connection is lost after the service got the request; then calls work again.
    pub(crate) async fn lost<T: Subject>(self, limit: Duration, scene: &Scene<'_, T>) -> Row {
        let (noticed, error) = self.end(limit, is_lost).await;
        scene.proxy.heal();
        Row {
            end: Err(error),
            noticed,
            back: Some(scene.back().await),
        }
    }
}

pub(crate) fn is_lost(error: &TransportError) -> bool {
    matches!(
        error,
        TransportError::Disconnected {
            delivery: Delivery::Unknown,
            ..
        }
    )
}

/// A service, and what it was asked for.
pub(crate) struct Service {
    pub(crate) name: String,
    pub(crate) exchange: String,
    pub(crate) responder: Responder,
    asked: Arc<Mutex<Vec<String>>>,
    held: Arc<Mutex<Vec<(Asked, Replies)>>>,
    silent: Arc<AtomicUsize>,
}

impl Service {
    /// On an exchange of its own, so that no check disturbs another.
    async fn start(uri: &str) -> Self {
        let name = format!("faults-{}", Uuid::new_v4().simple());
        Self::named(uri, name).await
    }

    /// The same again, after its connection was lost.
    pub(crate) async fn restart(&mut self, uri: &str) {
        *self = Self::named(uri, self.name.clone()).await;
    }

    async fn named(uri: &str, name: String) -> Self {
        let (asked, held, silent) = (Arc::default(), Arc::default(), Arc::default());
        let answer = answers(&asked, &held, &silent);
        Self {
            responder: Responder::start(uri, &name, &name, answer).await.unwrap(),
            exchange: name.clone(),
            name,
            asked,
            held,
            silent,
        }
    }

    pub(crate) fn request(&self, method: &str, argument: &str) -> Request {
        let body = serde_json::json!({"args": [argument], "kwargs": {}}).to_string();
        Request::new(Route::new(self.name.as_str(), method).unwrap(), body)
    }

    /// How many requests of `method` it got.
    pub(crate) fn executed(&self, method: &str) -> usize {
        if method == "silent" {
            return self.silent.load(Ordering::SeqCst);
        }
        let asked = self.asked.lock().unwrap();
        asked.iter().filter(|asked| *asked == method).count()
    }

    /// Answers what `held` was called with, the last first.
    pub(crate) fn release(&self) {
        for (asked, replies) in self.held.lock().unwrap().drain(..).rev() {
            replies.send(&asked, asked.body.clone());
        }
    }
}

/// By method: `silent` (nothing), `held` (until [`Service::release`]), `reply_to`, and for odd replies `foreign_ids`,
/// `raw_id`, `malformed`, `huge`; all others reply with the request's body.
fn answers(
    asked: &Arc<Mutex<Vec<String>>>,
    held: &Arc<Mutex<Vec<(Asked, Replies)>>>,
    silent: &Arc<AtomicUsize>,
) -> impl Fn(Asked, &Replies) + Send + Sync + 'static {
    let (all, held, silent) = (asked.clone(), held.clone(), silent.clone());
    move |asked, replies| {
        let body = asked.body.clone();
        match asked.method.as_str() {
            "silent" => {
                silent.fetch_add(1, Ordering::SeqCst);
                return;
            }
            "held" => held.lock().unwrap().push((asked.clone(), replies.clone())),
            "reply_to" => replies.send(&asked, asked.reply_to.clone()),
            "foreign_ids" => {
                let unknown = Uuid::new_v4().to_string();
                for id in [None, Some(""), Some("no id of ours"), Some(&unknown)] {
                    replies.send_as(&asked, id, "of nobody");
                }
                for _ in 0..2 {
                    replies.send(&asked, body.clone());
                }
            }
            "raw_id" => replies.send_as(&asked, Some(RAW_ID), body),
            "malformed" => replies.send(&asked, "{\"result\": [1,"),
            "huge" => replies.send(&asked, vec![b' '; HUGE]),
            _ => replies.send(&asked, body),
        }
        all.lock().unwrap().push(asked.method);
    }
}

/// The proxy makes other bytes of it.
pub(crate) const RAW_ID: &str = "these bytes are no text";
pub(crate) const HUGE: usize = 3 << 20;
pub(crate) const CALLS: usize = 50;

pub(crate) async fn within<F: Future>(limit: Duration, f: F) -> F::Output {
    timeout(limit, f)
        .await
        .unwrap_or_else(|_| panic!("not within {limit:?}"))
}

pub(crate) async fn eventually(what: &str, condition: impl Fn() -> bool) {
    let holds = async {
        while !condition() {
            sleep(Duration::from_millis(2)).await;
        }
    };
    if timeout(Duration::from_secs(10), holds).await.is_err() {
        panic!("not within 10 s: {what}");
    }
}
