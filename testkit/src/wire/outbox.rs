//! What is to be written to one connection, and what is wrong with it.

use std::{
    collections::VecDeque,
    mem,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use amq_protocol::frame::AMQPFrame;
use tokio::sync::Notify;

use super::{
    Damage,
    frames::{self, FRAME_END, SIZE},
    transcript,
};

/// The frames that wait for a connection's socket.
#[derive(Debug)]
pub(super) struct Outbox {
    parts: Mutex<VecDeque<Part>>,
    told: Notify,
    /// Told when more waits than may.
    flooded: Notify,
    most: usize,
    damages: Arc<Damages>,
}

/// For a client that doesn't read: twice the longest message.
const MOST_OCTETS: usize = 256 << 20;

/// One thing for the writer to do.
#[derive(Debug)]
pub(super) enum Part {
    Bytes(Vec<u8>),
    /// Write nothing more.
    Stall,
    /// The connection ends, in good order.
    End,
    /// It ends when the client ends it.
    Linger,
}

impl Outbox {
    pub(super) fn new(damages: Arc<Damages>) -> Self {
        Self {
            parts: Mutex::default(),
            told: Notify::new(),
            flooded: Notify::new(),
            most: MOST_OCTETS,
            damages,
        }
    }

    pub(super) fn send(&self, frame: &AMQPFrame) {
        match self.damages.next(frame) {
            None => self.append(|bytes| frames::encode(frame, bytes)),
            Some(damage) => {
                let mut bytes = Vec::new();
                frames::encode(frame, &mut bytes);
                let stalls = damage.apply(&mut bytes);
                self.append(|all| all.extend_from_slice(&bytes));
                if stalls {
                    self.push(Part::Stall);
                }
            }
        }
    }

    /// Bytes that need not be a frame.
    pub(super) fn raw(&self, bytes: &[u8]) {
        self.append(|all| all.extend_from_slice(bytes));
    }

    pub(super) fn push(&self, part: Part) {
        self.lock().push_back(part);
        self.told.notify_one();
    }

    /// All there is, as soon as there is something.
    pub(super) async fn take(&self) -> VecDeque<Part> {
        loop {
            let parts = mem::take(&mut *self.lock());
            if !parts.is_empty() {
                return parts;
            }
            self.told.notified().await;
        }
    }

    /// Waits until there is more than may wait.
    pub(super) async fn flooded(&self) {
        self.flooded.notified().await;
    }

    fn append(&self, write: impl FnOnce(&mut Vec<u8>)) {
        let mut parts = self.lock();
        match parts.back_mut() {
            Some(Part::Bytes(bytes)) if bytes.len() >= self.most => return self.flooded.notify_one(),
            Some(Part::Bytes(bytes)) => write(bytes),
            _ => {
                let mut bytes = Vec::new();
                write(&mut bytes);
                parts.push_back(Part::Bytes(bytes));
            }
        }
        drop(parts);
        self.told.notify_one();
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<Part>> {
        self.parts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Which frames are to be broken, over all connections.
#[derive(Debug, Default)]
pub(super) struct Damages {
    /// Spares the lock in the usual case.
    any: AtomicBool,
    waiting: Mutex<VecDeque<(String, Damage)>>,
}

impl Damages {
    /// The next frame of this name is broken.
    pub(super) fn add(&self, name: &str, damage: Damage) {
        self.lock().push_back((name.to_owned(), damage));
        self.any.store(true, Ordering::Release);
    }

    fn next(&self, frame: &AMQPFrame) -> Option<Damage> {
        if !self.any.load(Ordering::Acquire) {
            return None;
        }
        let (name, mut waiting) = (transcript::name(frame), self.lock());
        let at = waiting.iter().position(|(wanted, _)| *wanted == name)?;
        let (_, damage) = waiting.remove(at)?;
        self.any.store(!waiting.is_empty(), Ordering::Release);
        Some(damage)
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<(String, Damage)>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Damage {
    /// Breaks a frame's bytes, and says whether nothing may follow them.
    fn apply(self, bytes: &mut Vec<u8>) -> bool {
        let stalls = matches!(self, Self::Truncated(_));
        match self {
            Self::Truncated(length) => bytes.truncate(length),
            Self::WrongEnd => {
                if let Some(last) = bytes.last_mut() {
                    *last = !FRAME_END;
                }
            }
            Self::UnknownType => {
                if let Some(first) = bytes.first_mut() {
                    *first = 0x7F;
                }
            }
            Self::Length(length) => {
                if let Some(size) = bytes.get_mut(SIZE) {
                    size.copy_from_slice(&length.to_be_bytes());
                }
            }
            Self::Lost => bytes.clear(),
            Self::Replaced(with) => *bytes = with,
        }
        stalls
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_waits_for_a_client_that_does_not_read_is_bounded() {
        let outbox = Outbox {
            most: 1000,
            ..Outbox::new(Arc::default())
        };
        for _ in 0..100 {
            outbox.send(&AMQPFrame::Body(1, vec![0; 100]));
        }
        outbox.flooded().await;
        let mut waiting = outbox.take().await;
        let Some(Part::Bytes(bytes)) = waiting.pop_front() else {
            panic!("nothing waits")
        };
        assert!((1000..1200).contains(&bytes.len()), "{}", bytes.len());
        assert!(waiting.is_empty());
    }
}
