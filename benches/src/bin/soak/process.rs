//! What this process holds: memory, threads, file descriptors. Linux only; elsewhere all is 0.

use std::{fs, time::Duration};

use tokio::time::sleep;

/// Resident memory.
pub(crate) fn rss_kib() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with("VmRSS:"));
    let kib = line.and_then(|line| line.split_whitespace().nth(1));
    kib.and_then(|kib| kib.parse().ok()).unwrap_or(0)
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Held {
    threads: usize,
    files: usize,
}

fn held() -> Held {
    let entries = |path| fs::read_dir(path).map_or(0, Iterator::count);
    Held {
        threads: entries("/proc/self/task"),
        files: entries("/proc/self/fd"),
    }
}

/// What is held once it has not changed for a second.
pub(crate) async fn settled() -> Held {
    let mut last = held();
    loop {
        sleep(Duration::from_secs(1)).await;
        let now = held();
        if now == last {
            return now;
        }
        last = now;
    }
}

/// How much more is held than `before`, after ten seconds at the most.
pub(crate) async fn excess(before: &Held) -> usize {
    let excess = || {
        let now = held();
        now.threads.saturating_sub(before.threads) + now.files.saturating_sub(before.files)
    };
    for _ in 0..100 {
        if excess() == 0 {
            break;
        }
        sleep(Duration::from_millis(100)).await;
    }
    excess()
}
