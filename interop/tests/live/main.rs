//! Our client against real nameko: what it sends is understood, and what comes back is understood here.
#![expect(clippy::unwrap_used, reason = "a test's helpers may fail it")]

mod beside_python;
mod broker_lost;
mod calls;
mod context;
mod directives;
mod errors;
mod events;
mod formats;
mod recordings;
mod service_lost;
mod typed_values;
mod unlike_python;
mod values;

use std::time::Duration;

use nameko_cachetools::{Client, ServiceProxy};
use nameko_cachetools_interop::Interop;
use nameko_cachetools_lapin::LapinTransport;

/// A client with a connection of its own, on the broker of these services. No call of it waits for ever.
async fn client(nameko: &Interop) -> Client {
    let transport = LapinTransport::connect(nameko.uri()).await.unwrap();
    Client::builder(transport).call_timeout(LIMIT).build()
}

/// A plain proxy of the service `interop`.
async fn interop(nameko: &Interop) -> ServiceProxy {
    client(nameko).await.service(nameko.service("interop"))
}

/// Longer than any answer takes on a busy machine.
const LIMIT: Duration = Duration::from_secs(30);
