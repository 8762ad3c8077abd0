//! A transport that writes down what it carries.

use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use nameko_cachetools::{
    Clock, ConnectionState, Delivery, JSON, Request, Response, ServiceQueue, Transport, TransportError,
};
use serde::Deserialize;
use serde_json::{Map, Value, value::RawValue};
use tokio::{sync::watch, time::Instant};

use super::{
    Cassette,
    json::quoted,
    redaction::{BLANK, Redaction, Secrets},
    tape::{Failure, Interaction, Recorded},
};
use crate::{broker::parsed, call::context_key};

/// Carries requests over another transport, and records them with their answers. A clone records to the same place.
///
/// A call that ends without having reached the broker is not recorded (not connected, blocked, too large, ..), nor is a
/// request that is none of nameko's, nor one that is still under way. All is kept in memory until it is saved.
///
/// See [the module](super) for what is redacted unless it is [kept](Self::keep).
pub struct Recorder<T> {
    inner: Arc<T>,
    redaction: Arc<Redaction>,
    tape: Arc<Mutex<Tape>>,
}

#[derive(Default)]
struct Tape {
    secrets: Secrets,
    /// In the order in which they began; `None` while under way, and for what isn't recorded.
    interactions: Vec<Option<Interaction>>,
}

impl<T: Transport> Recorder<T> {
    /// Records what `transport` carries.
    pub fn new(transport: T) -> Self {
        Self {
            inner: Arc::new(transport),
            redaction: Arc::default(),
            tape: Arc::default(),
        }
    }

    /// Redacts members of these names too, at any depth of arguments, results and errors, in any case.
    ///
    /// ```
    /// # use nameko_cachetools_testkit::{FakeBroker, cassette::Recorder};
    /// # let transport = FakeBroker::new().transport();
    /// let recorder = Recorder::new(transport).redact(["email", "card"]);
    /// ```
    #[must_use]
    pub fn redact<N: AsRef<str>>(mut self, names: impl IntoIterator<Item = N>) -> Self {
        let names = names.into_iter().map(|name| name.as_ref().to_lowercase());
        Arc::make_mut(&mut self.redaction).names.extend(names);
        self
    }

    /// Redacts the positional argument at `position`, from 0, of all calls of `route`; `*` stands for any service or
    /// method.
    ///
    /// # Panics
    /// If nameko could not route to such a name.
    ///
    /// ```
    /// # use nameko_cachetools_testkit::{FakeBroker, cassette::Recorder};
    /// # let transport = FakeBroker::new().transport();
    /// let recorder = Recorder::new(transport).redact_arg("accounts.login", 1);
    /// ```
    #[must_use]
    #[track_caller]
    pub fn redact_arg(mut self, route: &str, position: usize) -> Self {
        let hidden = (parsed(route), position);
        Arc::make_mut(&mut self.redaction).args.push(hidden);
        self
    }

    /// Keeps members and keys of the context of these names, whatever else would be said of them.
    ///
    /// ```
    /// # use nameko_cachetools_testkit::{FakeBroker, cassette::Recorder};
    /// # let transport = FakeBroker::new().transport();
    /// let recorder = Recorder::new(transport).keep(["tokens_used", "tenant"]);
    /// ```
    #[must_use]
    pub fn keep<N: AsRef<str>>(mut self, names: impl IntoIterator<Item = N>) -> Self {
        let names = names.into_iter().map(|name| name.as_ref().to_lowercase());
        Arc::make_mut(&mut self.redaction).kept.extend(names);
        self
    }

    /// What is recorded so far.
    pub fn cassette(&self) -> Cassette {
        let tape = self.tape();
        let redacted = |one: &Interaction| tape.without_later_secrets(one, &self.redaction);
        Cassette {
            path: None,
            interactions: tape.interactions.iter().flatten().map(redacted).collect(),
        }
    }
}

impl Tape {
    /// What was written before a secret was known may quote it.
    fn without_later_secrets(&self, one: &Interaction, redaction: &Redaction) -> Interaction {
        // All of it was read before.
        let again = |json: &str| {
            let redacted = self.secrets.without(json, redaction, false);
            redacted.unwrap_or_else(|| quoted(BLANK))
        };
        Interaction {
            args: again(&one.args),
            kwargs: again(&one.kwargs),
            context: again(&one.context),
            headers: self.headers(one.headers.iter(), redaction),
            answer: match &one.answer {
                Recorded::Result(result) => Recorded::Result(again(result)),
                Recorded::Error(error) => Recorded::Error(again(error)),
                other => other.clone(),
            },
            ..one.clone()
        }
    }

    /// A reply's headers, redacted.
    fn headers<'a>(
        &self,
        headers: impl Iterator<Item = (impl AsRef<str> + 'a, &'a Value)>,
        redaction: &Redaction,
    ) -> Map<String, Value> {
        headers
            .filter(|(name, _)| context_key(name.as_ref()) != CALL_IDS)
            .map(|(name, value)| {
                let name = name.as_ref();
                let kept = match redaction.hides_header(name) {
                    true => None,
                    false => self.secrets.without(&value.to_string(), redaction, true),
                };
                let value = kept.and_then(|json| serde_json::from_str(&json).ok());
                (name.to_owned(), value.unwrap_or_else(|| Value::from(BLANK)))
            })
            .collect()
    }
}

impl<T> Recorder<T> {
    fn tape(&self) -> MutexGuard<'_, Tape> {
        self.tape.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes down a call that begins now.
    fn begin(&self, request: &Request) -> Option<Recording<'_, T>> {
        let redaction = &self.redaction;
        let body: RequestBody<'_> = object(&request.body)?;
        let mut tape = self.tape();
        let keys = request
            .headers
            .iter()
            .filter(|(name, _)| context_key(name) != CALL_IDS);
        let (mut hidden_keys, mut kept_keys) = (Vec::new(), Vec::new());
        for (name, value) in keys {
            let (key, value) = (context_key(name).to_owned(), value.to_string());
            if redaction.hides_context(name) {
                tape.secrets.add(&value);
                hidden_keys.push(key);
            } else {
                kept_keys.push((key, value));
            }
        }
        for (position, arg) in body.args.iter().enumerate() {
            if redaction.hides_arg(&request.route, position) {
                tape.secrets.add(arg.get());
            } else {
                tape.secrets.collect(arg.get(), redaction);
            }
        }
        tape.secrets.collect(body.kwargs.get(), redaction);

        let blank = quoted(BLANK);
        let arg = |(position, arg): (usize, &&RawValue)| {
            if redaction.hides_arg(&request.route, position) {
                return Some(blank.clone());
            }
            tape.secrets.without(arg.get(), redaction, true)
        };
        let args: Option<Vec<String>> = body.args.iter().enumerate().map(arg).collect();
        let kwargs = tape.secrets.without(body.kwargs.get(), redaction, true)?;
        let hidden = hidden_keys.into_iter().map(|key| (key, Some(blank.clone())));
        let kept = kept_keys
            .into_iter()
            .map(|(key, value)| (key, tape.secrets.without(&value, redaction, true)));
        let mut context: Vec<String> = hidden
            .chain(kept)
            .map(|(key, value)| Some(format!("{}: {}", quoted(&key), value?)))
            .collect::<Option<_>>()?;
        context.sort();
        let call = Interaction {
            route: request.route.clone(),
            args: format!("[{}]", args?.join(", ")),
            kwargs,
            context: format!("{{{}}}", context.join(", ")),
            took: Duration::ZERO,
            headers: Map::new(),
            answer: Recorded::Silent,
        };
        let place = tape.interactions.len();
        tape.interactions.push(None);
        drop(tape);
        Some(Recording {
            recorder: self,
            place,
            began: Instant::now(),
            call: Some(call),
        })
    }

    /// How a call ended, if that is to be recorded.
    fn read(&self, outcome: &Result<Response, TransportError>) -> Option<Recorded> {
        match outcome {
            Ok(response) => Some(self.read_reply(response)),
            Err(TransportError::UnknownService) => Some(Recorded::Failed(Failure::UnknownService)),
            Err(TransportError::Rejected) => Some(Recorded::Failed(Failure::Nack)),
            Err(TransportError::Disconnected { delivery, .. }) => Some(Recorded::Failed(match delivery {
                Delivery::NotSent => Failure::NotSent,
                _ => Failure::Disconnected,
            })),
            Err(_) => None,
        }
    }

    fn read_headers(&self, response: &Response) -> Map<String, Value> {
        let (mut tape, redaction) = (self.tape(), &self.redaction);
        for (name, value) in &response.headers {
            let json = value.to_string();
            match redaction.hides_header(name) {
                true => tape.secrets.add(&json),
                false => tape.secrets.collect(&json, redaction),
            }
        }
        tape.headers(
            response.headers.iter().map(|(name, value)| (name, value)),
            redaction,
        )
    }

    fn read_reply(&self, response: &Response) -> Recorded {
        let unread = Recorded::Unread {
            content_type: response.content_type.clone(),
            bytes: response.body.len(),
        };
        if response.content_type.as_deref() != Some(JSON) {
            return unread;
        }
        let Some(reply) = object::<ReplyBody<'_>>(&response.body) else {
            return unread;
        };
        let (is_error, json) = match reply.error.map(RawValue::get) {
            None | Some("null") => (false, reply.result.get()),
            Some(error) if error.starts_with('{') => (true, error),
            Some(_) => return unread,
        };
        let mut tape = self.tape();
        tape.secrets.collect(json, &self.redaction);
        match tape.secrets.without(json, &self.redaction, false) {
            None => unread,
            Some(json) if is_error => Recorded::Error(json),
            Some(json) => Recorded::Result(json),
        }
    }
}

/// A call under way. Dropped before its answer, it is recorded as silent.
struct Recording<'a, T> {
    recorder: &'a Recorder<T>,
    place: usize,
    began: Instant,
    call: Option<Interaction>,
}

impl<T> Recording<'_, T> {
    fn end(mut self, outcome: &Result<Response, TransportError>) {
        if let (Some(call), Some(answer)) = (self.call.take(), self.recorder.read(outcome)) {
            let headers = match outcome {
                Ok(response) => self.recorder.read_headers(response),
                Err(_) => Map::new(),
            };
            self.keep(Interaction { headers, ..call }, answer);
        }
    }

    fn keep(&self, call: Interaction, answer: Recorded) {
        let took = self.began.elapsed();
        self.recorder.tape().interactions[self.place] = Some(Interaction { took, answer, ..call });
    }
}

impl<T> Drop for Recording<'_, T> {
    fn drop(&mut self) {
        if let Some(call) = self.call.take() {
            self.keep(call, Recorded::Silent);
        }
    }
}

/// Reads a JSON object; serde would take a list for one too.
fn object<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Option<T> {
    body.starts_with(b"{")
        .then(|| serde_json::from_slice(body).ok())
        .flatten()
}

/// The context's key that differs in every call.
const CALL_IDS: &str = "call_id_stack";

#[derive(Deserialize)]
struct RequestBody<'a> {
    #[serde(borrow)]
    args: Vec<&'a RawValue>,
    #[serde(borrow)]
    kwargs: &'a RawValue,
}

#[derive(Deserialize)]
struct ReplyBody<'a> {
    #[serde(borrow)]
    result: &'a RawValue,
    #[serde(borrow, default)]
    error: Option<&'a RawValue>,
}

#[deny(clippy::missing_trait_methods)]
#[async_trait]
impl<T: Transport> Transport for Recorder<T> {
    async fn request(&self, request: Request) -> Result<Response, TransportError> {
        let recording = self.begin(&request);
        let outcome = self.inner.request(request).await;
        if let Some(recording) = recording {
            recording.end(&outcome);
        }
        outcome
    }

    fn state(&self) -> watch::Receiver<ConnectionState> {
        self.inner.state()
    }

    fn clock(&self) -> Clock {
        self.inner.clock()
    }

    fn app(&self) -> Option<&str> {
        self.inner.app()
    }

    async fn service_queue(&self, service: &str) -> Option<ServiceQueue> {
        self.inner.service_queue(service).await
    }

    async fn close(&self, grace: Duration) {
        self.inner.close(grace).await;
    }
}

impl<T> Clone for Recorder<T> {
    fn clone(&self) -> Self {
        Self {
            inner: Arc::clone(&self.inner),
            redaction: Arc::clone(&self.redaction),
            tape: Arc::clone(&self.tape),
        }
    }
}

impl<T> fmt::Debug for Recorder<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Recorder({} calls)", self.tape().interactions.len())
    }
}
