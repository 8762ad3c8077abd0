//! A value being written where it stands: how deep that is, and what may stand there.

use std::marker::PhantomData;

use serde::Serialize;

use super::{
    encoder::{ARRAY, Done, Encoder, MAP, NULL, NoKey, TEXT, Unkeyable},
    order::{Span, prefix, text_prefix},
};

/// Deepest nesting of arguments.
const MAX_DEPTH: u16 = 64;

/// Writes one value. What is known of its place when compiling costs nothing when writing.
pub(super) struct Writer<'a, P> {
    encoder: &'a mut Encoder,
    /// How many values it is nested in.
    depth: u16,
    place: PhantomData<P>,
}

/// Where a value stands.
pub(super) trait Place {
    /// The only kind of item that may stand there, of which unit is an empty one.
    const MAJOR: Option<u8>;
}

/// In another value.
pub(super) struct Within;

impl Place for Within {
    const MAJOR: Option<u8> = None;
}

/// The positional arguments: a sequence. For each type `By` they are a place of their own.
pub(super) struct Positional<By>(PhantomData<By>);

impl<By> Place for Positional<By> {
    const MAJOR: Option<u8> = Some(ARRAY);
}

/// The keyword arguments: a map.
pub(super) struct Keywords<By>(PhantomData<By>);

impl<By> Place for Keywords<By> {
    const MAJOR: Option<u8> = Some(MAP);
}

impl<'a, P: Place> Writer<'a, P> {
    #[inline]
    pub(super) fn new(encoder: &'a mut Encoder) -> Self {
        Self::nested(encoder, 0)
    }

    #[inline]
    fn nested(encoder: &'a mut Encoder, depth: u16) -> Self {
        let place = PhantomData;
        Self {
            encoder,
            depth,
            place,
        }
    }

    #[inline]
    pub(super) fn deeper(self) -> Result<Self, NoKey> {
        if self.depth >= MAX_DEPTH {
            return Err(Unkeyable::TooDeep.into());
        }
        Ok(Self::nested(self.encoder, self.depth + 1))
    }

    #[inline]
    fn only(&self, major: Option<u8>) -> Done {
        if P::MAJOR.is_some() && P::MAJOR != major {
            return Err(Unkeyable::Shape.into());
        }
        Ok(())
    }

    /// For a value that is neither sequence nor map.
    #[inline]
    pub(super) fn scalar(self) -> Result<&'a mut Encoder, NoKey> {
        self.only(None)?;
        Ok(self.encoder)
    }

    #[inline]
    pub(super) fn unit(self) {
        self.encoder.key.bytes.push(P::MAJOR.unwrap_or(NULL));
    }

    #[inline]
    pub(super) fn container(self, major: u8, len: Option<usize>) -> Result<Container<'a>, NoKey> {
        self.only(Some(major))?;
        let Self { encoder, depth, .. } = self.deeper()?;
        let head = encoder.key.bytes.len();
        encoder.head(major, len.unwrap_or(0) as u64);
        Ok(Container {
            major,
            declared: len.unwrap_or(0),
            depth,
            count: 0,
            sorted: true,
            last: 0,
            head,
            start: encoder.key.bytes.len(),
            first_entry: encoder.entries.len(),
            encoder,
        })
    }

    /// Says of the struct to come that it is no map in the request, but what its text holds.
    #[inline]
    pub(super) fn embedded_json(&mut self) {
        self.encoder.embedded_json();
    }

    /// `{variant: ..}`, the way serde's self-describing formats write an enum's data.
    pub(super) fn variant(self, name: &str) -> Result<Writer<'a, Within>, NoKey> {
        self.only(Some(MAP))?;
        let Self { encoder, depth, .. } = self.deeper()?;
        encoder.head(MAP, 1);
        encoder.text(name);
        Ok(Writer::nested(encoder, depth))
    }
}

/// An array or a map being written.
pub(super) struct Container<'a> {
    encoder: &'a mut Encoder,
    major: u8,
    /// How many items the head says.
    declared: usize,
    depth: u16,
    count: usize,
    /// Whether all keys so far came in canonical order.
    sorted: bool,
    /// The prefix of the last key.
    last: u64,
    head: usize,
    start: usize,
    first_entry: usize,
}

impl Container<'_> {
    #[inline]
    pub(super) fn item<T: Serialize + ?Sized>(&mut self, value: &T) -> Done {
        self.count += 1;
        let room = self.encoder.room_for(0);
        self.checked(room)?;
        self.write(value)
    }

    #[inline]
    fn write<T: Serialize + ?Sized>(&mut self, value: &T) -> Done {
        let written = value.serialize(Writer::<Within>::nested(self.encoder, self.depth));
        self.checked(written)
    }

    /// What has an item that can't be written ends with that item's error, even if its own `Serialize` goes on. Else values
    /// that differ in such items would have one key.
    #[inline]
    fn checked(&mut self, item: Done) -> Done {
        item.map_err(|why| {
            self.sorted = false; // so that its end looks closer
            self.encoder.fail(why)
        })
    }

    #[inline]
    pub(super) fn key<T: Serialize + ?Sized>(&mut self, key: &T) -> Done {
        let start = self.encoder.key.bytes.len();
        self.item(key)?;
        self.note_key(start, prefix(&self.encoder.key.bytes[start..]));
        Ok(())
    }

    /// The name of a struct's field. Where that is known when compiling, so is its prefix.
    #[inline(always)]
    pub(super) fn name(&mut self, name: &'static str) {
        let start = self.encoder.key.bytes.len();
        self.count += 1;
        self.encoder.text(name);
        let prefix = if name.len() < 24 {
            text_prefix(TEXT | name.len() as u8, name)
        } else {
            prefix(&self.encoder.key.bytes[start..])
        };
        self.note_key(start, prefix);
    }

    #[inline]
    fn note_key(&mut self, start: usize, prefix: u64) {
        let (bytes, entries) = (&self.encoder.key.bytes, &mut self.encoder.entries);
        let key_end = bytes.len() as u32;
        let entry = Span {
            prefix,
            start: start as u32,
            key_end,
            end: key_end,
        };
        if prefix <= self.last {
            self.sorted &= follows(&entries[self.first_entry..], &entry, bytes);
        }
        self.last = prefix;
        entries.push(entry);
    }

    #[inline]
    pub(super) fn value<T: Serialize + ?Sized>(&mut self, value: &T) -> Done {
        self.write(value)?;
        let end = self.encoder.key.bytes.len();
        if let Some(entry) = self.encoder.entries.last_mut() {
            entry.end = end as u32;
        }
        Ok(())
    }

    #[inline]
    pub(super) fn finish(self) -> Done {
        if !self.sorted {
            self.encoder.put_in_order(self.first_entry)?;
        }
        if self.major == MAP {
            self.encoder.entries.truncate(self.first_entry);
        }
        if self.count != self.declared {
            self.encoder
                .replace_head(self.head, self.start, self.major, self.count);
        }
        Ok(())
    }
}

/// Whether an entry comes after all before it, where its prefix alone doesn't say so.
#[cold]
#[inline(never)]
fn follows(before: &[Span], entry: &Span, bytes: &[u8]) -> bool {
    before.last().is_none_or(|last| last.order(entry, bytes).is_lt())
}
