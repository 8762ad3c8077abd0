//! Faults that last as long as their guard, and what they do to the broker.

use std::{fmt, sync::Arc, time::Duration};

use amq_protocol::protocol::connection;

use super::shared::{Line, Shared};

/// A fault of a [`WireBroker`](super::WireBroker). It ends when this guard is dropped, or by [`end`](Self::end).
///
/// Of faults that exclude each other, the youngest counts.
#[must_use = "the fault ends when this guard is dropped"]
pub struct WireFault {
    shared: Arc<Shared>,
    number: u64,
}

impl WireFault {
    pub(super) fn begin(shared: &Arc<Shared>, fault: Fault) -> Self {
        let mut vhost = shared.lock();
        shared.hub.lock().log.of_broker(format!("wire: {fault}"));
        let number = vhost.faults.begin(fault);
        shared.line.send_replace(vhost.faults.line());
        drop(vhost);
        Self {
            shared: Arc::clone(shared),
            number,
        }
    }

    /// Ends the fault. The same as dropping the guard, for tests that want to say it.
    pub fn end(self) {}
}

impl Drop for WireFault {
    fn drop(&mut self) {
        let mut vhost = self.shared.lock();
        if let Some(fault) = vhost.faults.end(self.number) {
            self.shared
                .hub
                .lock()
                .log
                .of_broker(format!("wire: {fault} no more"));
        }
        self.shared.line.send_replace(vhost.faults.line());
    }
}

impl fmt::Debug for WireFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "WireFault({})", self.number)
    }
}

/// What a broker proposes when a client connects. The default is RabbitMQ's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Tune {
    /// Most channels of a connection; 0 for no limit. RabbitMQ's: 2047.
    pub channel_max: u16,
    /// Longest frame in octets; 0 for no limit. RabbitMQ's: 131,072.
    pub frame_max: u32,
    /// Seconds between heartbeats; 0 for none. RabbitMQ's: 60.
    pub heartbeat: u16,
}

impl Default for Tune {
    fn default() -> Self {
        let (channel_max, frame_max, heartbeat) = (2047, 131_072, 60);
        Self {
            channel_max,
            frame_max,
            heartbeat,
        }
    }
}

impl Tune {
    /// Whether RabbitMQ would agree to what a client makes of it: no more, and frames not too short.
    pub(super) fn allows(self, ok: &connection::TuneOk) -> bool {
        let within = |asked: u32, most: u32| most == 0 || (1..=most).contains(&asked);
        let least = LEAST_FRAME_MAX.min(self.frame_max);
        within(ok.channel_max.into(), self.channel_max.into())
            && within(ok.frame_max, self.frame_max)
            && (ok.frame_max == 0 || ok.frame_max >= least)
    }
}

impl From<Tune> for connection::Tune {
    fn from(tune: Tune) -> Self {
        Self {
            channel_max: tune.channel_max,
            frame_max: tune.frame_max,
            heartbeat: tune.heartbeat,
        }
    }
}

/// AMQP's own.
const LEAST_FRAME_MAX: u32 = 4096;

/// What is wrong.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Fault {
    HalfOpen,
    Slow(Duration),
    NoHeartbeats,
    SilentHandshake,
    RefusedLogins,
    RefusedVhosts,
    Tuned(Tune),
    Confirms(Confirming),
    Returns,
}

/// How published messages are confirmed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Confirming {
    AtOnce,
    Refused,
    Never,
    Late(Duration),
    /// So many at once.
    Batches(usize),
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::HalfOpen => f.write_str("half-open"),
            Self::Slow(pace) => write!(f, "{pace:?} for each octet"),
            Self::NoHeartbeats => f.write_str("no heartbeats"),
            Self::SilentHandshake => f.write_str("silent to new connections"),
            Self::RefusedLogins => f.write_str("logins refused"),
            Self::RefusedVhosts => f.write_str("vhosts refused"),
            Self::Tuned(tune) => write!(f, "{tune:?}"),
            Self::Confirms(how) => write!(f, "confirms {how:?}"),
            Self::Returns => f.write_str("everything returned"),
        }
    }
}

/// The faults of the moment.
#[derive(Debug, Default)]
pub(super) struct Faults {
    active: Vec<(u64, Fault)>,
    begun: u64,
}

impl Faults {
    fn begin(&mut self, fault: Fault) -> u64 {
        self.begun += 1;
        self.active.push((self.begun, fault));
        self.begun
    }

    fn end(&mut self, number: u64) -> Option<Fault> {
        let at = self.active.iter().position(|(own, _)| *own == number)?;
        Some(self.active.remove(at).1)
    }

    pub(super) fn handshake_is_silent(&self) -> bool {
        self.has(Fault::SilentHandshake)
    }

    pub(super) fn refuses_logins(&self) -> bool {
        self.has(Fault::RefusedLogins)
    }

    pub(super) fn refuses_vhosts(&self) -> bool {
        self.has(Fault::RefusedVhosts)
    }

    pub(super) fn returns_all(&self) -> bool {
        self.has(Fault::Returns)
    }

    pub(super) fn tune(&self) -> Tune {
        let tune = self.youngest(|fault| match fault {
            Fault::Tuned(tune) => Some(tune),
            _ => None,
        });
        tune.unwrap_or_default()
    }

    pub(super) fn confirming(&self) -> Confirming {
        let how = self.youngest(|fault| match fault {
            Fault::Confirms(how) => Some(how),
            _ => None,
        });
        how.unwrap_or(Confirming::AtOnce)
    }

    fn line(&self) -> Line {
        Line {
            is_frozen: self.has(Fault::HalfOpen),
            pace: self.youngest(|fault| match fault {
                Fault::Slow(pace) => Some(pace),
                _ => None,
            }),
            is_heartless: self.has(Fault::NoHeartbeats),
        }
    }

    fn has(&self, fault: Fault) -> bool {
        self.active.iter().any(|(_, own)| *own == fault)
    }

    fn youngest<T>(&self, of: impl Fn(Fault) -> Option<T>) -> Option<T> {
        self.active.iter().rev().find_map(|(_, fault)| of(*fault))
    }
}
