//! The socket of one connection: octets in, octets out, heartbeats, and the end.

use std::{
    future::pending,
    io,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use amq_protocol::{
    frame::AMQPFrame,
    protocol::{AMQPClass, basic},
};
use bytes::BytesMut;
use nameko_cachetools::ConnectionState;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadHalf, WriteHalf, split},
    select,
    sync::watch,
    time::{Instant, sleep, sleep_until, timeout},
};

use super::{
    frames::decode,
    outbox::{Outbox, Part},
    session::{Peer, Session},
    shared::{Line, Shared},
};

/// How a connection ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// In good order, or because the client left.
    Closed,
    /// Reset by the broker.
    Reset,
}

/// Serves a connection to its end.
pub(super) async fn serve<S: AsyncRead + AsyncWrite>(stream: S, shared: Arc<Shared>) -> End {
    let peer = Arc::new(Peer::new(Outbox::new(Arc::clone(&shared.damages))));
    let (number, state) = {
        let mut hub = shared.hub.lock();
        let number = hub.connect();
        (number, hub.watch(number))
    };
    let session = Session::new(Arc::clone(&peer));
    shared.lock().sessions.insert(number, session);
    let _presence = Presence {
        shared: &shared,
        peer: &peer,
        number,
    };
    let mut cut = peer.cut.subscribe();
    let (incoming, outgoing) = split(stream);
    select! {
        biased;
        _ = cut.wait_for(|cut| *cut) => End::Reset,
        () = follow(&shared, number, state.clone()) => End::Reset,
        () = peer.outbox.flooded() => {
            shared.hub.lock().log.of_broker("wire: reset, the client doesn't read what waits for it");
            End::Reset
        }
        () = read(incoming, &shared, &peer, number, state) => End::Closed,
        _ = write(outgoing, &shared, &peer) => End::Closed,
    }
}

/// A connection that is served. Dropped in whichever way, it leaves nothing behind.
struct Presence<'a> {
    shared: &'a Shared,
    peer: &'a Peer,
    number: u32,
}

impl Drop for Presence<'_> {
    fn drop(&mut self) {
        let mut vhost = self.shared.lock();
        vhost.release_connection(self.number);
        vhost.sessions.remove(&self.number);
        drop(vhost);
        self.shared.hub.lock().close(self.number);
        self.peer.gone.send_replace(true);
    }
}

/// Follows the outages of the script; returns when one of them cuts the connection.
async fn follow(shared: &Arc<Shared>, number: u32, mut state: watch::Receiver<ConnectionState>) {
    loop {
        let now = state.borrow_and_update().clone();
        match now {
            ConnectionState::Blocked { reason } => shared.with(|vhost| vhost.tell_blocked(number, &reason)),
            ConnectionState::Ready => shared.with(|vhost| vhost.tell_unblocked(number)),
            _ => return,
        }
        if state.changed().await.is_err() {
            return;
        }
    }
}

async fn read<S: AsyncRead>(
    mut stream: ReadHalf<S>,
    shared: &Arc<Shared>,
    peer: &Peer,
    number: u32,
    mut state: watch::Receiver<ConnectionState>,
) {
    let (mut buffer, mut line) = (BytesMut::with_capacity(READ_BYTES), shared.line.subscribe());
    loop {
        buffer.reserve(READ_BYTES);
        // As RabbitMQ: a client that is silent for two heartbeats is gone.
        let patience = match peer.heartbeat.load(Ordering::Relaxed) {
            0 => Duration::MAX,
            seconds => 2 * Duration::from_secs(seconds.into()),
        };
        thawed(&mut line).await;
        match timeout(patience, stream.read_buf(&mut buffer)).await {
            Ok(Ok(1..)) => {}
            _ => return,
        }
        thawed(&mut line).await;
        loop {
            match decode(&mut buffer, peer.frame_max.load(Ordering::Relaxed)) {
                Ok(Some(frame)) => {
                    if is_publish(&frame) {
                        unblocked(shared, number, &mut state).await;
                    }
                    shared.with(|vhost| vhost.receive(number, frame));
                }
                Ok(None) => break,
                Err(garbage) => {
                    shared.with(|vhost| vhost.receive_garbage(number, garbage));
                    return drain(stream, buffer).await;
                }
            }
        }
    }
}

/// Throws away what comes, until the client hangs up.
async fn drain<S: AsyncRead>(mut stream: ReadHalf<S>, mut buffer: BytesMut) {
    loop {
        buffer.clear();
        match stream.read_buf(&mut buffer).await {
            Ok(1..) => {}
            _ => return,
        }
    }
}

/// A blocked broker reads nothing more from those who publish.
async fn unblocked(shared: &Arc<Shared>, number: u32, state: &mut watch::Receiver<ConnectionState>) {
    let reason = match &*state.borrow() {
        ConnectionState::Blocked { reason } => reason.clone(),
        _ => return,
    };
    shared.with(|vhost| vhost.tell_blocked(number, &reason));
    let is_over = |state: &ConnectionState| !matches!(state, ConnectionState::Blocked { .. });
    let _ = state.wait_for(is_over).await;
}

async fn write<S: AsyncWrite>(mut stream: WriteHalf<S>, shared: &Arc<Shared>, peer: &Peer) -> io::Result<()> {
    let mut line = shared.line.subscribe();
    loop {
        let pause = match peer.heartbeat.load(Ordering::Relaxed) {
            0 => Duration::MAX,
            seconds => Duration::from_secs(seconds.into()) / 2,
        };
        let Ok(parts) = timeout(pause, peer.outbox.take()).await else {
            if !line.borrow().is_heartless {
                peer.outbox.send(&AMQPFrame::Heartbeat);
            }
            continue;
        };
        for part in parts {
            let now = thawed(&mut line).await;
            match part {
                Part::Bytes(bytes) => match now.pace {
                    None => stream.write_all(&bytes).await?,
                    Some(pace) => slowly(&mut stream, &bytes, pace).await?,
                },
                Part::Stall => pending().await,
                Part::Linger => {
                    sleep(LONGEST_LINGER).await;
                    return Ok(());
                }
                Part::End => {
                    let _ = stream.shutdown().await;
                    sleep(LINGER).await; // or what the client still writes would make it a reset
                    return Ok(());
                }
            }
        }
    }
}

/// At this pace on the average, however late the machine's timers are.
async fn slowly<S: AsyncWrite>(stream: &mut WriteHalf<S>, bytes: &[u8], pace: Duration) -> io::Result<()> {
    let mut due = Instant::now();
    for octet in bytes {
        due += pace;
        sleep_until(due).await;
        stream.write_all(&[*octet]).await?;
    }
    Ok(())
}

/// Waits while nothing passes.
async fn thawed(line: &mut watch::Receiver<Line>) -> Line {
    line.wait_for(|line| !line.is_frozen)
        .await
        .map_or_else(|_| Line::default(), |line| *line)
}

fn is_publish(frame: &AMQPFrame) -> bool {
    matches!(
        frame,
        AMQPFrame::Method(_, AMQPClass::Basic(basic::AMQPMethod::Publish(_)))
    )
}

const READ_BYTES: usize = 64 * 1024;
/// How long a client that has said goodbye may stay.
const LONGEST_LINGER: Duration = Duration::from_secs(10);
const LINGER: Duration = Duration::from_millis(50);
