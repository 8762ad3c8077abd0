//! A guard against the commonest mistake in tests: real sockets under tokio's paused clock.

/// Whether tokio's clock stands still (`start_paused`, `tokio::time::pause`).
///
/// Then every timeout fires as soon as all tasks wait, and a socket never gets the time to answer. A paused clock
/// shows by not moving while the real one does. The check lasts until the real clock has moved by its smallest step:
/// well below a microsecond on Linux.
#[allow(
    clippy::disallowed_methods,
    reason = "compares tokio's clock with the real one"
)]
pub fn clock_is_paused() -> bool {
    let (paused, real) = (tokio::time::Instant::now(), std::time::Instant::now());
    while real == std::time::Instant::now() {
        std::hint::spin_loop();
    }
    paused == tokio::time::Instant::now()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_paused_clock_is_noticed() {
        assert!(clock_is_paused());
        tokio::time::sleep(std::time::Duration::from_secs(1)).await;
        assert!(clock_is_paused());
        tokio::time::resume();
        assert!(!clock_is_paused());
    }

    #[tokio::test]
    async fn a_running_clock_is_not() {
        assert!((0..1000).all(|_| !clock_is_paused()));
    }
}
