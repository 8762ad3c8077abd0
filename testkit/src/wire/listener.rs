//! The port: who connects is served until the broker is dropped.

use std::{io, sync::Arc, time::Duration};

use socket2::SockRef;
use tokio::{
    net::{TcpListener, TcpStream},
    select,
    task::JoinSet,
    time::{interval, sleep},
};

use super::{
    Tls,
    connection::{End, serve},
    shared::Shared,
};

/// Serves everyone who connects, and keeps the queues' time.
pub(super) async fn listen(listener: TcpListener, shared: Arc<Shared>, tls: Option<Tls>) {
    let (mut connections, mut clock) = (JoinSet::new(), interval(SWEEP));
    loop {
        select! {
            accepted = listener.accept() => {
                match accepted {
                    Ok((stream, _)) => {
                        connections.spawn(connected(stream, Arc::clone(&shared), tls.clone()));
                    }
                    Err(_) => sleep(SWEEP).await, // out of sockets: the next try would fail as well
                }
            }
            Some(_) = connections.join_next() => {}
            _ = clock.tick() => shared.with(|vhost| vhost.sweep()),
        }
    }
}

async fn connected(stream: TcpStream, shared: Arc<Shared>, tls: Option<Tls>) -> io::Result<()> {
    stream.set_nodelay(true)?; // frames are small and somebody waits for each
    let stream = stream.into_std()?;
    let socket = stream.try_clone()?; // outlives the halves, and decides how the connection ends
    let stream = TcpStream::from_std(stream)?;
    let end = match tls {
        None => serve(stream, shared).await,
        #[cfg(feature = "tls")]
        Some(tls) => serve(tls.acceptor.accept(stream).await?, shared).await,
        #[cfg(not(feature = "tls"))]
        Some(never) => match never {},
    };
    if end == End::Reset {
        SockRef::from(&socket).set_linger(Some(Duration::ZERO))?;
    }
    Ok(())
}

/// How exactly `x-expires` is kept.
const SWEEP: Duration = Duration::from_millis(50);
