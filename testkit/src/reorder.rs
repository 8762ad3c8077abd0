//! Replies that overtake each other.

use std::{mem::take, sync::Arc, time::Duration};

use tokio::{runtime::Handle, sync::oneshot, time::sleep};

use crate::{hub::Hub, latency::Dice};

/// The replies that are ready, and wait for the end of their window.
#[derive(Debug)]
pub(crate) struct Turns {
    ready: Vec<oneshot::Sender<()>>,
    dice: Dice,
}

impl Turns {
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            ready: Vec::new(),
            dice: Dice::new(seed, STREAM),
        }
    }

    /// Those of a window that is over, whose callers still wait, in their new order.
    fn shuffled(&mut self) -> Vec<oneshot::Sender<()>> {
        let mut batch = take(&mut self.ready);
        batch.retain(|turn| !turn.is_closed());
        let order = self.dice.order(batch.len());
        let mut batch: Vec<_> = batch.into_iter().map(Some).collect();
        order.into_iter().filter_map(|i| batch[i].take()).collect()
    }
}

impl Hub {
    /// Ends when a reply that is ready may come: at once, unless replies are reordered.
    pub(crate) async fn turn(self: &Arc<Self>) {
        let mine = {
            let mut state = self.lock();
            let (Some(window), Ok(runtime)) = (state.outages.reordering(), Handle::try_current()) else {
                return;
            };
            let (turn, mine) = oneshot::channel();
            state.turns.ready.push(turn);
            if state.turns.ready.len() == 1 {
                let hub = Arc::clone(self);
                drop(runtime.spawn(async move {
                    sleep(window).await;
                    let turns = hub.lock().turns.shuffled();
                    for turn in turns {
                        // An error means that the caller left meanwhile.
                        let _ = turn.send(());
                        sleep(BETWEEN).await;
                    }
                }));
            }
            mine
        };
        // An error means that the runtime ends.
        let _ = mine.await;
    }
}

/// The stream of chance that orders are drawn from; no rule's.
const STREAM: u64 = u64::MAX;
/// So that the order can be seen even by callers that one task polls.
const BETWEEN: Duration = Duration::from_millis(1);
