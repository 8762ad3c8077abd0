//! Threads and sockets: what was opened is closed. One test, since both are counted for the whole process.

use std::{fs, time::Duration};

use nameko_cachetools::Transport;
use nameko_cachetools_testkit::fault_proxy::{Cut, Flow};

use super::support::{self, Responder, echo, eventually, live, proxy, recovered, silent_port};
use crate::{IO_THREAD, Tested, tested::Backoff};

/// Proves: T15.
#[tokio::test]
async fn neither_thread_nor_socket_outlives_its_connection() {
    let uri = live!();
    let responder = Responder::start(&uri).await;
    let proxy = proxy(&uri).await;
    // What is made once for the whole process, such as async-compat's own runtime, is there from now on.
    Tested::connect(proxy.uri())
        .await
        .unwrap()
        .close(Duration::ZERO)
        .await;
    proxy.cut(Cut::Reset);
    let (threads, sockets) = settled().await;
    let back = || {
        let now = (io_threads(), open_sockets());
        let is_back = now.0 <= threads && now.1 <= sockets;
        if !is_back {
            println!("threads and sockets: {now:?}, before: {:?}", (threads, sockets)); // shown if the test fails
        }
        is_back
    };
    let (silent, port) = silent_port().await;

    for _ in 0..10 {
        let limit = Duration::from_millis(50);
        let connect = Tested::builder()
            .uri(format!("amqp://{silent}"))
            .connect_timeout(limit)
            .connect();
        connect.await.expect_err("nobody speaks there");
    }
    // The silent port holds its ends of the sockets; ours are gone if no thread is left and no more than those.
    eventually("abandoned attempts leave no thread", || io_threads() == threads).await;
    port.abort();
    eventually("abandoned attempts leave no socket", back).await;

    for half_open in [false, true] {
        let transport = Tested::connect(proxy.uri()).await.unwrap();
        echo(&transport, &responder.service, "x").await;
        assert_eq!(io_threads(), threads + 1);
        if half_open {
            proxy.to_broker(Flow::Stalled);
            proxy.to_client(Flow::Stalled);
        }
        transport.close(Duration::ZERO).await;
        proxy.heal();
        eventually("a closed transport leaves nothing", back).await;
    }

    let backoff = Backoff {
        first: Duration::from_millis(10),
        cap: Duration::from_millis(50),
        ..Backoff::default()
    };
    let builder = Tested::builder().uri(proxy.uri()).backoff(backoff);
    let transport = builder.connect().await.unwrap();
    for _ in 0..20 {
        proxy.cut(Cut::Reset);
        recovered(&transport, &responder.service).await;
    }
    eventually("lost connections leave nothing", || io_threads() == threads + 1).await;
    drop(transport);
    eventually("a dropped transport leaves nothing", back).await;
}

/// Threads and sockets, once they have been the same for a while.
async fn settled() -> (usize, usize) {
    let mut last = (0, 0);
    for _ in 0..50 {
        let now = (io_threads(), open_sockets());
        if now == last {
            break;
        }
        last = now;
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    last
}

/// There is one thread per connection.
fn io_threads() -> usize {
    let tasks = fs::read_dir("/proc/self/task").expect("Linux");
    let names = tasks.filter_map(|task| fs::read_to_string(task.ok()?.path().join("comm")).ok());
    names.filter(|name| name.trim() == IO_THREAD).count()
}

fn open_sockets() -> usize {
    let files = fs::read_dir("/proc/self/fd").expect("Linux");
    let targets = files.filter_map(|file| fs::read_link(file.ok()?.path()).ok());
    targets
        .filter(|target| target.to_string_lossy().starts_with("socket:"))
        .count()
}
