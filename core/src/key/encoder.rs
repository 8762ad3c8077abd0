//! Canonical CBOR (RFC 8949 section 4.2.1), written straight from serde without a value tree and, once its buffers
//! have grown, without allocation: shortest heads, shortest floats, definite lengths, map keys sorted bytewise.

use std::fmt;

use serde::{Serialize, ser};

use super::{
    Key,
    order::{Span, prefix, sort, text_prefix},
};

/// Deepest nesting of arguments.
pub(super) const MAX_DEPTH: u16 = 64;

/// Largest arguments that are looked at, in bytes of CBOR.
pub(super) const MAX_BYTES: usize = 16 << 20;

/// Buffers larger than this are not kept for the next key.
const KEPT_BYTES: usize = 64 << 10;

/// A key being written, in buffers that are kept from one key to the next.
pub(super) struct Encoder {
    /// What was written so far; its hash comes last.
    pub(super) key: Key,
    /// The id of the prefix that it begins with; 0: of none.
    pub(super) begins_with: u64,
    entries: Vec<Span>,
    scratch: Vec<u8>,
    depth: u16,
}

/// Why a value has no canonical form.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Unkeyable {
    /// Nested deeper than 64 levels.
    #[error("nested deeper than 64 levels")]
    TooDeep,
    /// More than 16 MiB.
    #[error("larger than 16 MiB")]
    TooLarge,
    /// NaN or an infinity: JSON can't carry it, and NaN is not equal to itself.
    #[error("a float that is not finite (NaN or infinity), which JSON can't carry")]
    NotFinite,
    /// A map that has one key twice.
    #[error("a map has the same key twice")]
    DuplicateKey,
    /// Positional arguments that are no sequence, or keyword arguments that are no map.
    #[error("positional arguments have to be a sequence, keyword arguments a map")]
    Shape,
    /// The value's own `Serialize` failed.
    #[error("{0}")]
    Custom(String),
}

/// [`Unkeyable`] in one word, so that it costs nothing to hand on that all is well.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub(crate) struct NoKey(Box<Unkeyable>);

impl ser::Error for NoKey {
    #[cold]
    fn custom<T: fmt::Display>(message: T) -> Self {
        Unkeyable::Custom(message.to_string()).into()
    }
}

impl From<Unkeyable> for NoKey {
    #[cold]
    fn from(why: Unkeyable) -> Self {
        Self(Box::new(why))
    }
}

impl From<NoKey> for Unkeyable {
    fn from(no_key: NoKey) -> Self {
        *no_key.0
    }
}

pub(super) const UNSIGNED: u8 = 0;
pub(super) const NEGATIVE: u8 = 1 << 5;
const BYTES: u8 = 2 << 5;
const TEXT: u8 = 3 << 5;
pub(super) const ARRAY: u8 = 4 << 5;
pub(super) const MAP: u8 = 5 << 5;
const TAG: u8 = 6 << 5;
pub(super) const FALSE: u8 = 0xf4;
pub(super) const TRUE: u8 = 0xf5;
pub(super) const NULL: u8 = 0xf6;

pub(super) type Done = Result<(), NoKey>;

impl Encoder {
    pub(super) const fn new() -> Self {
        Self {
            key: Key {
                hash: 0,
                bytes: Vec::new(),
            },
            begins_with: 0,
            entries: Vec::new(),
            scratch: Vec::new(),
            depth: 0,
        }
    }

    #[cold]
    pub(super) fn boxed() -> Box<Self> {
        Box::new(Self::new())
    }

    /// Leaves nothing but the prefix of this id, which is `bytes`: mostly it is there already.
    #[inline]
    pub(super) fn begin(&mut self, id: u64, bytes: &[u8]) {
        if self.begins_with == id {
            self.key.bytes.truncate(bytes.len());
        } else {
            self.key.bytes.clear();
            self.key.bytes.extend_from_slice(bytes);
            self.begins_with = id;
        }
        self.entries.clear();
        self.depth = 0;
    }

    /// Whether the buffers are worth keeping. (The scratch has never been larger than the key.)
    #[inline]
    pub(super) fn is_small(&self) -> bool {
        self.key.bytes.capacity() <= KEPT_BYTES
    }

    #[inline(always)]
    pub(super) fn text(&mut self, text: &str) {
        self.head(TEXT, text.len() as u64);
        self.key.bytes.extend_from_slice(text.as_bytes());
    }

    pub(super) fn byte_string(&mut self, bytes: &[u8]) {
        self.head(BYTES, bytes.len() as u64);
        self.key.bytes.extend_from_slice(bytes);
    }

    /// A data item's head in its shortest form.
    #[inline]
    pub(super) fn head(&mut self, major: u8, argument: u64) {
        if argument < 24 {
            self.key.bytes.push(major | argument as u8);
        } else if argument <= 0xff {
            self.key.bytes.extend_from_slice(&[major | 24, argument as u8]);
        } else {
            self.long_head(major, argument);
        }
    }

    fn long_head(&mut self, major: u8, argument: u64) {
        let [a, b, c, d, e, f, g, h] = argument.to_be_bytes();
        match argument {
            0..=0xffff => self.key.bytes.extend_from_slice(&[major | 25, g, h]),
            0x1_0000..=0xffff_ffff => self.key.bytes.extend_from_slice(&[major | 26, e, f, g, h]),
            _ => self
                .key
                .bytes
                .extend_from_slice(&[major | 27, a, b, c, d, e, f, g, h]),
        }
    }

    /// An integer beyond 64 bits: a bignum (RFC 8949 section 3.4.3), whose shortest form has no leading zero.
    pub(super) fn big(&mut self, tag: u64, magnitude: u128) {
        let bytes = magnitude.to_be_bytes();
        let from = (magnitude.leading_zeros() / 8) as usize;
        self.head(TAG, tag);
        self.byte_string(&bytes[from..]);
    }

    #[inline]
    pub(super) fn enter(&mut self) -> Done {
        if self.depth >= MAX_DEPTH {
            return Err(Unkeyable::TooDeep.into());
        }
        self.depth += 1;
        Ok(())
    }

    #[inline]
    pub(super) fn leave(&mut self) {
        self.depth -= 1;
    }

    #[inline]
    pub(super) fn room_for(&self, more: usize) -> Done {
        if self.key.bytes.len().saturating_add(more) > MAX_BYTES {
            Err(Unkeyable::TooLarge.into())
        } else {
            Ok(())
        }
    }

    /// Corrects the head in `head..start`, for containers whose length was not known before their items.
    #[cold]
    fn replace_head(&mut self, head: usize, start: usize, major: u8, count: usize) {
        self.key.bytes.drain(head..start);
        let end = self.key.bytes.len();
        self.head(major, count as u64);
        let length = self.key.bytes.len() - end;
        self.key.bytes[head..].rotate_right(length);
    }

    /// Brings the entries since `first` into canonical order.
    #[inline(never)]
    fn sort(&mut self, first: usize) -> Done {
        let Self {
            key: Key { bytes, .. },
            entries,
            scratch,
            ..
        } = self;
        let entries = &mut entries[first..];
        let Some(start) = entries.first().map(|entry| entry.start) else {
            return Ok(());
        };
        if sort(entries, bytes) {
            return Err(Unkeyable::DuplicateKey.into());
        }
        scratch.clear();
        for entry in entries.iter() {
            scratch.extend_from_slice(entry.entry(bytes));
        }
        bytes[start as usize..].copy_from_slice(scratch);
        Ok(())
    }

    #[inline]
    pub(super) fn container(
        &mut self,
        major: u8,
        len: Option<usize>,
        nested: bool,
    ) -> Result<Container<'_>, NoKey> {
        self.enter()?;
        let head = self.key.bytes.len();
        self.head(major, len.unwrap_or(0) as u64);
        Ok(Container {
            major,
            declared: len.unwrap_or(0),
            nested,
            count: 0,
            sorted: true,
            last: 0,
            head,
            start: self.key.bytes.len(),
            first_entry: self.entries.len(),
            encoder: self,
        })
    }

    /// `{variant: ..}`, the way serde's self-describing formats write an enum's data.
    pub(super) fn variant(&mut self, name: &str) -> Done {
        self.enter()?;
        self.head(MAP, 1);
        self.text(name);
        Ok(())
    }
}

/// An array or a map being written.
pub(super) struct Container<'a> {
    encoder: &'a mut Encoder,
    major: u8,
    /// How many items the head says.
    declared: usize,
    /// Whether it stands inside `{variant: ..}`.
    nested: bool,
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
        self.encoder.room_for(0)?;
        value.serialize(&mut *self.encoder)
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
        value.serialize(&mut *self.encoder)?;
        let end = self.encoder.key.bytes.len();
        if let Some(entry) = self.encoder.entries.last_mut() {
            entry.end = end as u32;
        }
        Ok(())
    }

    #[inline]
    pub(super) fn finish(self) -> Done {
        if !self.sorted {
            self.encoder.sort(self.first_entry)?;
        }
        self.encoder.entries.truncate(self.first_entry);
        if self.count != self.declared {
            self.encoder
                .replace_head(self.head, self.start, self.major, self.count);
        }
        self.encoder.depth -= 1 + u16::from(self.nested);
        Ok(())
    }
}

/// Whether an entry comes after all before it, where its prefix alone doesn't say so.
#[cold]
#[inline(never)]
fn follows(before: &[Span], entry: &Span, bytes: &[u8]) -> bool {
    before.last().is_none_or(|last| last.order(entry, bytes).is_lt())
}
