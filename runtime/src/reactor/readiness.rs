//! What is known of a source's readiness: one word, written by whoever turns the reactor and by the tasks that do the I/O.
//!
//! ```text
//!  63                        8 7     0
//! ┌───────────────────────────┬───────┐
//! │ tick                      │ bits  │
//! └───────────────────────────┴───────┘
//! ```
//!
//! | who | does | by |
//! |---|---|---|
//! | the reactor's turn | [`deliver`](ReadinessWord::deliver): adds bits, counts the tick up | compare-and-swap |
//! | a task after `EAGAIN` or a short read | [`clear`](ReadinessWord::clear): takes away one direction's bit | compare-and-swap that demands the tick it saw **before** the system call |
//!
//! * An event that arrives between a system call and the `clear` after it has counted the tick up, so its bit survives.
//! * Edge-triggered epoll reports a hang-up or an error once. Their bits are latched: `clear` does not touch them.

use crate::util::sync::atomic::{
    AtomicU64,
    Ordering::{AcqRel, Acquire, Relaxed},
};

use crate::sys::epoll::Events;

/// The word of one source.
#[derive(Debug)]
pub(crate) struct ReadinessWord(AtomicU64);

impl Default for ReadinessWord {
    fn default() -> Self {
        Self::new()
    }
}

impl ReadinessWord {
    /// A word that nothing was delivered to.
    pub(crate) fn new() -> Self {
        Self(AtomicU64::new(0))
    }

    #[inline]
    pub(crate) fn load(&self) -> Snapshot {
        Snapshot(self.0.load(Acquire)) // sees what was written before the event was delivered
    }

    /// Adds what an event reported.
    #[inline]
    pub(crate) fn deliver(&self, readiness: Readiness) {
        self.update(|now| {
            Some(Snapshot(
                now.0.wrapping_add(TICK_ONE) | u64::from(readiness.0),
            ))
        });
    }

    /// Takes `readiness` away again, unless something was delivered since `seen`.
    #[inline]
    pub(crate) fn clear(&self, seen: Snapshot, readiness: Readiness) {
        let clearable = u64::from(readiness.0 & Readiness::CLEARABLE.0);
        let cleared = seen.0 & !clearable;
        // A bit that was not there comes with another tick only.
        if cleared != seen.0
            && (self.0)
                .compare_exchange(seen.0, cleared, AcqRel, Relaxed)
                .is_err()
        {
            self.clear_changed(seen, clearable);
        }
    }

    /// The word has changed since `seen`: by another `clear` or the end of the runtime perhaps, which count no tick.
    #[cold]
    fn clear_changed(&self, seen: Snapshot, clearable: u64) {
        self.update(|now| {
            let wanted = now.0 >> TICK_SHIFT == seen.0 >> TICK_SHIFT && now.0 & clearable != 0;
            wanted.then_some(Snapshot(now.0 & !clearable))
        });
    }

    /// Marks the source as belonging to a runtime that is gone.
    pub(crate) fn close(&self) {
        self.0.fetch_or(u64::from(Readiness::SHUT_DOWN.0), AcqRel);
    }

    #[inline]
    fn update(&self, change: impl Fn(Snapshot) -> Option<Snapshot>) {
        let mut now = self.0.load(Relaxed); // only a guess: the exchange decides
        while let Some(next) = change(Snapshot(now)) {
            // Publishes what was seen before, and sees what the other side published.
            match self.0.compare_exchange_weak(now, next.0, AcqRel, Relaxed) {
                Ok(_) => return,
                Err(actual) => now = actual,
            }
        }
    }
}

/// The word at one moment.
#[derive(Copy, Clone, Debug)]
pub(crate) struct Snapshot(u64);

impl Snapshot {
    #[inline]
    pub(crate) fn readiness(self) -> Readiness {
        Readiness(self.0 as u8)
    }
}

/// What has been observed of a source: a set of bits.
#[derive(Copy, Clone, PartialEq, Eq)]
pub(crate) struct Readiness(u8);

impl Readiness {
    /// Nothing.
    pub(crate) const NONE: Self = Self(0);
    /// A read will not give `EAGAIN`: data, end of stream, hang-up or error.
    pub(crate) const READABLE: Self = Self(1);
    /// A write will not give `EAGAIN`: room, hang-up or error. As READABLE, the bit that epoll has for it, which saves the
    /// translation.
    pub(crate) const WRITABLE: Self = Self(1 << 2);
    /// The peer will send nothing more. Latched.
    pub(crate) const READ_CLOSED: Self = Self(1 << 1);
    /// Both directions are closed, or the source is in error. Latched.
    pub(crate) const HUNG_UP: Self = Self(1 << 3);
    /// The runtime of this reactor has shut down. Latched.
    pub(crate) const SHUT_DOWN: Self = Self(1 << 4);

    /// Out-of-band data has come. A read stops at its mark, so from now on a short one proves nothing. Latched.
    pub(crate) const URGENT: Self = Self(1 << 5);

    const CLEARABLE: Self = Self(Self::READABLE.0 | Self::WRITABLE.0);

    /// What an epoll event says. A half-closed peer (`RDHUP`) makes a source readable, not writable: a writer that
    /// took it for room would spin on a full send buffer.
    #[inline]
    pub(crate) fn from_events(events: Events) -> Self {
        let any = |wanted: Events| events.intersects(wanted);
        let mut readiness = 0;
        if any(Events::READABLE) {
            readiness |= Self::READABLE.0;
        }
        if any(Events::WRITABLE) {
            readiness |= Self::WRITABLE.0;
        }
        if any(Events::READ_HANG_UP | Events::HANG_UP | Events::ERROR | Events::PRIORITY) {
            readiness |= Self::from_exceptions(events).0;
        }
        Self(readiness)
    }

    #[cold]
    fn from_exceptions(events: Events) -> Self {
        let mut readiness = Self::NONE;
        if events.intersects(Events::PRIORITY) {
            readiness = readiness | Self::URGENT;
        }
        if events.intersects(Events::READ_HANG_UP | Events::HANG_UP) {
            readiness = readiness | Self::READABLE | Self::READ_CLOSED;
        }
        if events.intersects(Events::HANG_UP | Events::ERROR) {
            readiness = readiness | Self::READABLE | Self::WRITABLE | Self::HUNG_UP;
        }
        readiness
    }

    #[inline]
    pub(super) const fn from_bits(bits: u8) -> Self {
        Self(bits)
    }

    #[inline]
    pub(crate) const fn bits(self) -> u8 {
        self.0
    }

    #[inline]
    pub(crate) fn intersects(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }
}

impl std::ops::BitOr for Readiness {
    type Output = Self;

    #[inline]
    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

impl std::fmt::Debug for Readiness {
    #[inline]
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let names = [
            (Self::READABLE, "readable"),
            (Self::WRITABLE, "writable"),
            (Self::READ_CLOSED, "read-closed"),
            (Self::HUNG_UP, "hung-up"),
            (Self::SHUT_DOWN, "shut-down"),
            (Self::URGENT, "urgent"),
        ];
        f.debug_set()
            .entries(
                names
                    .iter()
                    .filter(|(bit, _)| self.intersects(*bit))
                    .map(|(_, name)| name),
            )
            .finish()
    }
}

const TICK_SHIFT: u32 = 8;
const TICK_ONE: u64 = 1 << TICK_SHIFT;

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn clear_takes_one_direction_and_leaves_what_is_latched() {
        let word = ReadinessWord::new();
        word.deliver(Readiness::from_events(
            Events::READABLE | Events::WRITABLE | Events::READ_HANG_UP,
        ));
        word.clear(word.load(), Readiness::READABLE | Readiness::READ_CLOSED);
        assert_eq!(
            word.load().readiness(),
            Readiness::WRITABLE | Readiness::READ_CLOSED
        );
    }

    #[test]
    fn an_event_between_the_look_and_the_clear_survives() {
        let word = ReadinessWord::new();
        word.deliver(Readiness::READABLE);
        let seen = word.load();
        word.deliver(Readiness::READABLE);
        word.clear(seen, Readiness::READABLE);
        assert_eq!(word.load().readiness(), Readiness::READABLE);
    }

    #[test]
    fn the_tick_comes_round_without_touching_the_bits() {
        let word = ReadinessWord(AtomicU64::new(u64::MAX << TICK_SHIFT));
        word.deliver(Readiness::READABLE);
        assert_eq!(word.load().0, 1);
    }

    #[test]
    fn half_closed_is_not_writable_and_not_hung_up() {
        let half = Readiness::from_events(Events::READABLE | Events::READ_HANG_UP);
        assert_eq!(half, Readiness::READABLE | Readiness::READ_CLOSED);
        let ended = Readiness::from_events(Events::HANG_UP);
        assert!(ended.intersects(Readiness::WRITABLE) && ended.intersects(Readiness::HUNG_UP));
    }
}
