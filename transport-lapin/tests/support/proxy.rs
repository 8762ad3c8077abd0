//! A TCP proxy that breaks what runs through it.

use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::watch,
    task::JoinHandle,
};

/// What happens to the bytes of all connections, old and new.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Line {
    /// They pass.
    Up,
    /// Nothing passes in either direction, nobody is told: a half-open connection.
    Stalled,
    /// What the broker says is swallowed.
    Deaf,
}

pub struct Proxy {
    pub uri: String,
    line: watch::Sender<Line>,
    refusing: Arc<AtomicBool>,
    pub accepted: Arc<AtomicUsize>,
    open: Arc<Mutex<Vec<JoinHandle<()>>>>,
    listener: JoinHandle<()>,
}

impl Proxy {
    pub async fn start(broker: &str) -> Self {
        let address = nameko_cachetools_lapin::Address::parse(broker)
            .expect("URI")
            .remove(0);
        let upstream = format!("{}:{}", address.host, address.port);
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let local: SocketAddr = listener.local_addr().expect("address");
        let line = watch::Sender::new(Line::Up);
        let (refusing, accepted) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let open = Arc::new(Mutex::new(Vec::new()));
        let task = {
            let (line, refusing, accepted, open) =
                (line.clone(), refusing.clone(), accepted.clone(), open.clone());
            tokio::spawn(async move {
                while let Ok((client, _)) = listener.accept().await {
                    accepted.fetch_add(1, Ordering::SeqCst);
                    if refusing.load(Ordering::SeqCst) {
                        continue;
                    }
                    let (upstream, line) = (upstream.clone(), line.subscribe());
                    open.lock().unwrap().push(tokio::spawn(async move {
                        let Ok(broker) = TcpStream::connect(upstream).await else {
                            return;
                        };
                        carry(client, broker, line).await;
                    }));
                }
            })
        };
        let vhost = address.vhost.replace('/', "%2f");
        Self {
            uri: format!("amqp://{}:{}@{local}/{vhost}", address.user, address.password),
            line,
            refusing,
            accepted,
            open,
            listener: task,
        }
    }

    pub fn set(&self, line: Line) {
        self.line.send_replace(line);
    }

    /// Whether new connections are closed at once.
    pub fn refuse(&self, refuse: bool) {
        self.refusing.store(refuse, Ordering::SeqCst);
    }

    /// Ends every connection: the client sees a reset, since zero linger is set on each.
    pub fn cut(&self) {
        for connection in self.open.lock().unwrap().drain(..) {
            connection.abort();
        }
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.listener.abort();
        self.cut();
    }
}

async fn carry(client: TcpStream, broker: TcpStream, line: watch::Receiver<Line>) {
    client.set_zero_linger().expect("linger");
    client.set_nodelay(true).expect("nodelay");
    broker.set_nodelay(true).expect("nodelay");
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_broker, mut to_broker) = broker.into_split();
    let up = pump(
        &mut from_client,
        &mut to_broker,
        line.clone(),
        |line| line == Line::Stalled,
        false,
    );
    let down = pump(
        &mut from_broker,
        &mut to_client,
        line,
        |line| line == Line::Stalled,
        true,
    );
    tokio::select! { () = up => {}, () = down => {} }
}

async fn pump(
    from: &mut tokio::net::tcp::OwnedReadHalf,
    to: &mut tokio::net::tcp::OwnedWriteHalf,
    mut line: watch::Receiver<Line>,
    stalled: fn(Line) -> bool,
    downward: bool,
) {
    let mut buffer = vec![0; 64 * 1024];
    loop {
        if line.wait_for(|line| !stalled(*line)).await.is_err() {
            return;
        }
        let read = tokio::select! {
            read = from.read(&mut buffer) => read,
            _ = line.changed() => continue,
        };
        let Ok(bytes @ 1..) = read else { return };
        if *line.borrow() == Line::Deaf && downward {
            continue;
        }
        if to.write_all(&buffer[..bytes]).await.is_err() {
            return;
        }
    }
}

/// A port that accepts and never says a word.
pub async fn silent_port() -> (SocketAddr, JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("address");
    let task = tokio::spawn(async move {
        let mut held = Vec::new();
        while let Ok((connection, _)) = listener.accept().await {
            held.push(connection);
        }
        tokio::time::sleep(Duration::from_secs(60)).await;
    });
    (address, task)
}
