//! One connection through the proxy: two pumps, and orders from outside.

use std::{io, sync::atomic::Ordering, time::Duration};

use bytes::{Bytes, BytesMut};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::TcpStream,
    sync::{mpsc, watch},
    time::{sleep, timeout},
};

use super::{
    Cut, Flow, Shared,
    frame::{Piece, Splitter},
    lock,
};

pub(super) enum Order {
    Cut(Cut),
    Inject(Bytes),
}

/// Until both sides have ended, one has failed, or it is cut.
pub(super) async fn carry(
    mut client: TcpStream,
    mut broker: TcpStream,
    mut orders: mpsc::UnboundedReceiver<Order>,
    shared: &Shared,
) {
    for side in [&client, &broker] {
        let _ = side.set_nodelay(true); // fails only on a dead connection
    }
    let (inject, injected) = mpsc::unbounded_channel();
    let cut = {
        let (from_client, to_client) = client.split();
        let (from_broker, to_broker) = broker.split();
        let up = Pump::new(from_client, to_broker, shared.to_broker.subscribe());
        let down = Pump::new(from_broker, to_client, shared.to_client.subscribe());
        let pumps = async { tokio::try_join!(up.pass_bytes(shared), down.pass_frames(shared, injected)) };
        tokio::select! {
            ended = pumps => if ended.is_ok() { Cut::Fin } else { Cut::Reset },
            cut = async {
                loop {
                    match orders.recv().await {
                        Some(Order::Inject(bytes)) => { let _ = inject.send(bytes); }
                        Some(Order::Cut(cut)) => return cut,
                        None => return Cut::Reset, // the proxy is gone
                    }
                }
            } => cut,
        }
    };
    match cut {
        // Closed with zero linger, a socket sends RST; on a dead one it can't be set, nor has to be.
        Cut::Reset => [&client, &broker].map(|side| drop(side.set_zero_linger())),
        Cut::Fin => tokio::join!(end(&mut client), end(&mut broker)).into(),
    };
}

/// A FIN, which unread bytes would turn into a reset.
async fn end(side: &mut TcpStream) {
    let _ = side.shutdown().await;
    let mut rest = [0; 4096];
    let drained = async { while matches!(side.read(&mut rest).await, Ok(1..)) {} };
    let _ = timeout(FIN_LIMIT, drained).await;
}

/// One direction. Who it reads from, it hears of; that the other side is gone, it doesn't: the pump that reads from
/// there does, or its news are lost.
struct Pump<R, W> {
    from: R,
    to: W,
    flow: watch::Receiver<Flow>,
    /// Bytes were lost: whatever the flow is now, nothing passes any more.
    dead: bool,
}

impl<R: AsyncRead + Unpin, W: AsyncWrite + Unpin> Pump<R, W> {
    fn new(from: R, to: W, flow: watch::Receiver<Flow>) -> Self {
        Self {
            from,
            to,
            flow,
            dead: false,
        }
    }

    async fn pass_bytes(mut self, shared: &Shared) -> io::Result<()> {
        let mut inbox = BytesMut::new();
        while self.read(&mut inbox).await? > 0 {
            let bytes = inbox.split();
            if self.deliver(&bytes).await {
                shared
                    .bytes_to_broker
                    .fetch_add(bytes.len() as u64, Ordering::SeqCst);
            }
        }
        self.finish().await
    }

    async fn pass_frames(
        mut self,
        shared: &Shared,
        mut injected: mpsc::UnboundedReceiver<Bytes>,
    ) -> io::Result<()> {
        let mut splitter = Splitter::default();
        loop {
            let read = tokio::select! {
                read = self.read(&mut splitter.inbox) => read?,
                Some(bytes) = injected.recv() => {
                    self.deliver(&bytes).await;
                    continue;
                }
            };
            if read == 0 {
                return self.finish().await;
            }
            let mut outbox = BytesMut::new();
            while let Some(piece) = splitter.next() {
                match piece {
                    Piece::Bytes(bytes) => outbox.extend_from_slice(&bytes),
                    Piece::Frame(frame) => {
                        let frames = match &mut *lock(&shared.rewrite) {
                            Some(rewrite) => rewrite(frame),
                            None => vec![frame],
                        };
                        frames
                            .iter()
                            .for_each(|frame| outbox.extend_from_slice(&frame.to_bytes()));
                    }
                }
            }
            self.deliver(&outbox).await;
        }
    }

    /// Reads when the flow isn't stalled; 0 at the end of the connection.
    async fn read(&mut self, inbox: &mut BytesMut) -> io::Result<usize> {
        self.unstalled().await;
        inbox.reserve(CHUNK);
        let read = self.from.read_buf(inbox).await;
        if !matches!(read, Ok(1..)) && (self.unstalled().await == Flow::Lost || self.dead) {
            return std::future::pending().await; // a lost end is never heard of
        }
        read
    }

    /// Whether they were passed on. If the other side is gone, that says nothing of the end of this one.
    async fn deliver(&mut self, bytes: &[u8]) -> bool {
        let flow = self.unstalled().await;
        if bytes.is_empty() {
            return true;
        }
        self.dead |= flow == Flow::Lost;
        if self.dead {
            return false;
        }
        let written = async {
            match flow {
                Flow::Late(by) => {
                    sleep(by).await;
                    self.to.write_all(bytes).await
                }
                Flow::Slow { bytes: size, every } => {
                    for piece in bytes.chunks(size.max(1)) {
                        self.to.write_all(piece).await?;
                        sleep(every).await;
                    }
                    Ok(())
                }
                Flow::Open | Flow::Stalled | Flow::Lost => self.to.write_all(bytes).await,
            }
        };
        written.await.is_ok()
    }

    async fn finish(&mut self) -> io::Result<()> {
        let _ = self.to.shutdown().await; // fails if the other side has ended, too
        Ok(())
    }

    async fn unstalled(&mut self) -> Flow {
        match self.flow.wait_for(|flow| *flow != Flow::Stalled).await {
            Ok(flow) => *flow,
            Err(_) => Flow::Open, // the proxy is gone, and this connection soon
        }
    }
}

const CHUNK: usize = 64 * 1024;
const FIN_LIMIT: Duration = Duration::from_secs(1);
