//! What a connection sends: bytes that tell where in which connection they belong.
//!
//! Word `n` of eight bytes is `base + n × step`, with an odd step and a base of its own for each connection. So no word
//! comes twice in a connection, none is where another connection has it (but by a chance of one in billions), and bytes
//! that were lost, doubled, changed, mixed up or sent to the wrong connection are seen at the first of them or within the
//! next few. It costs an addition for eight bytes: next to nothing beside the system call that carries them.
//!
//! Both ends of a stretch may lie within a word.

/// The bytes of one connection, from position 0 on.
#[derive(Clone, Copy)]
pub(super) struct Pattern {
    base: u64,
}

impl Pattern {
    /// The one of connection number `index`.
    pub(super) fn of(index: u64) -> Self {
        // Spread, so that bases are not a small multiple of the step apart.
        let spread = (index + 1).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        Self {
            base: (spread ^ (spread >> 29)).wrapping_mul(0x94d0_49bb_1331_11eb),
        }
    }

    /// Writes the bytes from `position` on into `buffer`.
    pub(super) fn fill(self, position: u64, buffer: &mut [u8]) {
        let (head, rest) = buffer.split_at_mut(until_word(position, buffer.len()));
        self.partial(position, head.len())
            .zip(head.iter_mut())
            .for_each(|(byte, place)| *place = byte);
        let mut at = position + head.len() as u64;
        let mut word = self.word(at);
        let mut places = rest.chunks_exact_mut(8);
        for place in &mut places {
            place.copy_from_slice(&word.to_le_bytes());
            word = word.wrapping_add(STEP);
            at += 8;
        }
        let tail = places.into_remainder();
        self.partial(at, tail.len())
            .zip(tail)
            .for_each(|(byte, place)| *place = byte);
    }

    /// The position of the first of `bytes`, which should be those from `position` on, that is another one.
    pub(super) fn first_difference(self, position: u64, bytes: &[u8]) -> Option<u64> {
        let (head, rest) = bytes.split_at(until_word(position, bytes.len()));
        let middle = position + head.len() as u64;
        let (words, tail) = rest.split_at(rest.len() / 8 * 8);
        let mut word = self.word(middle);
        // All of them without a branch on the way, which the compiler does several at a time.
        let difference = words.chunks_exact(8).fold(0, |difference, bytes| {
            let found = u64::from_le_bytes(bytes.try_into().expect("eight bytes"));
            let difference = difference | (found ^ word);
            word = word.wrapping_add(STEP);
            difference
        });
        let end = middle + words.len() as u64;
        let is_equal = difference == 0
            && self.partial(position, head.len()).eq(head.iter().copied())
            && self.partial(end, tail.len()).eq(tail.iter().copied());
        if is_equal {
            return None;
        }
        let mut expected = vec![0; bytes.len()];
        self.fill(position, &mut expected);
        let offset = expected.iter().zip(bytes).position(|(a, b)| a != b);
        offset.map(|offset| position + offset as u64)
    }

    /// The bytes from `position` on, of which all lie in one word.
    fn partial(self, position: u64, len: usize) -> impl Iterator<Item = u8> {
        let within = (position % 8) as usize;
        let bytes = self.word(position).to_le_bytes();
        bytes.into_iter().skip(within).take(len)
    }

    /// The word that `position` lies in.
    fn word(self, position: u64) -> u64 {
        self.base.wrapping_add((position / 8).wrapping_mul(STEP))
    }
}

/// How many of `len` bytes from `position` on come before the next word.
fn until_word(position: u64, len: usize) -> usize {
    len.min((position.wrapping_neg() % 8) as usize)
}

/// Odd, and its bits are in no order.
const STEP: u64 = 0x9e37_79b9_7f4a_7c15;

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(pattern: Pattern, position: u64, len: usize) -> Vec<u8> {
        let mut buffer = vec![0; len];
        pattern.fill(position, &mut buffer);
        buffer
    }

    #[test]
    fn every_stretch_is_cut_from_the_same_row() {
        let pattern = Pattern::of(3);
        let whole = bytes(pattern, 0, 100);
        for from in 0..40 {
            for to in from..60 {
                let cut = bytes(pattern, from as u64, to - from);
                assert_eq!(cut, whole[from..to], "{from}..{to}");
                assert_eq!(pattern.first_difference(from as u64, &cut), None);
            }
        }
    }

    #[test]
    fn every_changed_byte_is_found_where_it_is() {
        let pattern = Pattern::of(0);
        for from in 0..9 {
            for len in 1..40 {
                for changed in 0..len {
                    let mut bytes = bytes(pattern, from, len);
                    bytes[changed] ^= 0x10;
                    let found = pattern.first_difference(from, &bytes);
                    assert_eq!(found, Some(from + changed as u64));
                }
            }
        }
    }

    #[test]
    fn bytes_of_elsewhere_are_not_taken_for_these() {
        let pattern = Pattern::of(7);
        let expected = bytes(pattern, 64, 64);
        for shift in (1..64).chain([128, 4096, 65_536, 1 << 20, 1 << 32]) {
            let moved = bytes(pattern, 64 + shift, 64);
            let found = pattern.first_difference(64, &moved);
            assert!(found.is_some_and(|found| found < 64 + 8), "{shift}");
        }
        for other in (0..10_000).filter(|&other| other != 7) {
            let foreign = bytes(Pattern::of(other), 64, 64);
            assert_ne!(foreign[..16], expected[..16], "of connection {other}");
        }
    }
}
