//! The name under which epoll reports a source: which slot of the reactor, and which use of that slot.
//!
//! ```text
//!  63        32 31         0
//! ┌────────────┬────────────┐
//! │ generation │ index      │
//! └────────────┴────────────┘
//! ```
//!
//! A generation is never 0, so a word below 2³² is no token: the reactor's own eventfd lives there.

/// Slot and generation of one registered source.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub(crate) struct Token {
    pub(crate) index: u32,
    pub(crate) generation: u32,
}

impl Token {
    #[inline]
    pub(crate) fn pack(self) -> u64 {
        u64::from(self.generation) << 32 | u64::from(self.index)
    }

    /// The token in `word`, unless it is a word below the tokens.
    #[inline]
    pub(crate) fn unpack(word: u64) -> Option<Self> {
        let (generation, index) = ((word >> 32) as u32, word as u32);
        (generation != 0).then_some(Self { index, generation })
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn a_token_survives_packing_and_small_words_are_none() {
        for token in [
            Token {
                generation: 1,
                index: 0,
            },
            Token {
                generation: u32::MAX,
                index: u32::MAX,
            },
            Token {
                generation: 77,
                index: 123_456,
            },
        ] {
            assert_eq!(Token::unpack(token.pack()), Some(token));
        }
        assert_eq!(Token::unpack(u64::from(u32::MAX)), None);
    }
}
