//! What stores hold: one good reply, decoded, with the bytes it came in.

use std::{
    any::{Any, TypeId},
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;

use crate::clock::{Clock, Moment};

/// When a request was sent, and a place in the order of all requests of this process, which breaks ties.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Sent {
    at: Moment,
    order: u64,
}

impl Sent {
    /// The next request, sent now.
    pub(crate) fn now(clock: Clock) -> Self {
        static ORDER: AtomicU64 = AtomicU64::new(1);
        // The place is taken first: an event that begins after another has ended is later by both.
        let order = ORDER.fetch_add(1, Ordering::Relaxed);
        Self {
            at: clock.now_exact(),
            order,
        }
    }

    /// When it was sent.
    #[inline]
    pub(crate) fn moment(self) -> Moment {
        self.at
    }
}

/// What is known of a reply beside its result.
#[derive(Debug, Clone)]
pub(crate) struct Marks {
    pub(crate) sent: Sent,
    /// How long it is fresh by its service's own word, in nanoseconds; [`UNSAID`] if that said nothing.
    pub(crate) fresh_for: u64,
    pub(crate) tags: Tags,
}

/// No word of a service about a reply's freshness.
pub(crate) const UNSAID: u64 = u64::MAX;

impl Marks {
    pub(crate) fn new(sent: Sent, tags: Tags) -> Self {
        let fresh_for = UNSAID;
        Self {
            sent,
            tags,
            fresh_for,
        }
    }

    pub(crate) fn fresh_for(self, life: Duration) -> Self {
        let fresh_for = u64::try_from(life.as_nanos()).unwrap_or(UNSAID - 1);
        Self { fresh_for, ..self }
    }
}

/// One good reply in a store. Cloning is one reference count.
///
/// Besides the result's JSON text it holds the value that the first caller decoded from it, so that a hit decodes
/// nothing: callers who ask for that type share it, callers who ask for another decode their own from the text.
///
/// `Debug` shows sizes and ages only.
// What a hit looks at is here and not in the slot: beside the key that the store has just compared, and apart from the
// count of references, which all threads write to.
#[derive(Clone)]
pub struct Entry {
    pub(crate) sent_at: Moment,
    /// In nanoseconds; [`UNSAID`] if nothing was said.
    pub(crate) fresh_for: u64,
    pub(crate) slot: Arc<dyn Held>,
}

impl Entry {
    /// A result that nobody has decoded yet, of a request sent at `sent_at`.
    ///
    /// `body` is the JSON text of nameko's `result`. A shared store makes entries this way from what it kept.
    pub fn new(sent_at: Moment, body: impl Into<Bytes>) -> Self {
        // Within its moment it comes before all that is known to be of this process.
        let (at, order) = (sent_at, 0);
        Self::undecoded(Marks::new(Sent { at, order }, None), body.into())
    }

    /// The same entry, still undecoded, with what a shared store kept of [`fresh_for`](Self::fresh_for) and
    /// [`tags`](Self::tags).
    #[must_use]
    pub fn marked(
        self,
        fresh_for: Option<Duration>,
        tags: impl IntoIterator<Item = impl Into<String>>,
    ) -> Self {
        let tags: Arc<[String]> = tags.into_iter().map(Into::into).collect();
        let marks = Marks::new(self.sent(), (!tags.is_empty()).then_some(tags));
        let marks = match fresh_for {
            None => marks,
            Some(life) => marks.fresh_for(life),
        };
        Self::undecoded(marks, self.body().clone())
    }

    pub(crate) fn undecoded(marks: Marks, body: Bytes) -> Self {
        Self::decoded(marks, body, Undecoded)
    }

    /// A result with its decoded value.
    pub(crate) fn decoded<T: Send + Sync + 'static>(marks: Marks, body: Bytes, value: T) -> Self {
        let Marks {
            sent,
            fresh_for,
            tags,
        } = marks;
        let Sent { at, order } = sent;
        Self {
            sent_at: at,
            fresh_for,
            slot: Arc::new(Slot {
                value,
                body,
                tags,
                order,
            }),
        }
    }

    /// When its request was sent. An entry never gets younger, whatever happens to it.
    pub fn sent_at(&self) -> Moment {
        self.sent_at
    }

    /// How long it is fresh by its service's own word, where the policy allows one; usually `None`.
    pub fn fresh_for(&self) -> Option<Duration> {
        (self.fresh_for != UNSAID).then(|| Duration::from_nanos(self.fresh_for))
    }

    /// By what it can be [invalidated](crate::Scope::Tag) beside its call. A store outside of the process keeps them.
    pub fn tags(&self) -> &[String] {
        self.slot.tags()
    }

    /// Time since its request was sent (RFC 9111 section 4.2.3, counted from the request); zero if that lies ahead.
    pub fn age(&self, now: Moment) -> Duration {
        now.since(self.sent_at())
    }

    /// How far its sending lies ahead: more than a moment only if another host's clock is ahead of ours.
    pub(crate) fn ahead(&self, now: Moment) -> Ahead {
        match self.sent_at().since(now) {
            ahead if ahead <= TICK => Ahead::No,
            ahead if ahead <= SKEW => Ahead::Skewed,
            _ => Ahead::Beyond,
        }
    }

    /// The result's JSON text, as the service sent it.
    pub fn body(&self) -> &Bytes {
        self.slot.body()
    }

    /// Whether its request was sent after `other`'s. A store keeps the newer of two.
    pub fn is_newer_than(&self, other: &Self) -> bool {
        self.sent() > other.sent()
    }

    /// Whether both came of the same request: sent at the same moment, with the same result.
    pub fn is(&self, other: &Self) -> bool {
        self.sent_at() == other.sent_at() && self.body() == other.body()
    }

    /// An estimate of the memory it takes, in bytes: the text twice, once for itself and once for the value decoded
    /// from it; its tags; and what entries cost at least.
    ///
    /// That is about right for structs, texts and lists of numbers. What a value really takes is known to its type alone:
    /// a `serde_json::Value` of ordinary objects takes several times its text, one of many small objects far more.
    pub fn weight(&self) -> usize {
        const OVERHEAD: usize = 96;
        let tags = self.tags().iter().map(|tag| size_of::<String>() + tag.len());
        OVERHEAD + self.slot.value_bytes() + 2 * self.body().len() + tags.sum::<usize>()
    }

    /// Whether its value was decoded to this type.
    pub(crate) fn holds<T: Send + Sync + 'static>(&self) -> bool {
        (*self.slot).type_id() == TypeId::of::<Slot<T>>()
    }

    pub(crate) fn sent(&self) -> Sent {
        let (at, order) = (self.sent_at, self.slot.order());
        Sent { at, order }
    }
}

/// The coarse clock lags by no more than this.
const TICK: Duration = Duration::from_secs(1);

/// Clocks of hosts differ by no more than this, or are wrong.
const SKEW: Duration = Duration::from_secs(60);

/// Whether an entry comes from the future.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ahead {
    No,
    /// Its true age is unknown: it is not fresh.
    Skewed,
    /// It is no answer.
    Beyond,
}

/// By what an answer can be invalidated beside its call; none, for most.
pub(crate) type Tags = Option<Arc<[String]>>;

impl fmt::Debug for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Entry")
            .field("sent_at", &self.sent_at())
            .field("body_bytes", &self.body().len())
            .finish()
    }
}

/// A reply of one decoded type. One allocation holds all of it, in this order: the count of references and the value's
/// beginning are next to each other.
#[repr(C)]
pub(crate) struct Slot<T> {
    pub(crate) value: T,
    body: Bytes,
    tags: Tags,
    /// The request's place among all of this process.
    order: u64,
}

impl<T> Slot<T> {
    /// For a reply that no store holds: nobody asks for its text.
    pub(crate) fn alone(value: T) -> Self {
        let (body, tags, order) = (Bytes::new(), None, 0);
        Self {
            value,
            body,
            tags,
            order,
        }
    }
}

/// In place of a value that nobody has asked for yet.
struct Undecoded;

/// A [`Slot`] of any type.
pub(crate) trait Held: Any + Send + Sync {
    fn body(&self) -> &Bytes;
    fn tags(&self) -> &[String];
    fn order(&self) -> u64;
    fn value_bytes(&self) -> usize;
}

impl dyn Held {
    /// The slot with its decoded value, if that was decoded to this type.
    #[inline(always)]
    pub(crate) fn downcast<T: Send + Sync + 'static>(self: Arc<Self>) -> Option<Arc<Slot<T>>> {
        let any: Arc<dyn Any + Send + Sync> = self;
        any.downcast().ok()
    }
}

impl<T: Send + Sync + 'static> Held for Slot<T> {
    fn body(&self) -> &Bytes {
        &self.body
    }

    fn tags(&self) -> &[String] {
        self.tags.as_deref().unwrap_or_default()
    }

    fn order(&self) -> u64 {
        self.order
    }

    fn value_bytes(&self) -> usize {
        size_of::<T>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry<T: Send + Sync + 'static>(value: T) -> Entry {
        let marks = Marks::new(Sent::now(Clock::Tokio), None);
        Entry::decoded(marks, Bytes::from_static(b"1"), value)
    }

    #[test]
    fn a_value_is_shared_with_its_own_type_only() {
        let entry = entry(7u64);
        let (one, other) = (
            entry.slot.clone().downcast::<u64>(),
            entry.slot.clone().downcast::<u64>(),
        );
        assert!(Arc::ptr_eq(&one.unwrap(), &other.unwrap()));
        assert!(entry.holds::<u64>() && !entry.holds::<u32>() && entry.slot.downcast::<u32>().is_none());
        assert!(
            Entry::new(Moment::default(), "1")
                .slot
                .downcast::<u64>()
                .is_none()
        );
    }

    /// Proves: 6, S7.
    #[test]
    fn the_later_request_is_newer_even_within_one_moment() {
        let (first, second) = (entry(1), entry(2));
        assert!(second.is_newer_than(&first) && !first.is_newer_than(&second));
    }

    #[test]
    fn an_entry_is_itself_however_often_it_is_made_anew_from_what_a_store_kept() {
        let entry = |nanos, body| Entry::new(Moment::from_nanos(nanos), body);
        assert!(entry(1, "1").is(&entry(1, "1")));
        assert!(!entry(1, "1").is(&entry(2, "1")) && !entry(1, "1").is(&entry(1, "2")));
    }

    /// Proves: 41.
    #[test]
    fn what_lies_ahead_is_told_apart_at_a_second_and_a_minute() {
        let entry = Entry::new(Moment::from_nanos(100_000_000_000), "1");
        let ahead = |nanos| entry.ahead(Moment::from_nanos(nanos));
        assert_eq!((ahead(u64::MAX), ahead(100_000_000_000)), (Ahead::No, Ahead::No));
        assert_eq!(
            (ahead(99_000_000_000), ahead(98_999_999_999)),
            (Ahead::No, Ahead::Skewed)
        );
        assert_eq!(
            (ahead(40_000_000_000), ahead(39_999_999_999)),
            (Ahead::Skewed, Ahead::Beyond)
        );
    }

    /// Proves: 42, S8.
    #[test]
    fn what_a_store_kept_of_its_marks_is_back() {
        let entry = Entry::new(Moment::from_nanos(5), "1");
        assert!(entry.fresh_for().is_none() && entry.tags().is_empty());
        let marked = entry.clone().marked(Some(Duration::from_secs(3)), ["a", "b"]);
        assert_eq!(
            (marked.fresh_for(), marked.tags()),
            (Some(Duration::from_secs(3)), &["a".into(), "b".into()][..])
        );
        assert!(marked.is(&entry) && !marked.is_newer_than(&entry));
        assert_eq!(marked.weight() - entry.weight(), 2 * (size_of::<String>() + 1));
        let longest = entry.marked(Some(Duration::MAX), [""; 0]);
        assert_eq!(longest.fresh_for(), Some(Duration::from_nanos(UNSAID - 1)));
    }

    #[test]
    fn ages_saturate() {
        let entry = Entry::new(Moment::from_nanos(5), "1");
        assert_eq!(entry.age(Moment::from_nanos(3)), Duration::ZERO);
        assert_eq!(entry.age(Moment::from_nanos(9)), Duration::from_nanos(4));
    }
}
