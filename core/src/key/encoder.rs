//! Canonical CBOR (RFC 8949 section 4.2.1), written straight from serde without a value tree and, once its buffers
//! have grown, without allocation: shortest heads, shortest floats, definite lengths, map keys sorted bytewise.

use std::{cmp::Ordering, fmt};

use serde::{Serialize, ser};

/// Deepest nesting of arguments.
pub(super) const MAX_DEPTH: u16 = 64;

/// Largest arguments that are looked at, in bytes of CBOR.
pub(super) const MAX_BYTES: usize = 16 << 20;

/// Buffers larger than this are not kept for the next key.
const KEPT_BYTES: usize = 64 << 10;

/// Buffers that are kept from one key to the next.
pub(super) struct Encoder {
    pub(super) bytes: Vec<u8>,
    entries: Vec<Span>,
    scratch: Vec<u8>,
    depth: u16,
}

/// Where one map entry stands in `bytes`.
#[derive(Clone, Copy)]
struct Span {
    /// The key's first eight bytes, which mostly tell it from the others without looking at it.
    prefix: u64,
    start: usize,
    key_end: usize,
    end: usize,
}

impl Span {
    #[inline]
    fn key<'a>(&self, bytes: &'a [u8]) -> &'a [u8] {
        &bytes[self.start..self.key_end]
    }

    /// The canonical order: bytewise (RFC 8949 section 4.2.1).
    #[inline]
    fn order(&self, other: &Self, bytes: &[u8]) -> Ordering {
        self.prefix
            .cmp(&other.prefix)
            .then_with(|| self.key(bytes).cmp(other.key(bytes)))
    }
}

/// The first eight bytes as a number that sorts as they do; shorter keys are padded with zeros.
#[inline]
fn prefix(key: &[u8]) -> u64 {
    match key.first_chunk::<8>() {
        Some(first) => u64::from_be_bytes(*first),
        None => key.iter().fold(0, |prefix, byte| prefix << 8 | u64::from(*byte)) << (8 * (8 - key.len())),
    }
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

impl ser::Error for Unkeyable {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self::Custom(message.to_string())
    }
}

pub(super) const UNSIGNED: u8 = 0 << 5;
pub(super) const NEGATIVE: u8 = 1 << 5;
const BYTES: u8 = 2 << 5;
const TEXT: u8 = 3 << 5;
pub(super) const ARRAY: u8 = 4 << 5;
pub(super) const MAP: u8 = 5 << 5;
const TAG: u8 = 6 << 5;
pub(super) const FALSE: u8 = 0xf4;
pub(super) const TRUE: u8 = 0xf5;
pub(super) const NULL: u8 = 0xf6;

pub(super) type Done = Result<(), Unkeyable>;

impl Encoder {
    pub(super) const fn new() -> Self {
        Self {
            bytes: Vec::new(),
            entries: Vec::new(),
            scratch: Vec::new(),
            depth: 0,
        }
    }

    /// Empties the buffers and keeps their memory, unless it is much.
    pub(super) fn reset(&mut self) {
        self.bytes.clear();
        self.entries.clear();
        self.scratch.clear();
        self.depth = 0;
        if self.bytes.capacity().max(self.scratch.capacity()) > KEPT_BYTES {
            self.bytes.shrink_to(KEPT_BYTES);
            self.scratch.shrink_to(KEPT_BYTES);
            self.entries.shrink_to(KEPT_BYTES / size_of::<Span>());
        }
    }

    #[inline]
    pub(super) fn text(&mut self, text: &str) {
        self.head(TEXT, text.len() as u64);
        self.bytes.extend_from_slice(text.as_bytes());
    }

    pub(super) fn byte_string(&mut self, bytes: &[u8]) {
        self.head(BYTES, bytes.len() as u64);
        self.bytes.extend_from_slice(bytes);
    }

    /// A data item's head in its shortest form.
    #[inline]
    pub(super) fn head(&mut self, major: u8, argument: u64) {
        if argument < 24 {
            self.bytes.push(major | argument as u8);
        } else {
            self.long_head(major, argument);
        }
    }

    fn long_head(&mut self, major: u8, argument: u64) {
        let bytes = argument.to_be_bytes();
        let (info, from) = match argument {
            0..=0xff => (24, 7),
            0x100..=0xffff => (25, 6),
            0x1_0000..=0xffff_ffff => (26, 4),
            _ => (27, 0),
        };
        self.bytes.push(major | info);
        self.bytes.extend_from_slice(&bytes[from..]);
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
        if self.depth == MAX_DEPTH {
            return Err(Unkeyable::TooDeep);
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
        if self.bytes.len().saturating_add(more) > MAX_BYTES {
            Err(Unkeyable::TooLarge)
        } else {
            Ok(())
        }
    }

    /// Corrects the head in `head..start`, for containers whose length was not known before their items.
    #[cold]
    fn replace_head(&mut self, head: usize, start: usize, major: u8, count: usize) {
        self.bytes.drain(head..start);
        let end = self.bytes.len();
        self.head(major, count as u64);
        let length = self.bytes.len() - end;
        self.bytes[head..].rotate_right(length);
    }

    /// Brings the entries since `first` into canonical order.
    #[inline(never)]
    fn sort(&mut self, first: usize) -> Done {
        let Self {
            bytes,
            entries,
            scratch,
            ..
        } = self;
        let entries = &mut entries[first..];
        let Some(start) = entries.first().map(|entry| entry.start) else {
            return Ok(());
        };
        entries.sort_unstable_by(|a, b| a.order(b, bytes));
        if entries
            .windows(2)
            .any(|pair| pair[0].order(&pair[1], bytes).is_eq())
        {
            return Err(Unkeyable::DuplicateKey);
        }
        scratch.clear();
        for entry in entries.iter() {
            scratch.extend_from_slice(&bytes[entry.start..entry.end]);
        }
        bytes[start..].copy_from_slice(scratch);
        Ok(())
    }

    #[inline]
    pub(super) fn container(
        &mut self,
        major: u8,
        len: Option<usize>,
        nested: bool,
    ) -> Result<Container<'_>, Unkeyable> {
        self.enter()?;
        let head = self.bytes.len();
        self.head(major, len.unwrap_or(0) as u64);
        Ok(Container {
            major,
            declared: len.unwrap_or(0),
            nested,
            count: 0,
            sorted: true,
            head,
            start: self.bytes.len(),
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
        let start = self.encoder.bytes.len();
        self.item(key)?;
        self.note_key(start);
        Ok(())
    }

    /// The name of a struct's field.
    #[inline]
    pub(super) fn name(&mut self, name: &'static str) {
        let start = self.encoder.bytes.len();
        self.count += 1;
        self.encoder.text(name);
        self.note_key(start);
    }

    #[inline]
    fn note_key(&mut self, start: usize) {
        let (bytes, entries) = (&self.encoder.bytes, &mut self.encoder.entries);
        let key_end = bytes.len();
        let entry = Span {
            prefix: prefix(&bytes[start..]),
            start,
            key_end,
            end: key_end,
        };
        let last = entries[self.first_entry..].last();
        self.sorted &= last.is_none_or(|last| last.order(&entry, bytes).is_lt());
        entries.push(entry);
    }

    #[inline]
    pub(super) fn value<T: Serialize + ?Sized>(&mut self, value: &T) -> Done {
        value.serialize(&mut *self.encoder)?;
        let end = self.encoder.bytes.len();
        if let Some(entry) = self.encoder.entries.last_mut() {
            entry.end = end;
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
