//! The unit of time in which timers are kept.
//!
//! A tick is 2¹⁰ ns: fine enough that rounding is lost in what a system call costs, and a shift away from nanoseconds. 64 bits
//! of it last 599 000 years, so the count does not come round.

use std::time::Duration;

/// A moment, in ticks of 1.024 µs since the clock's zero.
#[derive(Copy, Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct Tick(pub(super) u64);

impl Tick {
    /// The clock's zero.
    pub(crate) const ZERO: Self = Self(0);

    /// Later than every moment: a timer with this deadline does not fire.
    pub(crate) const NEVER: Self = Self(u64::MAX);

    /// The first tick that does not begin before `time`: for deadlines. What is out of range is [`NEVER`](Self::NEVER).
    #[inline]
    pub(crate) fn at_or_after(time: Duration) -> Self {
        Self::saturating(time.as_nanos().div_ceil(TICK_NS))
    }

    /// The last tick that has begun at `time`: for the present. What is out of range is [`NEVER`](Self::NEVER).
    #[inline]
    pub(crate) fn at_or_before(time: Duration) -> Self {
        Self::saturating(time.as_nanos() / TICK_NS)
    }

    /// The first moment of the tick.
    #[inline]
    pub(crate) fn start(self) -> Duration {
        let (periods, rest) = (self.0 / TICKS_PER_2_S, self.0 % TICKS_PER_2_S);
        Duration::from_secs(2 * periods) + Duration::from_nanos(rest * TICK_NS as u64)
    }

    /// How many ticks there are before it.
    #[inline]
    pub(crate) fn count(self) -> u64 {
        self.0
    }

    /// So many ticks later.
    #[inline]
    pub(crate) fn plus(self, ticks: u64) -> Self {
        Self(self.0.saturating_add(ticks))
    }

    /// So many ticks before.
    #[inline]
    pub(crate) fn minus(self, ticks: u64) -> Self {
        Self(self.0.saturating_sub(ticks))
    }

    /// This deadline, or a somewhat later one on which others will fall too.
    ///
    /// Rounds up to a multiple of the largest power of two that is at most 1/128 of the time that is left at `now`, and no
    /// more than a millisecond. So a timer is late by less than 0.8 % of its duration (one of 10 ms by up to 65 µs), one of 134
    /// ms and more by up to 1 ms, and those shorter than 262 µs are left as they are. Of any number of timers of about the same
    /// duration, at most 256 are told apart per such duration, and a thread wakes no more often than that for them: with exact
    /// deadlines every one of a thousand staggered timers would be a wake-up of its own.
    #[inline]
    pub(crate) fn with_slack(self, now: Self) -> Self {
        let left = self.0.saturating_sub(now.0);
        let granule: u64 = 1 << (left / SLACK_FRACTION).clamp(1, SLACK_MAX).ilog2();
        // The next multiple of a power of two, without the division.
        match self.0.checked_add(granule - 1) {
            Some(above) => Self(above & !(granule - 1)),
            None => Self::NEVER,
        }
    }

    /// Whether it is not after `deadline`, and before it by no more than 1/128 of the time that is left at `now`; by nothing where
    /// less than a second is left.
    #[inline]
    pub(crate) fn is_shortly_before(self, deadline: Self, now: Self) -> bool {
        let left = deadline.0.saturating_sub(now.0);
        let margin = if left < FAR { 0 } else { left / SLACK_FRACTION };
        self <= deadline && deadline.0 - self.0 <= margin
    }

    fn saturating(ticks: u128) -> Self {
        u64::try_from(ticks).map_or(Self::NEVER, Self)
    }
}

const TICK_NS: u128 = 1 << 10;

/// Two seconds are a whole number of ticks, and one second is not.
const TICKS_PER_2_S: u64 = 1_953_125;

/// A deadline may move by less than this part of the time that is left …
const SLACK_FRACTION: u64 = 128;

/// … and by less than so many ticks. A thread that wakes a thousand times a second is not helped by fewer.
const SLACK_MAX: u64 = 1 << 10;

/// About a second.
const FAR: u64 = TICKS_PER_2_S / 2;

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    const TICK: Duration = Duration::from_nanos(1 << 10);

    #[test]
    fn a_deadline_rounds_up_and_the_present_rounds_down() {
        for secs in [0, 1, 2, 3, 1 << 20, 1 << 40, 1 << 44] {
            for nanos in [0, 1, 1023, 1024, 1025, 999_999_999] {
                let time = Duration::new(secs, nanos);
                let (up, down) = (Tick::at_or_after(time), Tick::at_or_before(time));
                assert!(up.start() >= time && up.start() - time < TICK, "{time:?}");
                assert!(
                    down.start() <= time && time - down.start() < TICK,
                    "{time:?}"
                );
                assert_eq!(Tick::at_or_after(down.start()), down);
                assert_eq!(Tick::at_or_before(up.start()), up);
            }
        }
    }

    #[test]
    fn what_is_out_of_range_is_never() {
        assert_eq!(Tick::at_or_after(Duration::MAX), Tick::NEVER);
        assert_eq!(Tick::at_or_before(Duration::MAX), Tick::NEVER);
        let last = Tick(u64::MAX - 1).start();
        assert!(Tick::at_or_after(last) < Tick::NEVER);
        assert_eq!(
            Tick::at_or_after(last + Duration::from_nanos(1)),
            Tick::NEVER
        );
        assert_eq!(Tick::at_or_after(Tick::NEVER.start()), Tick::NEVER);
    }

    #[test]
    fn slack_is_never_early_and_less_than_a_128th_of_the_duration() {
        for now in [0, 1, 77, 12_345_678_901] {
            for left in
                (0..63).flat_map(|bit| [(1 << bit) - 1, 1 << bit, (1 << bit) + 1, 5 << bit >> 2])
            {
                let deadline = now + left;
                let moved = Tick(deadline).with_slack(Tick(now)).0;
                assert!(moved >= deadline, "{now} + {left}");
                assert!((moved - deadline) * 128 <= left, "{now} + {left}: {moved}");
            }
        }
        assert_eq!(
            Tick(5).with_slack(Tick(9)),
            Tick(5),
            "a deadline that has passed"
        );
    }

    #[test]
    fn shortly_before_is_within_a_128th_and_never_after() {
        let now = Tick(1 << 40);
        let minute = now.plus(60 * FAR);
        assert!(minute.is_shortly_before(minute, now));
        assert!(minute.minus(60 * FAR / 128).is_shortly_before(minute, now));
        assert!(!(minute.minus(60 * FAR / 128 + 1)).is_shortly_before(minute, now));
        assert!(!minute.plus(1).is_shortly_before(minute, now));
        let soon = now.plus(FAR - 1);
        assert!(soon.is_shortly_before(soon, now));
        assert!(!soon.minus(1).is_shortly_before(soon, now));
        assert!(Tick::NEVER.is_shortly_before(Tick::NEVER, now));
        assert!(!minute.is_shortly_before(Tick::NEVER, now));
        assert!(!Tick::NEVER.is_shortly_before(minute, now));
    }

    #[test]
    fn slack_leaves_short_timers_and_never_alone() {
        for left in 0..256 {
            assert_eq!(Tick(1001 + left).with_slack(Tick(1001)), Tick(1001 + left));
        }
        assert_eq!(Tick::NEVER.with_slack(Tick(0)), Tick::NEVER);
        assert_eq!(Tick::NEVER.with_slack(Tick::NEVER), Tick::NEVER);
        assert_eq!(Tick(u64::MAX - 1).with_slack(Tick(0)), Tick::NEVER);
    }

    #[test]
    fn staggered_timers_of_one_duration_share_their_ends() {
        // Ten milliseconds each, one begun at every tick of ten milliseconds.
        let ends: std::collections::BTreeSet<_> = (0..9_766)
            .map(|now| Tick(now + 9_766).with_slack(Tick(now)))
            .collect();
        assert!(ends.len() <= 256, "{}", ends.len());
    }
}
