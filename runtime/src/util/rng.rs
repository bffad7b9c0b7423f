//! A small seeded generator for decisions that want to be spread, not secret: where stealing begins, jitter.

use std::cell::Cell;

/// Xorshift with 64 bits of state (Marsaglia, "Xorshift RNGs", 2003). Not for anything an attacker may guess.
#[derive(Debug)]
pub(crate) struct Rng(Cell<u64>);

impl Rng {
    /// A generator whose sequence is decided by `seed`.
    pub(crate) fn new(seed: u64) -> Self {
        // The state must not be zero, and neighbouring seeds should not give neighbouring first values.
        Self(Cell::new(
            seed.wrapping_add(1).wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1,
        ))
    }

    /// The next value below `bound`, which must not be zero.
    pub(crate) fn below(&self, bound: usize) -> usize {
        let mut x = self.0.get();
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        self.0.set(x);
        // The high half of a product spreads over `0..bound` without a division.
        ((u128::from(x) * bound as u128) >> 64) as usize
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::Rng;

    #[test]
    fn the_same_seed_gives_the_same_sequence_and_every_value_is_reached() {
        let (a, b) = (Rng::new(7), Rng::new(7));
        let mut seen = [0; 5];
        for _ in 0..1000 {
            let value = a.below(5);
            assert_eq!(value, b.below(5));
            seen[value] += 1;
        }
        assert!(seen.iter().all(|&count| count > 100), "{seen:?}");
    }
}
