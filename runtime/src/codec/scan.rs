//! Finding what ends a frame, looking at each byte once.

use std::sync::Arc;

/// The place of the first `byte` in `bytes`.
///
/// By blocks, for which the compiler has vector instructions, until one contains it.
#[inline]
pub(super) fn find_byte(byte: u8, bytes: &[u8]) -> Option<usize> {
    let (blocks, _) = bytes.as_chunks::<BLOCK_BYTES>();
    let is_in = |block: &[u8; BLOCK_BYTES]| block.iter().fold(false, |any, b| any | (*b == byte));
    let skipped = BLOCK_BYTES * blocks.iter().take_while(|block| !is_in(block)).count();
    let at = bytes[skipped..].iter().position(|b| *b == byte)?;
    Some(skipped + at)
}

/// A row of bytes to look for, prepared for the algorithm of Knuth, Morris and Pratt: whatever the bytes are, and in
/// whatever pieces they come, none is looked at twice.
#[derive(Debug)]
pub(super) struct Needle {
    bytes: Box<[u8]>,
    /// Of the first `n + 1` bytes: the length of the longest end that is also a beginning, and not the whole.
    borders: Box<[usize]>,
}

impl Needle {
    #[inline]
    pub(super) fn new(bytes: &[u8]) -> Arc<Self> {
        let mut borders = vec![0; bytes.len()];
        for at in 1..bytes.len() {
            let mut border: usize = borders[at - 1];
            while border > 0 && bytes[border] != bytes[at] {
                border = borders[border - 1];
            }
            borders[at] = border + usize::from(bytes[border] == bytes[at]);
        }
        Arc::new(Self {
            bytes: bytes.into(),
            borders: borders.into(),
        })
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}

/// A search for a [`Needle`] in bytes that come in pieces.
#[derive(Copy, Clone, Debug, Default)]
pub(super) struct Search {
    /// How many bytes have been looked at.
    scanned: usize,
    /// How many of the needle's bytes the last ones are.
    matched: usize,
}

impl Search {
    /// How many bytes stand before the first place at which the needle can still be.
    pub(super) fn ruled_out(self) -> usize {
        self.scanned - self.matched
    }

    /// Goes on in `bytes`, which begins with what it was called with before, and returns where the needle begins.
    #[inline]
    pub(super) fn find(&mut self, needle: &Needle, bytes: &[u8]) -> Option<usize> {
        let Needle {
            bytes: sought,
            borders,
        } = needle;
        while self.scanned < bytes.len() {
            if self.matched == 0 {
                match find_byte(sought[0], &bytes[self.scanned..]) {
                    Some(skipped) => self.scanned += skipped,
                    None => {
                        self.scanned = bytes.len();
                        return None;
                    }
                }
            }
            let byte = bytes[self.scanned];
            while self.matched > 0 && sought[self.matched] != byte {
                self.matched = borders[self.matched - 1];
            }
            self.matched += usize::from(sought[self.matched] == byte);
            self.scanned += 1;
            if self.matched == sought.len() {
                return Some(self.scanned - self.matched);
            }
        }
        None
    }
}

const BLOCK_BYTES: usize = 32;

#[cfg(all(test, not(loom)))]
mod tests {
    use super::{Needle, Search, find_byte};
    use crate::util::rng::Rng;

    #[test]
    fn a_byte_is_found_at_every_place() {
        for len in 0..100 {
            assert_eq!(find_byte(1, &vec![0; len]), None);
            for at in 0..len {
                let mut bytes = vec![0; len];
                bytes[at..].fill(1);
                assert_eq!(find_byte(1, &bytes), Some(at));
            }
        }
    }

    #[test]
    fn a_needle_is_found_where_a_naive_search_finds_it_whatever_the_pieces() {
        let rng = Rng::new(5);
        for _ in 0..20_000 {
            let letters = |max| -> Vec<u8> {
                let len = rng.below(max);
                (0..len).map(|_| b'a' + rng.below(2) as u8).collect()
            };
            let (mut sought, text) = (letters(6), letters(40));
            sought.push(b'a');
            let found = text
                .windows(sought.len())
                .position(|window| window == sought);
            let needle = Needle::new(&sought);
            let mut search = Search::default();
            let mut seen = 0;
            let by_pieces = loop {
                if let Some(at) = search.find(&needle, &text[..seen]) {
                    break Some(at);
                }
                assert!(found.is_none_or(|at| search.ruled_out() <= at));
                if seen == text.len() {
                    break None;
                }
                seen += 1 + rng.below(text.len() - seen);
            };
            assert_eq!(by_pieces, found, "{sought:?} in {text:?}");
        }
    }
}
