//! The canonical order of a map's entries: bytewise by their encoded keys (RFC 8949 section 4.2.1).

use std::cmp::Ordering;

/// Where one map entry stands in the encoder's bytes. Positions fit into 32 bits: there are no more bytes than
/// [`MAX_BYTES`](super::encoder::MAX_BYTES) and one value.
#[derive(Clone, Copy)]
pub(super) struct Span {
    /// The key's first eight bytes, which mostly tell it from the others without looking at it.
    pub(super) prefix: u64,
    pub(super) start: u32,
    pub(super) key_end: u32,
    pub(super) end: u32,
}

impl Span {
    fn key<'a>(&self, bytes: &'a [u8]) -> &'a [u8] {
        &bytes[self.start as usize..self.key_end as usize]
    }

    pub(super) fn entry<'a>(&self, bytes: &'a [u8]) -> &'a [u8] {
        &bytes[self.start as usize..self.end as usize]
    }

    #[inline]
    pub(super) fn order(&self, other: &Self, bytes: &[u8]) -> Ordering {
        match self.prefix.cmp(&other.prefix) {
            Ordering::Equal => self.order_in_full(other, bytes),
            order => order,
        }
    }

    #[cold]
    #[inline(never)]
    fn order_in_full(&self, other: &Self, bytes: &[u8]) -> Ordering {
        self.key(bytes).cmp(other.key(bytes))
    }
}

/// The first eight bytes as a number that sorts as they do; shorter keys are padded with zeros.
#[inline]
pub(super) fn prefix(key: &[u8]) -> u64 {
    let word = |at: usize| {
        let word = key[at..].first_chunk().copied();
        u64::from(word.map_or(0, u32::from_be_bytes))
    };
    match (key.first_chunk(), key.len()) {
        (Some(first), _) => u64::from_be_bytes(*first),
        // The two words overlap in the same bytes.
        (None, len @ 4..) => word(0) << 32 | word(len - 4) << (8 * (8 - len)),
        (None, _) => key
            .iter()
            .zip([56, 48, 40])
            .fold(0, |all, (byte, place)| all | u64::from(*byte) << place),
    }
}

/// The same of a text of less than 24 bytes behind its head; a constant, where the text is one.
#[inline(always)]
pub(super) fn text_prefix(head: u8, text: &str) -> u64 {
    let text = text.as_bytes();
    let mut prefix = u64::from(head) << 56;
    let mut at = 0;
    while at < 7 && at < text.len() {
        prefix |= u64::from(text[at]) << (48 - 8 * at);
        at += 1;
    }
    prefix
}

/// Sorts entries by their keys. Says whether two of them are the same.
pub(super) fn sort(entries: &mut [Span], bytes: &[u8]) -> bool {
    /// For so few, moving each to its place is the fastest.
    const FEW: usize = 16;
    if entries.len() > FEW {
        entries.sort_unstable_by(|a, b| a.order(b, bytes));
        return entries
            .windows(2)
            .any(|pair| pair[0].order(&pair[1], bytes).is_eq());
    }
    for next in 1..entries.len() {
        let entry = entries[next];
        let mut place = next;
        while place > 0 {
            match entries[place - 1].order(&entry, bytes) {
                Ordering::Less => break,
                Ordering::Equal => return true,
                Ordering::Greater => entries[place] = entries[place - 1],
            }
            place -= 1;
        }
        entries[place] = entry;
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_sorts_as_its_bytes_do() {
        let of = |len: u8, bytes: Vec<u8>| [vec![0x60 | len], bytes].concat();
        let keys: Vec<Vec<u8>> = (0..=9u8)
            .flat_map(|len| {
                let (up, down) = ((1..=len).collect(), (1..=len).rev().collect());
                let same = [0, 1, 0x7f, 0xff].map(|byte| of(len, vec![byte; len.into()]));
                same.into_iter().chain([of(len, up), of(len, down)])
            })
            .collect();
        for (a, b) in keys.iter().flat_map(|a| keys.iter().map(move |b| (a, b))) {
            let (first_a, first_b) = (&a[..a.len().min(8)], &b[..b.len().min(8)]);
            assert_eq!(prefix(a).cmp(&prefix(b)), first_a.cmp(first_b), "{a:?} {b:?}");
        }
    }

    #[test]
    fn a_texts_prefix_is_that_of_its_encoding() {
        for length in 0..24 {
            let text = &"abcdefghijklmnopqrstuvwxyz"[..length];
            let head = 0x60 | length as u8;
            let encoded = [&[head], text.as_bytes()].concat();
            assert_eq!(text_prefix(head, text), prefix(&encoded), "{text}");
        }
    }
}
