//! A call without the cache: plain RPC, and what it invalidates if it changes something.

use std::sync::Arc;

use serde::de::DeserializeOwned;
use tokio::time::Instant;

use crate::{
    client::Client,
    engine::Prepared,
    entry::Slot,
    error::{CallError, Delivery},
    invalidate::Scope,
    limits::{Limit, timed_out},
    outcome::{Details, Outcome, Reason, Reply},
    wire,
};

/// Makes the call: the request lives and dies with its caller.
pub(crate) async fn plain<T>(call: &Prepared, reason: Reason) -> Result<Reply<T>, CallError>
where
    T: DeserializeOwned + Send + Sync + 'static,
{
    let (started, client) = (Instant::now(), &call.engine.client);
    let limit = call
        .options
        .timeout
        .unwrap_or(call.engine.plain_timeout(call.route.method()));
    let change = Change {
        client,
        scopes: call.engine.setter(call.route.method()),
    };
    let transport = client.transport();
    let reply = tokio::select! {
        biased;
        reply = transport.request(call.request(None)) => reply,
        error = timed_out(transport.as_ref(), &call.route, Limit::new(started, limit)) => return Err(error),
    };
    let response = match reply {
        Ok(response) => response,
        Err(error) => {
            if error.delivery() == Delivery::NotSent {
                change.did_not_happen();
            }
            return Err(CallError::transport(call.route.clone(), error));
        }
    };
    let body = wire::result(&call.route, response)?;
    let value = wire::decode(&call.route, &body)?;
    let details = Details {
        waited: started.elapsed(),
        ..Details::live(reason)
    };
    let slot = Arc::new(Slot::alone(value));
    Ok(Reply::new(slot, Outcome::other(details)))
}

/// What a call that changes something invalidates when it has ended, however it ends: after an error, a spent limit or a
/// caller who left, the change may have happened.
struct Change<'a> {
    client: &'a Client,
    scopes: Option<Arc<[Scope]>>,
}

impl Change<'_> {
    fn did_not_happen(mut self) {
        self.scopes = None;
    }
}

impl Drop for Change<'_> {
    fn drop(&mut self) {
        for scope in self.scopes.iter().flat_map(|scopes| scopes.iter()) {
            self.client.invalidate(scope);
        }
    }
}
