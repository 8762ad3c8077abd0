//! The transports that make the calls.

use std::{sync::Arc, time::Duration};

use nameko_cachetools::Transport;
use nameko_cachetools_amqprs::AmqprsTransport;
use nameko_cachetools_lapin::LapinTransport;

/// A transport over AMQP.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Subject {
    Lapin,
    Amqprs,
}

/// What both builders do, under one name.
macro_rules! connect {
    ($transport:ident, $uri:expr, $exchange:expr) => {{
        let builder = $transport::builder().uri($uri).rpc_exchange($exchange);
        let builder = builder
            .heartbeat(Duration::from_secs(4))
            .max_request_bytes(1 << 20);
        match builder.connect().await {
            Ok(transport) => Ok(Arc::new(transport) as Arc<dyn Transport>),
            Err(error) => Err(error.to_string()),
        }
    }};
}

impl Subject {
    pub(crate) const ALL: [Self; 2] = [Self::Lapin, Self::Amqprs];

    pub(crate) async fn connect(self, uri: &str, exchange: &str) -> Result<Arc<dyn Transport>, String> {
        match self {
            Self::Lapin => connect!(LapinTransport, uri, exchange),
            Self::Amqprs => connect!(AmqprsTransport, uri, exchange),
        }
    }
}
