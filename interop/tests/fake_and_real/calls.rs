//! Calls by each transport: to a real nameko service on RabbitMQ, and to rules on the fake broker.

use std::{sync::Arc, time::Duration};

use nameko_cachetools::{Request, Response, Route, Transport, TransportError};
use nameko_cachetools_interop::{Interop, live};
use nameko_cachetools_testkit::{
    Answer, FakeBroker, Outage,
    fault_proxy::{Cut, FaultProxy},
};
use serde_json::{Value, json};
use tokio::{task::JoinSet, time::timeout};

use crate::subject::Subject;

/// Makes all of them by each transport, on both.
pub(crate) async fn are_the_same(rabbitmq: String) {
    let nameko = Interop::builder().uri(&rabbitmq).prefix(PREFIX);
    let Some(nameko) = live::require(nameko.start().await) else {
        return;
    };
    let broker = rules();
    let wire = broker.serve().await;
    for subject in Subject::ALL {
        let real = Side {
            subject,
            uri: rabbitmq.clone(),
            silence: &|| Box::new(Hung::begin(&nameko)),
        };
        let fake = Side {
            subject,
            uri: wire.uri(),
            silence: &|| Box::new(broker.silent(SERVICE)),
        };
        let (really, faked) = (real.transcript().await, fake.transcript().await);
        assert!(really.len() >= 25, "{} scenarios", really.len());
        let differences: Vec<String> = really
            .iter()
            .zip(&faked)
            .filter(|(really, faked)| really != faked)
            .map(|(really, faked)| format!("RabbitMQ and nameko: {really}\nthe fake: {faked}\n"))
            .collect();
        assert!(differences.is_empty(), "{subject:?}:\n{}", differences.concat());
    }
    // Some of the calls are meant to be wrong.
    drop(broker.verify());
    nameko.close().await;
}

/// What `nk_services.py` does, as rules.
fn rules() -> FakeBroker {
    let broker = FakeBroker::new();
    let on = |method: &str| broker.on(&format!("{SERVICE}.{method}"));
    on("echo").reply_with(|call| Answer::ok(json!({"args": call.args, "kwargs": call.kwargs})));
    on("ident").reply_with(|call| Answer::ok(call.args.first().cloned().unwrap_or(Value::Null)));
    on("none").reply(Answer::ok(()));
    on("big")
        .reply_with(|call| Answer::ok("x".repeat(usize::try_from(call.args[0].as_u64().unwrap()).unwrap())));
    on("whoami").reply_with(|call| Answer::ok(call.context.get("auth_token")));
    on("raw").reply_with(|call| Answer::raw(text(&call.args[1]), &text(&call.args[0])));
    on("raise_standard").reply_with(|call| Answer::error(&text(&call.args[0]), &text(&call.args[1])));
    on("raise_custom").reply_with(|call| Answer::error("nk_services.CustomError", &text(&call.args[0])));
    on("sleep").reply_with(|call| {
        Answer::ok(call.args[1].clone()).after(Duration::from_secs_f64(call.args[0].as_f64().unwrap()))
    });
    broker
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

/// A transport, a broker, and how the service behind it falls silent.
struct Side<'a> {
    subject: Subject,
    uri: String,
    silence: &'a dyn Fn() -> Box<dyn Silence + 'a>,
}

trait Silence {}
impl Silence for Outage {}

/// A hung process, until this is dropped.
struct Hung<'a>(&'a Interop);
impl<'a> Hung<'a> {
    fn begin(nameko: &'a Interop) -> Self {
        nameko.hang().unwrap();
        Self(nameko)
    }
}
impl Silence for Hung<'_> {}
impl Drop for Hung<'_> {
    fn drop(&mut self) {
        self.0.resume().unwrap();
    }
}

impl Side<'_> {
    /// One line per scenario.
    async fn transcript(&self) -> Vec<String> {
        let transport = self.connected().await;
        let mut lines = Vec::new();
        for (name, method, body) in PLAIN {
            let told = outcome(transport.request(request(SERVICE, method, body))).await;
            lines.push(format!("{name}: {told}"));
        }
        for (name, happened) in [
            ("headers", self.headers(&*transport).await),
            ("transient", self.transient(&*transport).await),
            ("big request", self.big_request(&*transport).await),
            (
                "unknown service",
                self.unknown(&*transport, "no_such_service").await,
            ),
            (
                "unknown service with a dot",
                self.unknown(&*transport, "no.such.service").await,
            ),
            ("too large", self.too_large(&*transport).await),
            ("fifty at once", self.fifty(&transport).await),
            ("unknown ones among others", self.mixed(&transport).await),
            ("late reply", self.late(&*transport).await),
            ("silent service", self.silent(&*transport).await),
            ("expired in the queue", self.expired(&*transport).await),
            ("reset", self.cut(Cut::Reset).await),
            ("closed", self.cut(Cut::Fin).await),
            ("another exchange", self.elsewhere().await),
            ("close with calls", self.close().await),
            ("close and call", self.closed().await),
        ] {
            lines.push(format!("{name}: {happened}"));
        }
        transport.close(Duration::from_secs(1)).await;
        lines
    }

    async fn connected(&self) -> Arc<dyn Transport> {
        self.subject.connect(&self.uri, "nameko-rpc").await.unwrap()
    }

    async fn headers(&self, transport: &dyn Transport) -> String {
        let mut asked = request(SERVICE, "whoami", r#"{"args": [], "kwargs": {}}"#);
        asked.headers = vec![
            ("nameko.auth_token".into(), json!("a token")),
            ("nameko.call_id_stack".into(), json!(["here.call.1"])),
        ];
        outcome(transport.request(asked)).await
    }

    async fn transient(&self, transport: &dyn Transport) -> String {
        let mut asked = ident(1);
        asked.persistent = false;
        outcome(transport.request(asked)).await
    }

    async fn big_request(&self, transport: &dyn Transport) -> String {
        let body = format!(r#"{{"args": ["{}"], "kwargs": {{}}}}"#, "ä".repeat(200_000));
        let told = outcome(transport.request(request(SERVICE, "echo", &body))).await;
        format!("{} bytes, {}", told.len(), &told[..60])
    }

    async fn unknown(&self, transport: &dyn Transport, service: &str) -> String {
        outcome(transport.request(request(service, "m", r#"{"args": [], "kwargs": {}}"#))).await
    }

    async fn too_large(&self, transport: &dyn Transport) -> String {
        let body = "x".repeat((1 << 20) + 1);
        outcome(transport.request(request(SERVICE, "echo", &body))).await
    }

    async fn fifty(&self, transport: &Arc<dyn Transport>) -> String {
        gathered((0..50).map(|n| (Arc::clone(transport), ident(n)))).await
    }

    async fn mixed(&self, transport: &Arc<dyn Transport>) -> String {
        let asked = |n| match n % 4 {
            0 => request("no_such_service", "m", r#"{"args": [], "kwargs": {}}"#),
            _ => ident(n),
        };
        gathered((0..40).map(|n| (Arc::clone(transport), asked(n)))).await
    }

    /// The caller leaves, the reply comes, the next call has its own.
    async fn late(&self, transport: &dyn Transport) -> String {
        let slow = transport.request(request(
            SERVICE,
            "sleep",
            r#"{"args": [0.3, "late"], "kwargs": {}}"#,
        ));
        let left = timeout(Duration::from_millis(50), slow).await.is_err();
        let next = outcome(transport.request(request(
            SERVICE,
            "sleep",
            r#"{"args": [0.6, "next"], "kwargs": {}}"#,
        )));
        format!("left {left}, {}", next.await)
    }

    async fn silent(&self, transport: &dyn Transport) -> String {
        let silence = (self.silence)();
        let mut call = Box::pin(transport.request(ident(1)));
        let waits = timeout(Duration::from_millis(300), &mut call).await.is_err();
        drop(silence);
        format!("waits {waits}, then {}", outcome(call).await)
    }

    /// More calls than the service has workers: the last one is still in the queue when its time is over.
    async fn expired(&self, transport: &dyn Transport) -> String {
        let silence = (self.silence)();
        let mut filling: Vec<_> = (0..20).map(|n| Box::pin(transport.request(ident(n)))).collect();
        for call in &mut filling {
            let _ = timeout(Duration::from_millis(5), call).await;
        }
        let mut asked = ident("too late");
        asked.expiration = Some(Duration::from_millis(50));
        let mut expiring = Box::pin(transport.request(asked));
        let _ = timeout(Duration::from_millis(200), &mut expiring).await;
        drop(silence);
        for call in filling {
            call.await.unwrap();
        }
        format!(
            "answered {}",
            timeout(Duration::from_millis(300), expiring).await.is_ok()
        )
    }

    /// A waiting call ends with its connection; afterwards all is well.
    async fn cut(&self, how: Cut) -> String {
        let proxy = FaultProxy::start(&self.uri).await.unwrap();
        let transport = self.subject.connect(proxy.uri(), "nameko-rpc").await.unwrap();
        let slow = transport.request(request(
            SERVICE,
            "sleep",
            r#"{"args": [1, "lost"], "kwargs": {}}"#,
        ));
        let (lost, ()) = tokio::join!(outcome(slow), async {
            tokio::time::sleep(Duration::from_millis(300)).await;
            proxy.cut(how);
        });
        let mut tries = 0;
        while transport.request(ident(1)).await.is_err() && tries < 500 {
            tries += 1;
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        format!("{}, back {}", lost.split(':').next().unwrap(), tries < 500)
    }

    async fn elsewhere(&self) -> String {
        let transport = self.subject.connect(&self.uri, "another-rpc").await.unwrap();
        outcome(transport.request(ident(1))).await
    }

    async fn close(&self) -> String {
        let transport = self.connected().await;
        let call = {
            let (transport, asked) = (
                Arc::clone(&transport),
                r#"{"args": [0.4, "in time"], "kwargs": {}}"#,
            );
            tokio::spawn(async move { outcome(transport.request(request(SERVICE, "sleep", asked))).await })
        };
        tokio::time::sleep(Duration::from_millis(100)).await;
        transport.close(Duration::from_secs(10)).await;
        call.await.unwrap()
    }

    async fn closed(&self) -> String {
        let transport = self.connected().await;
        transport.close(Duration::ZERO).await;
        outcome(transport.request(ident(1))).await
    }
}

async fn gathered(calls: impl Iterator<Item = (Arc<dyn Transport>, Request)>) -> String {
    let calls: JoinSet<String> = calls
        .map(|(transport, request)| async move { outcome(transport.request(request)).await })
        .collect();
    let mut told = calls.join_all().await;
    told.sort();
    told.join("; ")
}

/// What a call ends with, in a line: the reply's bytes, or the error's name.
async fn outcome(call: impl Future<Output = Result<Response, TransportError>>) -> String {
    match timeout(LONGEST, call).await {
        Ok(Ok(response)) => {
            let (kind, body) = (response.content_type.unwrap_or_default(), response.body);
            format!("{kind} {} {:?}", String::from_utf8_lossy(&body), response.headers)
        }
        Ok(Err(TransportError::Disconnected { delivery, .. })) => format!("Disconnected {delivery:?}: .."),
        Ok(Err(error)) => format!("{error:?}"),
        Err(_) => "no reply".to_owned(),
    }
}

fn ident(value: impl Into<Value>) -> Request {
    let body = json!({"args": [value.into()], "kwargs": {}}).to_string();
    request(SERVICE, "ident", &body)
}

fn request(service: &str, method: &str, body: &str) -> Request {
    Request::new(Route::new(service, method).unwrap(), body.to_owned())
}

/// One call, one answer.
const PLAIN: &[(&str, &str, &str)] = &[
    ("positional", "echo", r#"{"args": [1, "two"], "kwargs": {}}"#),
    ("keywords", "echo", r#"{"args": [], "kwargs": {"three": 3}}"#),
    ("nothing", "echo", r#"{"args": [], "kwargs": {}}"#),
    (
        "nested",
        "echo",
        r#"{"args": [[1, [2, {"a": null}]], {"b": [true, false]}], "kwargs": {}}"#,
    ),
    (
        "unicode",
        "ident",
        r#"{"args": ["h\u00e9 \u2603 \ud834\udd1e \" \\ \n"], "kwargs": {}}"#,
    ),
    ("raw unicode", "ident", r#"{"args": ["hé ☃ 𝄞"], "kwargs": {}}"#),
    ("null", "ident", r#"{"args": [null], "kwargs": {}}"#),
    ("zero", "ident", r#"{"args": [0], "kwargs": {}}"#),
    (
        "a negative number",
        "ident",
        r#"{"args": [-12345678901234], "kwargs": {}}"#,
    ),
    ("a fraction", "ident", r#"{"args": [0.1], "kwargs": {}}"#),
    ("an empty text", "ident", r#"{"args": [""], "kwargs": {}}"#),
    ("no result", "none", r#"{"args": [], "kwargs": {}}"#),
    ("a big reply", "big", r#"{"args": [300000], "kwargs": {}}"#),
    (
        "an exception",
        "raise_standard",
        r#"{"args": ["ValueError", "bad"], "kwargs": {}}"#,
    ),
    (
        "its own exception",
        "raise_custom",
        r#"{"args": ["x"], "kwargs": {}}"#,
    ),
    ("no such method", "nope", r#"{"args": [], "kwargs": {}}"#),
    ("no kwargs", "echo", r#"{"args": []}"#),
    ("not JSON", "echo", "nonsense"),
    (
        "a reply that is text",
        "raw",
        r#"{"args": ["text/plain", "hello"], "kwargs": {}}"#,
    ),
    ("a slow one", "sleep", r#"{"args": [0.2, "done"], "kwargs": {}}"#),
];

const PREFIX: &str = "nct_far_";
const SERVICE: &str = "nct_far_interop";
const LONGEST: Duration = Duration::from_secs(2);
