//! The transport of a fake broker within the test's own process.

use std::{fmt, future::pending, sync::Arc, time::Duration};

use async_trait::async_trait;
use nameko_cachetools::{ConnectionState, Delivery, Request, Response, Transport, TransportError};
use tokio::{
    select,
    sync::watch,
    time::{sleep, timeout},
};

use crate::{
    When,
    act::Act,
    hub::Hub,
    state::{Due, Waiter},
};

/// A connection to a [`FakeBroker`](crate::FakeBroker), without sockets: made by
/// [`transport`](crate::FakeBroker::transport). A clone is the same connection.
///
/// All waiting is done in tokio's time, so that a test with a paused clock takes none.
#[derive(Clone)]
pub struct FakeTransport {
    hub: Arc<Hub>,
    connection: u32,
}

impl FakeTransport {
    pub(crate) fn new(hub: Arc<Hub>) -> Self {
        let connection = hub.lock().connect();
        Self { hub, connection }
    }

    async fn perform(&self, act: Act) -> Result<Response, TransportError> {
        match act {
            Act::Reply(response) => Ok(response),
            Act::UnknownService => Err(TransportError::UnknownService),
            Act::Nack => Err(TransportError::Rejected),
            Act::Disconnect(when) => {
                let reason = "the fake broker cut the connection";
                self.hub.lock().break_connection(self.connection, reason);
                let delivery = match when {
                    When::BeforeSend => Delivery::NotSent,
                    When::AfterSend => Delivery::Unknown,
                };
                Err(TransportError::Disconnected {
                    delivery,
                    reason: reason.to_owned(),
                })
            }
            Act::Never | Act::Hold => pending().await,
        }
    }
}

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
        let Due { act, delay } = select! {
            biased;
            Ok(due) = &mut answer => due,
            Ok(error) = &mut lost => return presence.lost(error),
            else => pending().await,
        };
        let ready = async {
            if matches!(act, Act::Never) {
                pending::<()>().await;
            }
            if !delay.is_zero() {
                sleep(delay).await;
            }
        };
        select! {
            biased;
            () = ready => {}
            Ok(error) = &mut lost => return presence.lost(error),
        }
        presence.over(act.summary());
        self.perform(act).await
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

    fn lost(&mut self, error: TransportError) -> Result<Response, TransportError> {
        self.over(error.to_string());
        Err(error)
    }
}

impl Drop for Presence<'_> {
    fn drop(&mut self) {
        if !self.is_over {
            self.hub.lock().end(self.number, "the caller gave up");
        }
    }
}
