//! Canonical CBOR (RFC 8949 section 4.2.1), written straight from serde without a value tree and, once its buffers
//! have grown, without allocation: shortest heads, shortest floats, definite lengths, map keys sorted bytewise.

use std::fmt;

use serde::ser;

use super::{
    Key,
    order::{Span, sort},
};

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
    /// The entries of the maps that are being written.
    pub(super) entries: Vec<Span>,
    scratch: Vec<u8>,
    /// Why an item of what is being written can't be.
    failed: Option<NoKey>,
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
    /// An argument's own `Serialize` failed. What it said may quote the argument, so it is not kept.
    #[error(
        "an argument's own `Serialize` failed: try `serde_json::to_string` on it to see why (the words may quote it, so they \
         aren't repeated here)"
    )]
    Custom,
}

/// [`Unkeyable`] in one word, so that it costs nothing to hand on that all is well.
#[derive(Debug, Clone, thiserror::Error)]
#[error(transparent)]
pub(crate) struct NoKey(Box<Unkeyable>);

impl ser::Error for NoKey {
    #[cold]
    fn custom<T: fmt::Display>(_: T) -> Self {
        Unkeyable::Custom.into()
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
pub(super) const TEXT: u8 = 3 << 5;
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
            failed: None,
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

    /// Says of what comes next that it is a text which holds JSON (tag 262 of IANA's registry, there for byte strings).
    #[cold]
    pub(super) fn embedded_json(&mut self) {
        self.head(TAG, 262);
    }

    /// An integer beyond 64 bits: a bignum (RFC 8949 section 3.4.3), whose shortest form has no leading zero.
    pub(super) fn big(&mut self, tag: u64, magnitude: u128) {
        let bytes = magnitude.to_be_bytes();
        let from = (magnitude.leading_zeros() / 8) as usize;
        self.head(TAG, tag);
        self.byte_string(&bytes[from..]);
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
    pub(super) fn replace_head(&mut self, head: usize, start: usize, major: u8, count: usize) {
        self.key.bytes.drain(head..start);
        let end = self.key.bytes.len();
        self.head(major, count as u64);
        let length = self.key.bytes.len() - end;
        self.key.bytes[head..].rotate_right(length);
    }

    /// Notes that an item can't be written.
    #[cold]
    #[inline(never)]
    pub(super) fn fail(&mut self, why: NoKey) -> NoKey {
        self.failed = Some(why.clone());
        why
    }

    /// Brings the entries since `first` into canonical order, if nothing that was written failed.
    #[inline(never)]
    pub(super) fn put_in_order(&mut self, first: usize) -> Done {
        if let Some(why) = &self.failed {
            return Err(why.clone());
        }
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
}
