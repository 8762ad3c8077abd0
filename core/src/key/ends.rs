//! Short keys in two blocks of 16 bytes, which overlap: as most keys are, and as processors like them.

/// The first and the last 16 bytes of 16 to 32: together, all of them.
pub(crate) struct Ends<'a> {
    pub(crate) first: &'a [u8; 16],
    pub(crate) last: &'a [u8; 16],
}

impl<'a> Ends<'a> {
    #[inline(always)]
    pub(crate) fn of(bytes: &'a [u8]) -> Option<Self> {
        if bytes.len() > 32 {
            return None;
        }
        let (first, last) = (bytes.first_chunk()?, bytes.last_chunk()?);
        Some(Self { first, last })
    }
}
