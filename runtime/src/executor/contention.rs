//! Whether somebody computes on the CPU of a worker.
//!
//! Before it sleeps, a worker gives its CPU away (`Worker::give_way`, and while it polls), so that those who send and receive
//! there go first. They keep it for microseconds. Somebody who computes keeps it until the scheduler's time slice ends, and
//! then neither giving way nor polling pays: the worker does neither for a while, which doubles each time it happens again and
//! is halved each time it does not.
//!
//! Measured with a thread that computes on each of two CPUs, two workers and their load there as well, in short runs that vary much,
//! against tokio, which never gives way: with 8 connections a worker that forgot after 10 ms had 0.28 times the throughput, and as
//! it is now 0.99 times; with 1 and 64 connections it has 0.46 and 0.77 times.

use std::cell::Cell;
use std::time::Duration;

/// What one worker knows.
#[derive(Debug)]
pub(super) struct Contention {
    /// Until when it takes its CPU for contended.
    until: Cell<Duration>,
    /// For how long it would after the next time.
    remembered: Cell<Duration>,
}

impl Contention {
    pub(super) fn new() -> Self {
        Self {
            until: Cell::new(Duration::ZERO),
            remembered: Cell::new(REMEMBERED_MIN),
        }
    }

    /// Whether somebody is known to compute there at `now`.
    #[inline]
    pub(super) fn is_known(&self, now: Duration) -> bool {
        now < self.until.get()
    }

    /// The worker gave its CPU away at `since` and had it again at `back`. Whether that was soon.
    pub(super) fn note_way_given(&self, since: Duration, back: Duration) -> bool {
        let away = back.saturating_sub(since);
        let remembered = self.remembered.get();
        let next = if away >= SLICE {
            self.until.set(back + remembered);
            remembered * 2
        } else if away < SOON {
            remembered / 2
        } else {
            remembered // it may have been either
        };
        self.remembered
            .set(next.clamp(REMEMBERED_MIN, REMEMBERED_MAX));
        away < SOON
    }
}

/// Those who send messages keep a CPU no longer than this, most of the time.
const SOON: Duration = Duration::from_micros(500);

/// Never so long: by then it is the scheduler's time slice that ended.
const SLICE: Duration = Duration::from_millis(2);

/// After the first time.
const REMEMBERED_MIN: Duration = Duration::from_millis(10);

/// After many times in a row: a slice of some milliseconds is lost in it.
const REMEMBERED_MAX: Duration = Duration::from_secs(1);

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn who_computes_on_the_cpu_is_remembered_for_longer_each_time() {
        let contention = Contention::new();
        let mut now = Duration::from_secs(9);
        for remembered in [10, 20, 40, 80, 160, 320, 640, 1000, 1000] {
            assert!(!contention.is_known(now));
            let back = now + SLICE;
            assert!(!contention.note_way_given(now, back));
            now = back + MS * remembered;
            assert!(contention.is_known(now - MS));
        }
        for _ in 0..7 {
            assert!(contention.note_way_given(now, now + SOON / 2));
            assert!(!contention.is_known(now));
        }
        assert!(!contention.note_way_given(now, now + SLICE));
        assert!(!contention.is_known(now + SLICE + REMEMBERED_MIN));
    }
}
