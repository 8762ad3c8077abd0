//! Frames to bytes and bytes to frames.

use amq_protocol::{
    frame::{AMQPContentHeader, AMQPFrame, gen_frame, parse_frame},
    protocol::{AMQPClass, basic},
    types::{ShortString, generation::BackToTheBuffer},
};
use bytes::{Buf, BytesMut};
use std::{cmp::Reverse, collections::BinaryHeap};

use super::message::Message;

/// The class of messages' content, and the only one.
pub(super) const BASIC: u16 = 60;
/// Type, channel and size before a frame's payload, and one octet behind it.
const OVERHEAD: usize = 8;
/// More levels of tables within tables are no frame.
const MOST_LEVELS: usize = 100;
/// Where a frame has its size.
pub(super) const SIZE: std::ops::Range<usize> = 3..7;
/// The octet behind each frame.
pub(super) const FRAME_END: u8 = 0xCE;

/// Why bytes are no frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Garbage {
    /// Not even AMQP's own protocol header.
    NoAmqp,
    /// Larger than was agreed.
    TooLarge,
    /// Neither type, end nor content is that of a frame.
    Malformed,
}

/// Takes the first frame off `buffer`, if it is there in full.
pub(super) fn decode(buffer: &mut BytesMut, frame_max: usize) -> Result<Option<AMQPFrame>, Garbage> {
    let Some(first) = buffer.first() else {
        return Ok(None);
    };
    let length = if *first == b'A' {
        OVERHEAD // the protocol header has eight octets, too
    } else if !matches!(first, 1..=3 | 8) {
        return Err(Garbage::NoAmqp);
    } else {
        let Some(size) = buffer.get(SIZE) else {
            return Ok(None);
        };
        OVERHEAD + size.iter().fold(0, |size, octet| size << 8 | usize::from(*octet))
    };
    // As RabbitMQ: what is agreed on is the payload, so that nobody fails who counted it without its frame.
    if length - OVERHEAD > frame_max {
        return Err(Garbage::TooLarge);
    }
    if buffer.len() < length {
        return Ok(None);
    }
    if levels(&buffer[..length]) > MOST_LEVELS {
        return Err(Garbage::Malformed);
    }
    match parse_frame(&buffer[..length]) {
        Ok((_, frame)) => {
            buffer.advance(length);
            Ok(Some(frame))
        }
        Err(_) if *first == b'A' => Err(Garbage::NoAmqp),
        Err(_) => Err(Garbage::Malformed),
    }
}

/// How deep tables and arrays are nested in a frame, or a bit less deep than this: who parses them recurses.
fn levels(frame: &[u8]) -> usize {
    let opens = |octet: &u8| matches!(octet, b'A' | b'F');
    if frame.iter().filter(|octet| opens(octet)).count() <= MOST_LEVELS {
        return 0;
    }
    let (mut ends, mut most) = (BinaryHeap::new(), 0);
    for (at, _) in frame.iter().enumerate().filter(|(_, octet)| opens(octet)) {
        while ends.peek().is_some_and(|Reverse(end)| *end <= at) {
            ends.pop();
        }
        let Some(size) = frame.get(at + 1..at + 5) else {
            break;
        };
        let end = at + 5 + size.iter().fold(0, |size, octet| size << 8 | usize::from(*octet));
        if end < frame.len() {
            ends.push(Reverse(end));
            most = most.max(ends.len());
        }
    }
    most
}

/// Writes one frame behind what is in `buffer`.
pub(super) fn encode(frame: &AMQPFrame, buffer: &mut Vec<u8>) {
    // It fails only on what no frame here holds: names of more than 255 octets.
    if let Ok(written) = gen_frame(frame)(std::mem::take(buffer).into()) {
        *buffer = written.write;
    }
}

/// A method with a message behind it, cut into frames of at most `frame_max` octets.
pub(super) fn with_content(
    channel: u16,
    method: basic::AMQPMethod,
    message: &Message,
    frame_max: usize,
) -> Vec<AMQPFrame> {
    let header = AMQPContentHeader {
        class_id: BASIC,
        body_size: message.body.len() as u64,
        properties: message.properties.clone(),
    };
    let mut frames = vec![
        AMQPFrame::Method(channel, AMQPClass::Basic(method)),
        AMQPFrame::Header(channel, header),
    ];
    let longest = frame_max.saturating_sub(OVERHEAD).max(1);
    frames.extend(
        message
            .body
            .chunks(longest)
            .map(|part| AMQPFrame::Body(channel, part.to_vec())),
    );
    frames
}

/// A frame whose [`UNREADABLE`] text is no UTF-8, which no string here can hold.
pub(super) fn garbled(frame: &AMQPFrame) -> Vec<u8> {
    let mut bytes = Vec::new();
    encode(frame, &mut bytes);
    let text = UNREADABLE.as_bytes();
    if let Some(at) = bytes.windows(text.len()).position(|window| window == text) {
        bytes[at..at + text.len()].fill(0xFF);
    }
    bytes
}

/// What [`garbled`] makes unreadable.
pub(super) const UNREADABLE: &str = "(no UTF-8)";

/// Text as a short string: what is longer than 255 octets is cut.
pub(super) fn short(text: &str) -> ShortString {
    let mut end = text.len().min(255);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    ShortString::try_new(&text[..end]).unwrap_or_default()
}

/// That `Vec` can be written into is what [`encode`] stands on.
const _: fn() = || {
    fn takes<W: BackToTheBuffer>() {}
    takes::<Vec<u8>>();
};

#[cfg(test)]
mod tests {
    use super::*;
    use amq_protocol::types::{AMQPValue, FieldTable};

    fn bytes(frame: &AMQPFrame) -> BytesMut {
        let mut bytes = Vec::new();
        encode(frame, &mut bytes);
        BytesMut::from(&bytes[..])
    }

    #[test]
    fn frames_come_back_however_they_are_cut() {
        let frames = [AMQPFrame::Heartbeat, AMQPFrame::Body(7, b"abc".to_vec())];
        let all: Vec<u8> = frames.iter().flat_map(|frame| bytes(frame).to_vec()).collect();
        let (mut buffer, mut read) = (BytesMut::new(), Vec::new());
        for byte in all {
            buffer.extend_from_slice(&[byte]);
            read.extend(decode(&mut buffer, 4096).unwrap());
        }
        assert_eq!(read, frames);
    }

    /// Each level costs a parser stack, and there is room for 26,000 in a frame.
    #[test]
    fn tables_within_tables_are_no_frame() {
        let header = |levels: usize| {
            let array = (0..levels).fold(AMQPValue::Void, |inner, _| {
                AMQPValue::FieldArray(vec![inner].into())
            });
            let mut headers = FieldTable::default();
            headers.insert("h".into(), array);
            headers.insert(
                "text".into(),
                AMQPValue::LongString("A FIFA FAQ".repeat(100).into()),
            );
            let siblings = vec![AMQPValue::FieldArray(vec![AMQPValue::Void].into()); 1000];
            headers.insert("siblings".into(), AMQPValue::FieldArray(siblings.into()));
            bytes(&AMQPFrame::Header(
                1,
                AMQPContentHeader {
                    class_id: BASIC,
                    body_size: 0,
                    properties: basic::AMQPProperties::default().with_headers(headers),
                },
            ))
        };
        assert!(matches!(
            decode(&mut header(90), 131_072),
            Ok(Some(AMQPFrame::Header(..)))
        ));
        assert_eq!(decode(&mut header(110), 131_072), Err(Garbage::Malformed));
    }

    #[test]
    fn what_is_no_frame_is_told_apart() {
        let decoded = |bytes: &[u8]| decode(&mut BytesMut::from(bytes), 4096);
        assert_eq!(decoded(b"GET / HTTP/1.1\r\n"), Err(Garbage::NoAmqp));
        assert_eq!(decoded(b"AMQP\x01\x01\x00\x0a"), Err(Garbage::NoAmqp));
        assert_eq!(decoded(&[1, 0, 0, 0xFF, 0, 0, 0]), Err(Garbage::TooLarge));
        let mut broken = bytes(&AMQPFrame::Heartbeat);
        broken[7] = 0;
        assert_eq!(decoded(&broken), Err(Garbage::Malformed));
        assert_eq!(
            decoded(b"AMQP\x00\x00\x09\x01")
                .unwrap()
                .map(|frame| frame.channel_id()),
            Some(0)
        );
    }
}
