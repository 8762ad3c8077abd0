//! The identity of a call: what makes two calls the same to the cache.

mod encoder;
mod ends;
mod finite;
mod identity;
mod order;
mod serializer;
#[cfg(test)]
mod tests;
mod writer;

use std::{
    cell::Cell,
    fmt,
    hash::{BuildHasher, BuildHasherDefault, Hash, Hasher},
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU64, Ordering},
    },
};

pub(crate) use encoder::NoKey;
pub use encoder::Unkeyable;
use encoder::{ARRAY, Encoder};
pub(crate) use ends::Ends;
pub(crate) use finite::check as check_finite;
pub(crate) use identity::Vary;
use serde::Serialize;
use writer::{Keywords, Positional, Writer};

use crate::{args::Args, context::Context};

/// Version of the key's format, its first item: keys of different versions never meet in a shared store.
const VERSION: u64 = 1;

/// Arguments beyond this many bytes stand in the key as their digest.
const DIGEST_BEYOND: usize = 256 << 10;

/// The identity of a call: canonical CBOR (RFC 8949 section 4.2.1) of all that distinguishes it.
///
/// An array of format version, namespace, service, the identity-bearing context (see [`Context`]), method,
/// positional and keyword arguments. Equal for any order of keyword arguments and map keys; different for other
/// services, methods and callers, and for `1`, `1.0`, `"1"` and `true`. Arguments over 256 KiB are replaced by
/// their BLAKE3 digest.
///
/// A store compares keys in full (`Eq` does) or by their [`digest`](Self::digest), never by their hash alone.
/// `Debug` shows no content: keys hold arguments.
#[derive(Clone, PartialEq, Eq)]
pub struct Key {
    /// First, so that keys which differ are told apart by it.
    hash: u64,
    bytes: Vec<u8>,
}

impl Key {
    /// A key of any bytes: for the tests of a store.
    pub fn from_bytes(bytes: impl Into<Vec<u8>>) -> Self {
        let bytes = bytes.into();
        Self {
            hash: hash(&bytes),
            bytes,
        }
    }

    /// The canonical form.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// A good 64-bit hash, seeded anew in each process: to choose a bucket with, not to store.
    pub fn hash64(&self) -> u64 {
        self.hash
    }

    /// A share from 0 to 1 that differs from key to key and is the same in every process.
    pub(crate) fn spread(&self) -> f64 {
        let mixed = foldhash::quality::FixedState::default().hash_one(Raw(&self.bytes));
        (mixed >> 11) as f64 / (1u64 << 53) as f64
    }

    /// 256 bits that stand for the key where it is too long or must not be read, the same in every process.
    pub fn digest(&self) -> [u8; 32] {
        blake3::derive_key("nameko-cachetools 2026-11-23 key v1", &self.bytes)
    }
}

impl Hash for Key {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.hash);
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Key({} bytes)", self.bytes.len())
    }
}

/// A key's [`hash64`](Key::hash64), of its canonical form.
#[inline(always)]
pub(crate) fn hash(bytes: &[u8]) -> u64 {
    static SEED: OnceLock<foldhash::quality::RandomState> = OnceLock::new();
    #[cold]
    fn sow() -> &'static foldhash::quality::RandomState {
        SEED.get_or_init(Default::default)
    }
    let mut state = SEED.get().unwrap_or_else(sow).build_hasher();
    match Ends::of(bytes) {
        Some(Ends { first, last }) => {
            state.write_u128(u128::from_ne_bytes(*first));
            state.write_u128(u128::from_ne_bytes(*last));
        }
        None => state.write(bytes),
    }
    state.finish()
}

/// Bytes hashed without the length that `[u8]` adds: a canonical form is never a prefix of another.
struct Raw<'a>(&'a [u8]);

impl Hash for Raw<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write(self.0);
    }
}

/// Passes a key's own hash on: it is well mixed already.
#[derive(Default)]
pub(crate) struct Ready(u64);

impl Hasher for Ready {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }

    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }
}

/// Finds [`Key`]s by their own hash, which is seeded anew in each process.
pub(crate) type ByKey = BuildHasherDefault<Ready>;

/// What a proxy's keys begin with, written once: version, namespace, service, and the context.
#[derive(Clone)]
pub(crate) struct Prefix {
    /// Nothing else is ever written under this id.
    id: u64,
    start: Arc<[u8]>,
    /// Where the context begins in `start`.
    context_at: usize,
    vary: Vary,
}

/// Shows no context.
impl fmt::Debug for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Prefix({} bytes)", self.start.len())
    }
}

impl Prefix {
    /// The prefix of one service's calls with this context, of which what `vary` says is part of the key.
    pub(crate) fn new(
        namespace: &str,
        service: &str,
        context: &Context,
        vary: Vary,
    ) -> Result<Self, Unkeyable> {
        let mut encoder = Encoder::new();
        encoder.head(ARRAY, 7);
        encoder.head(0, VERSION);
        encoder.text(namespace);
        encoder.text(service);
        let context_at = encoder.key.bytes.len();
        Self {
            id: 0,
            start: encoder.key.bytes.into(),
            context_at,
            vary,
        }
        .with_context(context)
    }

    /// The same service's prefix for another caller.
    pub(crate) fn with_context(&self, context: &Context) -> Result<Self, Unkeyable> {
        static IDS: AtomicU64 = AtomicU64::new(1);
        let mut encoder = Encoder::new();
        let constant = &self.start[..self.context_at];
        encoder.key.bytes.extend_from_slice(constant);
        self.vary.write(context, &mut encoder)?;
        Ok(Self {
            id: IDS.fetch_add(1, Ordering::Relaxed),
            start: encoder.key.bytes.into(),
            context_at: self.context_at,
            vary: self.vary.clone(),
        })
    }
}

impl Prefix {
    /// The key of a call.
    pub(crate) fn key<P: Serialize, K: Serialize>(
        &self,
        method: &str,
        args: &Args<P, K>,
    ) -> Result<Key, Unkeyable> {
        struct Alone;
        let mut encoder = Encoder::new();
        encoder.key.bytes.reserve(self.start.len() + USUAL);
        self.write::<_, _, Alone>(&mut encoder, method, args)?;
        encoder.key.hash = hash(&encoder.key.bytes);
        Ok(encoder.key)
    }

    /// The same in buffers of this thread, where a look may be taken at it. Allocates nothing once they have grown. `None` if
    /// the call has no key, and where a thread is ending.
    #[inline(always)]
    pub(crate) fn with_key<P: Serialize, K: Serialize, R, F>(
        &self,
        method: &str,
        args: &Args<P, K>,
        look: F,
    ) -> Option<R>
    where
        F: FnOnce(Written<'_>) -> Option<R>,
    {
        thread_local! {
            static BUFFERS: Cell<Option<Box<Encoder>>> = const { Cell::new(None) };
        }
        let shown = BUFFERS.try_with(|buffers| {
            // They are missing within a `Serialize` or a store that makes calls of its own.
            let mut encoder = buffers.take().unwrap_or_else(Encoder::boxed);
            // A key that failed may have left something half done: its buffers are dropped.
            self.write::<_, _, F>(&mut encoder, method, args).ok()?;
            let shown = look(Written(&mut encoder.key));
            if encoder.is_small() {
                buffers.set(Some(encoder));
            }
            shown
        });
        shown.ok().flatten()
    }

    /// For each type `By` there is a writer of its own, which compilers then make part of whoever calls it.
    #[inline(always)]
    fn write<P: Serialize, K: Serialize, By>(
        &self,
        encoder: &mut Encoder,
        method: &str,
        args: &Args<P, K>,
    ) -> Result<(), NoKey> {
        encoder.begin(self.id, &self.start);
        encoder.text(method);
        let start = encoder.key.bytes.len();
        args.positional
            .serialize(Writer::<Positional<By>>::new(encoder))?;
        args.keyword.serialize(Writer::<Keywords<By>>::new(encoder))?;
        if encoder.key.bytes.len() - start > DIGEST_BEYOND {
            shorten(encoder, start);
        }
        Ok(())
    }
}

/// Room for a method's name and for arguments as they mostly are, in bytes.
const USUAL: usize = 64;

/// A key that has its bytes, and not yet its hash. Processors read late what was written just now: whoever has something
/// else to do, does that first.
pub(crate) struct Written<'a>(&'a mut Key);

impl<'a> Written<'a> {
    #[inline(always)]
    pub(crate) fn hashed(self) -> &'a Key {
        self.0.hash = hash(&self.0.bytes);
        self.0
    }
}

/// Replaces long arguments by their digest. An array of six items can't be taken for one of seven.
#[cold]
fn shorten(encoder: &mut Encoder, start: usize) {
    let digest = blake3::hash(&encoder.key.bytes[start..]);
    encoder.key.bytes.truncate(start);
    encoder.key.bytes[0] = ARRAY | 6;
    encoder.begins_with = 0;
    encoder.byte_string(digest.as_bytes());
    encoder.key.bytes.shrink_to_fit();
}
