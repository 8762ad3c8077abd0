//! Which broker, and whether it answers.

use std::{env, io, time::Duration};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};
use url::Url;

use crate::Unavailable;

/// The broker that [`amqp_uri`] names when the environment doesn't: RabbitMQ as it comes, on this machine.
pub const DEFAULT_AMQP_URI: &str = "amqp://guest:guest@127.0.0.1:5672/%2f";

/// The broker to use: the environment's `AMQP_URI`, else [`DEFAULT_AMQP_URI`].
pub fn amqp_uri() -> String {
    env::var("AMQP_URI")
        .ok()
        .filter(|uri| !uri.is_empty())
        .unwrap_or_else(|| DEFAULT_AMQP_URI.into())
}

/// Whether a broker speaks AMQP at the URI's host. Over TLS only the connection is tried.
pub(crate) async fn check(uri: &str) -> Result<(), Unavailable> {
    let url = Url::parse(uri).map_err(|error| Unavailable::BrokerUri {
        reason: error.to_string(),
    })?;
    let Some(host) = url.host_str() else {
        return Err(Unavailable::BrokerUri {
            reason: "it names no host".into(),
        });
    };
    let tls = url.scheme() == "amqps";
    let address = format!("{host}:{}", url.port().unwrap_or(if tls { 5671 } else { 5672 }));
    let answer = async {
        if tls {
            TcpStream::connect(&address).await.map(drop)
        } else {
            speaks_amqp(&address).await
        }
    };
    match timeout(ANSWER_LIMIT, answer)
        .await
        .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
    {
        Ok(()) => Ok(()),
        Err(source) => Err(Unavailable::NoBroker { address, source }),
    }
}

/// Whether the first byte that answers the protocol header opens a method frame (AMQP 0-9-1, section 4.2.3):
/// a RabbitMQ that is still starting accepts connections before it answers.
pub(crate) async fn speaks_amqp(address: &str) -> io::Result<()> {
    let mut stream = TcpStream::connect(address).await?;
    stream.write_all(b"AMQP\x00\x00\x09\x01").await?;
    match stream.read_u8().await? {
        METHOD_FRAME => Ok(()),
        _ => Err(io::Error::new(
            io::ErrorKind::InvalidData,
            "it doesn't speak AMQP 0-9-1",
        )),
    }
}

const METHOD_FRAME: u8 = 1;
const ANSWER_LIMIT: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::net::TcpListener;

    #[tokio::test]
    async fn a_refused_connection_is_a_missing_broker() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        drop(listener);
        let error = check(&format!("amqp://u:secret@{address}/%2f"))
            .await
            .unwrap_err();
        assert!(error.is_missing(), "{error}");
        assert!(
            error.to_string().contains(&address.to_string()) && !error.to_string().contains("secret"),
            "{error}"
        );
    }

    #[tokio::test]
    async fn something_else_at_the_port_is_no_broker() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            stream.write_all(b"HTTP/1.1 400 Bad Request\r\n").await.unwrap();
        });
        let error = check(&format!("amqp://{address}")).await.unwrap_err();
        assert!(error.to_string().contains("doesn't speak AMQP"), "{error}");
    }

    #[tokio::test]
    async fn a_uri_without_host_is_a_mistake_not_a_missing_broker() {
        for uri in ["", "rabbit", "amqp:///%2f"] {
            let error = check(uri).await.unwrap_err();
            assert!(matches!(error, Unavailable::BrokerUri { .. }), "{uri:?}: {error}");
        }
    }
}
