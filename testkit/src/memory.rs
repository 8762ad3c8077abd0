//! The transport of a fake broker within the test's own process.

use std::{fmt, future::pending, sync::Arc, time::Duration};

use async_trait::async_trait;
use nameko_cachetools::{
    ConnectionState, Delivery, Request, Response, ServiceQueue, Transport, TransportError,
};
use tokio::{
    select,
    sync::watch,
    time::{sleep, timeout},
};

use crate::{
    Correlation, When,
    act::Act,
    hub::Hub,
    manner::Manner,
    state::{Due, Early, Waiter},
};

/// A connection to a [`FakeBroker`](crate::FakeBroker), without sockets: made by
/// [`transport`](crate::FakeBroker::transport). A clone is the same connection.
///
/// All waiting is done in tokio's time, so that a test with a paused clock takes none.
#[derive(Clone)]
pub struct FakeTransport {
    pub(crate) hub: Arc<Hub>,
    pub(crate) connection: u32,
}

impl FakeTransport {
    pub(crate) fn new(hub: Arc<Hub>) -> Self {
        let connection = hub.lock().connect();
        Self { hub, connection }
    }

    /// Ends when the caller gets its answer; never, if it gets none.
    async fn ready(&self, number: u64, act: &Act, manner: Manner, delay: Duration) {
        if matches!(act, Act::Never) {
            pending::<()>().await;
        }
        if !delay.is_zero() {
            sleep(delay).await;
        }
        if let Act::Reply(_) = act {
            self.hub.turn().await;
            if manner.correlation != Correlation::Own {
                self.stray(number, act, manner.correlation);
                pending::<()>().await;
            }
        }
    }

    /// A reply that no caller is found for.
    fn stray(&self, number: u64, act: &Act, correlation: Correlation) {
        let mut state = self.hub.lock();
        state
            .log
            .of_call(number, format!("{}: {correlation}", act.summary()));
        match (correlation, act) {
            (Correlation::NotUtf8, _) => {
                state.break_connection(self.connection, "a reply's correlation id was no UTF-8");
            }
            (Correlation::Another, Act::Reply(response)) => {
                if let Some(other) = state.another(number) {
                    state.misdirect(other, response.clone());
                }
            }
            _ => {}
        }
    }

    async fn perform(&self, number: u64, act: Act, manner: Manner) -> Result<Response, TransportError> {
        match act {
            Act::Reply(response) => {
                let mut state = self.hub.lock();
                for _ in 1..manner.copies {
                    state
                        .log
                        .of_call(number, "the same reply again: nobody waits for it");
                }
                if manner.hangs_up {
                    state.log.of_call(number, "connection lost after the reply");
                    state.break_connection(self.connection, CUT);
                }
                Ok(response)
            }
            Act::UnknownService => Err(TransportError::UnknownService),
            Act::Nack => Err(TransportError::Rejected),
            Act::Disconnect(when) => {
                self.hub.lock().break_connection(self.connection, CUT);
                let delivery = match when {
                    When::BeforeSend => Delivery::NotSent,
                    When::AfterSend | When::BeforeReply => Delivery::Unknown,
                };
                Err(TransportError::Disconnected {
                    delivery,
                    reason: CUT.to_owned(),
                })
            }
            Act::Never | Act::Hold => pending().await,
        }
    }
}

/// Why a connection is lost, if an answer says so.
const CUT: &str = "the fake broker cut the connection";

#[async_trait]
impl Transport for FakeTransport {
    async fn request(&self, request: Request) -> Result<Response, TransportError> {
        let Waiter {
            number,
            mut answer,
            mut lost,
        } = self.hub.admit(self.connection, request)?;
        let mut presence = Presence {
            hub: &self.hub,
            number,
            is_over: false,
        };
        // In both places an answer that is there wins over a connection that is lost in the same moment.
        let Due { act, manner, delay } = select! {
            biased;
            Ok(due) = &mut answer => due,
            Ok(early) = &mut lost => return presence.early(early),
            else => pending().await,
        };
        select! {
            biased;
            () = self.ready(number, &act, manner, delay) => {}
            Ok(early) = &mut lost => return presence.early(early),
        }
        presence.over(act.summary());
        self.perform(number, act, manner).await
    }

    /// As the rules have it: a service that no rule is for has no queue, a [silent](crate::FakeBroker::silent) one no
    /// consumer. `None` while the broker is down.
    async fn service_queue(&self, service: &str) -> Option<ServiceQueue> {
        let state = self.hub.lock();
        match state.watch(self.connection).borrow().clone() {
            ConnectionState::Ready | ConnectionState::Blocked { .. } => Some(state.service_queue(service)),
            _ => None,
        }
    }

    fn state(&self) -> watch::Receiver<ConnectionState> {
        self.hub.lock().watch(self.connection)
    }

    async fn close(&self, grace: Duration) {
        self.hub.lock().close(self.connection);
        if timeout(grace, self.hub.idle(self.connection)).await.is_err() {
            self.hub
                .lock()
                .lose_connection(self.connection, "the transport was closed");
        }
    }
}

impl fmt::Debug for FakeTransport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "FakeTransport(connection {})", self.connection)
    }
}

/// A caller that waits. Dropped early, it tells the broker that the caller gave up.
struct Presence<'a> {
    hub: &'a Hub,
    number: u64,
    is_over: bool,
}

impl Presence<'_> {
    fn over(&mut self, told: String) {
        self.is_over = true;
        self.hub.lock().end(self.number, told);
    }

    fn early(&mut self, early: Early) -> Early {
        self.over(match &early {
            Ok(_) => "took another call's reply for its own".to_owned(),
            Err(error) => error.to_string(),
        });
        early
    }
}

impl Drop for Presence<'_> {
    fn drop(&mut self) {
        if !self.is_over {
            self.hub.lock().end(self.number, "the caller gave up");
        }
    }
}
