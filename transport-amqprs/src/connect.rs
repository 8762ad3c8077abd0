//! From an address to a link: a thread of its own, socket, TLS, handshake, topology.
//!
//! amqprs opens its socket itself and gives no handle on it; its tasks may be stuck in a write for as long as the
//! broker doesn't read, and its destructors spawn more of them. So every connection lives on a thread with a runtime of
//! its own, and ends with it, whatever state it is in: nothing of amqprs ever leaves that thread.

use std::{
    future::Future,
    io,
    sync::{Arc, Mutex, PoisonError},
    thread,
};

use amqprs::{
    Close,
    callbacks::ConnectionCallback,
    connection::{Connection, OpenConnectionArguments},
    error::Error,
};
use async_trait::async_trait;
use nameko_cachetools_amqp::{Link, LinkEvents, LinkFactory, OpenError, Plan, clock_is_paused, is_permanent};
use tokio::{
    net::TcpStream,
    sync::{oneshot, watch},
    time::{Duration, Instant},
};

use crate::link::{AmqprsLink, Ending, Session};

/// Opens amqprs links.
pub(crate) struct Links;

#[async_trait]
impl LinkFactory for Links {
    async fn open(&self, plan: Plan, events: LinkEvents) -> Result<Arc<dyn Link>, OpenError> {
        if clock_is_paused() {
            return Err(OpenError::paused_clock());
        }
        let (opened, outcome) = oneshot::channel();
        let live = move || async move {
            match Session::open(&plan, events).await {
                // Nobody waits any more: the attempt was given up.
                Ok((session, handle)) => match opened.send(Ok(handle)) {
                    Ok(()) => session.run().await,
                    Err(_) => drop(session),
                },
                Err(error) => drop(opened.send(Err(error))),
            }
        };
        let home = Home::start(live).map_err(|error| OpenError::unreachable(error.to_string()))?;
        let handle = outcome
            .await
            .map_err(|_| OpenError::unreachable("the connection's thread has ended"))??;
        Ok(Arc::new(AmqprsLink::new(home, handle)))
    }
}

/// A connection's thread, with a handle that can end it. Dropping it does.
pub(crate) struct Home(watch::Sender<bool>);

impl Home {
    fn start<F: Future<Output = ()>>(live: impl FnOnce() -> F + Send + 'static) -> io::Result<Self> {
        let is_cut = watch::Sender::new(false);
        let mut cut = is_cut.subscribe();
        let run = move || {
            let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_all().build() else {
                return; // whoever waits for what `live` has to say is told so by its end
            };
            runtime.block_on(async {
                tokio::select! {
                    biased;
                    _ = cut.wait_for(|cut| *cut) => {}
                    () = live() => {}
                }
            });
            runtime.shutdown_background(); // a look-up of a name that hangs may hang on
        };
        thread::Builder::new()
            .name(THREAD_NAME.to_owned())
            .stack_size(STACK)
            .spawn(run)?;
        Ok(Self(is_cut))
    }

    /// Ends the connection now: the socket is closed with all that waits to be written to it.
    pub(crate) fn cut(&self) {
        self.0.send_replace(true);
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        self.cut();
    }
}

/// amqprs reads lists and tables in each other by calls in each other, and a header may have as many of them as a frame
/// has room for: some 26,000 in the 128 KiB that RabbitMQ proposes. These are addresses; memory is only what is used.
const STACK: usize = match usize::BITS {
    64.. => 128 << 20,
    _ => 8 << 20,
};

/// At most 15 bytes, so that Linux shows all of it.
const THREAD_NAME: &str = "amqprs-io";

/// TCP, TLS, handshake.
pub(crate) async fn connect(plan: &Plan) -> Result<Connection, OpenError> {
    let began = Instant::now();
    let address = &plan.address;
    let host = match address.host.contains(':') {
        true => format!("[{}]", address.host),
        false => address.host.clone(),
    };
    let mut arguments = OpenConnectionArguments::new(&host, address.port, &address.user, &address.password);
    arguments
        .virtual_host(&address.vhost)
        .connection_name(&plan.connection_name)
        .heartbeat(u16::try_from(plan.heartbeat.as_secs()).unwrap_or(u16::MAX));
    #[cfg(feature = "tls")]
    if let Some(config) = plan.tls.clone() {
        let connector = tokio_rustls::TlsConnector::from(config);
        arguments.tls_adaptor(amqprs::tls::TlsAdaptor::new(connector, address.host.clone()));
    }
    let error = match Connection::open(&arguments).await {
        Ok(connection) => return Ok(connection),
        Err(error) => error,
    };
    Err(match error {
        // It is told in the text of a frame only.
        Error::ConnectionOpenError(text) => refusal(code_in(&text), text),
        Error::NetworkError(text) if is_tls_refusal(&text) => OpenError::refused(format!("TLS: {text}")),
        Error::NetworkError(text) if began.elapsed() >= SILENT_REFUSAL && is_there(plan).await => {
            OpenError::refused(format!(
                "{text}, {SILENT_REFUSAL:?} or more after connecting: RabbitMQ refuses a wrong user or password like \
                 this"
            ))
        }
        error => OpenError::unreachable(error.to_string()),
    })
}

/// A certificate doesn't become good by waiting. amqprs keeps of rustls's errors their texts.
fn is_tls_refusal(text: &str) -> bool {
    [
        "invalid peer certificate",
        "received fatal alert",
        "invalid dnsname",
    ]
    .iter()
    .any(|part| text.contains(part))
}

/// Whether somebody listens: who hung up because he was killed, refused nobody.
async fn is_there(plan: &Plan) -> bool {
    let (host, port) = (plan.address.host.as_str(), plan.address.port);
    TcpStream::connect((host, port)).await.is_ok()
}

/// amqprs doesn't announce that it understands refusals, so RabbitMQ hangs up without a word, after 3 s.
const SILENT_REFUSAL: Duration = Duration::from_millis(2900);

/// What the broker said when it closed a channel or the connection.
#[derive(Clone, Default)]
pub(crate) struct LastWords(Arc<Mutex<Option<(u16, String)>>>);

impl LastWords {
    /// Only the first are kept: what follows is their consequence.
    pub(crate) fn note(&self, code: u16, text: &str) -> String {
        let shown = format!("{code} {text}");
        self.lock().get_or_insert_with(|| (code, shown.clone()));
        shown
    }

    /// The reply code, if it said anything.
    pub(crate) fn code(&self) -> Option<u16> {
        self.lock().as_ref().map(|(code, _)| *code)
    }

    /// What a failed set-up is taken for.
    pub(crate) fn explain(&self, error: &Error) -> OpenError {
        match self.lock().take() {
            Some((code, text)) => refusal(Some(code), text),
            None => OpenError::unreachable(error.to_string()),
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<(u16, String)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A refusal has a reply code that says whether it is final. No text of the broker's holds an account.
fn refusal(code: Option<u16>, text: String) -> OpenError {
    match code.is_some_and(is_permanent) {
        true => OpenError::refused(text),
        false => OpenError::unreachable(text),
    }
}

/// The reply code in the `Debug` text of a `connection.close`.
fn code_in(text: &str) -> Option<u16> {
    let (_, from_code) = text.split_once("reply_code: ")?;
    from_code
        .split(|c: char| !c.is_ascii_digit())
        .next()?
        .parse()
        .ok()
}

/// Hears what the broker says about the connection. (That it is blocked, it tells only those who announce that they
/// understand, and amqprs doesn't.)
pub(crate) struct Watch {
    pub(crate) events: LinkEvents,
    pub(crate) ending: Ending,
    pub(crate) last_words: LastWords,
}

#[async_trait]
impl ConnectionCallback for Watch {
    async fn close(&mut self, _: &Connection, close: Close) -> Result<(), Error> {
        let said = self.last_words.note(close.reply_code(), close.reply_text());
        // Or another was first.
        let _ = self
            .ending
            .send(format!("the broker closed the connection: {said}"));
        Ok(())
    }

    async fn blocked(&mut self, _: &Connection, reason: String) {
        self.events.blocked(reason);
    }

    async fn unblocked(&mut self, _: &Connection) {
        self.events.unblocked();
    }

    async fn secret_updated(&mut self, _: &Connection) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reply_code_is_found_in_a_frames_text() {
        let text = r#"failed to open connection, reason: Close(MethodHeader { class_id: 10, method_id: 50 }, Close { reply_code: 530, reply_text: ShortStr(9, "NOT_ALLOW") })"#;
        assert_eq!(code_in(text), Some(530));
        assert_eq!(code_in("failed to open connection, reason: OpenOk"), None);
    }

    /// Whatever the thread does, it ends with its handle.
    #[tokio::test]
    async fn a_home_ends_when_it_is_dropped() {
        let alive = Arc::new(());
        let held = alive.clone();
        let home = Home::start(move || async move {
            let _held = held;
            std::future::pending::<()>().await;
        });
        drop(home.unwrap());
        for _ in 0..500 {
            if Arc::strong_count(&alive) == 1 {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("the thread still runs after 5 s");
    }
}
