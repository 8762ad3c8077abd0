//! A client that costs next to nothing: its requests are written in advance, and of what comes back it only counts.

use std::{
    io::{self, Read, Write},
    net::{SocketAddr, TcpStream},
};

use crate::BODY;

/// A connection with one channel, that confirms, and a queue for replies.
pub(crate) struct Client {
    stream: TcpStream,
    request: Vec<u8>,
    buffer: Vec<u8>,
    /// Where in the buffer the next frame begins.
    read: usize,
    replies: u64,
    confirmed: u64,
}

impl Client {
    pub(crate) fn connect(address: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        let (request, buffer) = (request(), Vec::new());
        let mut client = Self {
            stream,
            request,
            buffer,
            read: 0,
            replies: 0,
            confirmed: 0,
        };
        client.stream.write_all(b"AMQP\x00\x00\x09\x01")?;
        client.hear((10, 10))?;
        client.say(0, (10, 11), |it| {
            it.table().short("PLAIN").long("\0guest\0guest").short("en_US")
        })?;
        client.hear((10, 30))?;
        client.say(0, (10, 31), |it| it.raw(&[0x07, 0xFF, 0, 2, 0, 0, 0, 0]))?; // no heartbeats
        client.say(0, (10, 40), |it| it.short("/").short("").raw(&[0]))?;
        client.hear((10, 41))?;
        client.say(1, (20, 10), |it| it.short(""))?;
        client.hear((20, 11))?;
        client.say(1, (85, 10), |it| it.raw(&[0]))?;
        client.hear((85, 11))?;
        client.say(1, (50, 10), |it| {
            it.raw(&[0, 0]).short("replies").raw(&[EXCLUSIVE]).table()
        })?;
        client.hear((50, 11))?;
        client.say(1, (50, 20), |it| {
            it.raw(&[0, 0])
                .short("replies")
                .short("nameko-rpc")
                .short("me")
                .raw(&[0])
                .table()
        })?;
        client.hear((50, 21))?;
        client.say(1, (60, 20), |it| {
            it.raw(&[0, 0]).short("replies").short("c").raw(&[NO_ACK]).table()
        })?;
        client.hear((60, 21))?;
        Ok(client)
    }

    /// So many calls, a few hundred of them at once; until the last is confirmed and answered.
    pub(crate) fn calls(&mut self, count: u64) -> io::Result<()> {
        let (end, mut sent) = (self.replies + count, self.replies);
        let mut out = Vec::new();
        while self.replies < end || self.confirmed < end {
            out.clear();
            while sent < end && sent - self.replies.min(self.confirmed) < AT_ONCE {
                out.extend_from_slice(&self.request);
                sent += 1;
            }
            self.stream.write_all(&out)?;
            self.next()?;
            while self.whole().is_some() {
                self.next()?;
            }
        }
        Ok(())
    }

    fn say(&mut self, channel: u8, ids: (u16, u16), write: impl FnOnce(Octets) -> Octets) -> io::Result<()> {
        self.stream.write_all(&method(channel, ids, write))
    }

    /// Reads up to this method.
    fn hear(&mut self, method: (u16, u16)) -> io::Result<()> {
        while self.next()? != method {}
        Ok(())
    }

    /// The class and method of the next frame, counted; 0 if it is content.
    fn next(&mut self) -> io::Result<(u16, u16)> {
        let length = loop {
            if let Some(length) = self.whole() {
                break length;
            }
            self.buffer.drain(..self.read);
            self.read = 0;
            let mut part = [0; 64 * 1024];
            let count = self.stream.read(&mut part)?;
            if count == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            self.buffer.extend_from_slice(&part[..count]);
        };
        let frame = &self.buffer[self.read..self.read + length];
        self.read += length;
        if frame[0] != 1 {
            return Ok((0, 0));
        }
        let short = |at: usize| u16::from_be_bytes([frame[at], frame[at + 1]]);
        let ids = (short(7), short(9));
        match ids {
            (60, 60) => self.replies += 1,
            (60, 80) => {
                let tag = frame[11..19]
                    .iter()
                    .fold(0, |tag, octet| tag << 8 | u64::from(*octet));
                // One at a time, or all up to this one: the broker confirms in order.
                self.confirmed = tag;
            }
            _ => {}
        }
        Ok(ids)
    }

    /// The length of the next frame, if all of it is there.
    fn whole(&self) -> Option<usize> {
        let size = self.buffer.get(self.read + 3..self.read + 7)?;
        let length = 8 + size.iter().fold(0, |size, octet| size << 8 | usize::from(*octet));
        (self.buffer.len() - self.read >= length).then_some(length)
    }
}

/// A request with the properties that nameko gives it.
fn request() -> Vec<u8> {
    let mut octets = method(1, (60, 40), |it| {
        it.raw(&[0, 0])
            .short("nameko-rpc")
            .short("products.get")
            .raw(&[MANDATORY])
    });
    let headers = Octets::default().short("nameko.language").raw(b"S").long("sv").0;
    let header = Octets::default()
        .raw(&[0, 60, 0, 0])
        .raw(&(BODY.len() as u64).to_be_bytes())
        .raw(&[0b1111_1110, 0])
        .short("application/json")
        .short("utf-8")
        .raw(&(headers.len() as u32).to_be_bytes())
        .raw(&headers)
        .raw(&[2, 0])
        .short("6f6e6520-6361-4c6c-a073-206f74686572")
        .short("me");
    octets.extend(frame(2, 1, &header.0));
    octets.extend(frame(3, 1, BODY.as_bytes()));
    octets
}

fn method(channel: u8, (class, method): (u16, u16), write: impl FnOnce(Octets) -> Octets) -> Vec<u8> {
    let ids = Octets::default()
        .raw(&class.to_be_bytes())
        .raw(&method.to_be_bytes());
    frame(1, channel, &write(ids).0)
}

fn frame(kind: u8, channel: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![kind, 0, channel];
    frame.extend((payload.len() as u32).to_be_bytes());
    frame.extend_from_slice(payload);
    frame.push(0xCE);
    frame
}

/// What is in a frame.
#[derive(Default)]
struct Octets(Vec<u8>);

impl Octets {
    fn raw(mut self, octets: &[u8]) -> Self {
        self.0.extend_from_slice(octets);
        self
    }

    fn short(self, text: &str) -> Self {
        self.raw(&[text.len() as u8]).raw(text.as_bytes())
    }

    fn long(self, text: &str) -> Self {
        self.raw(&(text.len() as u32).to_be_bytes()).raw(text.as_bytes())
    }

    /// An empty one.
    fn table(self) -> Self {
        self.raw(&[0; 4])
    }
}

const AT_ONCE: u64 = 256;
const EXCLUSIVE: u8 = 0b100;
const NO_ACK: u8 = 0b10;
const MANDATORY: u8 = 1;
