//! AMQP frames, known by their headers (AMQP 0-9-1, section 4.2.3): as much of the protocol as it takes to drop,
//! change and insert some.

use bytes::{Buf, BufMut, Bytes, BytesMut};

/// A frame: its header and its payload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// 1 method, 2 content header, 3 body, 8 heartbeat.
    pub kind: u8,
    /// 0 is the connection's own.
    pub channel: u16,
    /// A method's begins with the ids of its class and itself, 16 bits each.
    pub payload: Bytes,
}

impl Frame {
    /// A method frame: `arguments` are what follows the two ids, encoded.
    pub fn of_method(channel: u16, (class, method): (u16, u16), arguments: &[u8]) -> Self {
        let mut payload = BytesMut::with_capacity(4 + arguments.len());
        payload.put_u16(class);
        payload.put_u16(method);
        payload.put_slice(arguments);
        Self {
            kind: METHOD,
            channel,
            payload: payload.freeze(),
        }
    }

    /// The ids of class and method, if it is a method frame: `(60, 80)` is `basic.ack`.
    pub fn method(&self) -> Option<(u16, u16)> {
        let mut payload = &self.payload[..];
        (self.kind == METHOD && payload.len() >= 4).then(|| (payload.get_u16(), payload.get_u16()))
    }

    /// A method's arguments, encoded; of other frames, nothing.
    pub fn arguments(&self) -> &[u8] {
        self.method().map_or(&[], |_| &self.payload[4..])
    }

    /// As it is on the wire.
    pub fn to_bytes(&self) -> Bytes {
        let mut bytes = BytesMut::with_capacity(HEADER + self.payload.len() + 1);
        bytes.put_u8(self.kind);
        bytes.put_u16(self.channel);
        bytes.put_u32(u32::try_from(self.payload.len()).unwrap_or(u32::MAX));
        bytes.put_slice(&self.payload);
        bytes.put_u8(END);
        bytes.freeze()
    }
}

/// Bytes as they come, cut into frames.
#[derive(Default)]
pub(super) struct Splitter {
    pub(super) inbox: BytesMut,
    /// Something else than AMQP runs here.
    unframed: bool,
}

pub(super) enum Piece {
    Frame(Frame),
    Bytes(Bytes),
}

impl Splitter {
    /// The next frame that is complete.
    pub(super) fn next(&mut self) -> Option<Piece> {
        let first = *self.inbox.first()?;
        if self.unframed || !KINDS.contains(&first) {
            self.unframed = true;
            return Some(Piece::Bytes(self.inbox.split().freeze()));
        }
        let mut header = self.inbox.get(..HEADER)?;
        let (kind, channel, size) = (header.get_u8(), header.get_u16(), header.get_u32() as usize);
        if self.inbox.len() < HEADER + size + 1 {
            return None;
        }
        let mut frame = self.inbox.split_to(HEADER + size + 1);
        frame.advance(HEADER);
        Some(Piece::Frame(Frame {
            kind,
            channel,
            payload: frame.split_to(size).freeze(),
        }))
    }
}

const METHOD: u8 = 1;
const KINDS: [u8; 4] = [METHOD, 2, 3, 8];
const HEADER: usize = 7;
const END: u8 = 0xCE;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_survive_any_cutting() {
        let frames = [
            Frame::of_method(1, (60, 80), &[0, 0, 0, 0, 0, 0, 0, 7, 1]),
            Frame {
                kind: 8,
                channel: 0,
                payload: Bytes::new(),
            },
            Frame {
                kind: 3,
                channel: 2,
                payload: Bytes::from(vec![END; 300]),
            },
        ];
        assert_eq!((frames[0].method(), frames[1].method()), (Some((60, 80)), None));
        let wire: Vec<u8> = frames.iter().flat_map(Frame::to_bytes).collect();
        for size in [1, 2, 7, 8, 100, wire.len()] {
            let (mut splitter, mut seen) = (Splitter::default(), Vec::new());
            for chunk in wire.chunks(size) {
                splitter.inbox.extend_from_slice(chunk);
                while let Some(piece) = splitter.next() {
                    match piece {
                        Piece::Frame(frame) => seen.push(frame),
                        Piece::Bytes(bytes) => panic!("{bytes:?} is framed"),
                    }
                }
            }
            assert_eq!(seen, frames, "in pieces of {size}");
        }
    }

    #[test]
    fn what_is_not_amqp_passes_as_it_is() {
        let mut splitter = Splitter::default();
        for bytes in [&b"\x16\x03\x01 a TLS record"[..], b"\x01 and on"] {
            splitter.inbox.extend_from_slice(bytes);
            assert!(matches!(splitter.next(), Some(Piece::Bytes(passed)) if passed == bytes));
        }
    }
}
