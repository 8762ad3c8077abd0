//! amqprs isn't told why it is refused: RabbitMQ hangs up, three seconds after the password. So may others.
#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used, reason = "tests")]

use std::time::Duration;

use nameko_cachetools::TransportError;
use nameko_cachetools_amqprs::{AmqprsTransport, ConnectError};
use tokio::{net::TcpListener, time::sleep};

#[tokio::test]
async fn who_was_killed_in_the_handshake_refused_nobody() {
    let (refused, killed) = tokio::join!(hung_up_by(true), hung_up_by(false));
    assert!(matches!(refused, TransportError::Refused { .. }), "{refused:?}");
    assert!(
        matches!(killed, TransportError::NotConnected { .. }),
        "{killed:?}"
    );
}

/// What connecting ends with if the other side resets the connection after 3 s, and goes on listening or not.
async fn hung_up_by(living: bool) -> TransportError {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let uri = format!("amqp://{}", listener.local_addr().unwrap());
    let hanging_up = tokio::spawn(async move {
        let (socket, _) = listener.accept().await.unwrap();
        let listener = living.then_some(listener);
        sleep(Duration::from_millis(3100)).await;
        socket.set_zero_linger().unwrap();
        drop(socket);
        sleep(Duration::from_secs(5)).await;
        drop(listener);
    });
    let ConnectError::Failed(error) = AmqprsTransport::connect(&uri).await.unwrap_err() else {
        panic!("another error")
    };
    hanging_up.abort();
    error
}
