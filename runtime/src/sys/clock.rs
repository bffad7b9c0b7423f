//! The monotonic clock, the only one this crate reads.
//!
//! `CLOCK_MONOTONIC` never goes backwards and does not count the time a machine is suspended. It is read in user space
//! (vDSO), some 20 ns, without a system call. Its zero is arbitrary: only differences mean something.
#![expect(unsafe_code, reason = "reads the clock through libc")]

use std::time::Duration;

/// The time since the clock's arbitrary zero.
#[inline]
pub(crate) fn now() -> Duration {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: `time` is a timespec of ours that lives through the call.
    let result = unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut time) };
    debug_assert_eq!(result, 0, "every kernel has CLOCK_MONOTONIC");
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

/// A moment up to which somebody waits; it may be never.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Deadline(Option<Duration>);

impl Deadline {
    /// `limit` from now.
    pub(crate) fn after(limit: Duration) -> Self {
        Self(now().checked_add(limit))
    }

    /// How long it is until then: nothing when it has passed, [`Duration::MAX`] when it is never.
    pub(crate) fn remaining(self) -> Duration {
        match self.0 {
            Some(at) => at.saturating_sub(now()),
            None => Duration::MAX,
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn a_deadline_passes_and_the_farthest_never_does() {
        assert_eq!(Deadline::after(Duration::ZERO).remaining(), Duration::ZERO);
        let hour = Duration::from_secs(3600);
        let remaining = Deadline::after(hour).remaining();
        assert!(hour / 2 < remaining && remaining <= hour);
        assert_eq!(Deadline::after(Duration::MAX).remaining(), Duration::MAX);
    }

    #[test]
    fn it_never_goes_back() {
        let mut before = now();
        for _ in 0..10_000 {
            let after = now();
            assert!(before <= after);
            before = after;
        }
    }
}
