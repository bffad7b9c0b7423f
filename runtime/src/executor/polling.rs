//! Whether a worker looks for events for a while before it sleeps, and for how long.
//!
//! A thread that sleeps in `epoll_wait` pays the scheduler's wake-up with the next message, and on a virtual machine that is
//! most of the round trip. So a worker that has run dry polls for a *window* before it sleeps, and learns its length as
//! hypervisors do for idle CPUs (halt polling):
//!
//! | a sleep that lasted | makes the window |
//! |---|---|
//! | no longer than the longest window | twice as long, up to the longest: polling would have been sooner |
//! | longer | nothing: the next one will most likely be as long |
//!
//! An idle process thus polls once, and then sleeps. While a worker polls it is *running* to everybody else, so a wake-up costs
//! whoever wakes it no system call, and between two looks at its reactor it fires timers and looks whether it was notified
//! and whether anything was injected.
//!
//! What others need comes first:
//!
//! * Every 2 µs the worker gives its CPU away (`sched_yield`). If it does not get it back soon, somebody computes there, and
//!   it does not poll for a while ([`super::contention`]).
//! * At most as many workers poll as leave one CPU to everybody else ([`Pollers`]), though one may always.
//! * On a machine with one CPU nobody polls, nor under a CPU quota (cgroup), where the time would be missing later.

use std::cell::Cell;
use std::num::NonZeroUsize;
use std::thread::available_parallelism;
use std::time::Duration;

use crate::sys::cpus;
use crate::util::cache_padded::CachePadded;
use crate::util::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// Whether workers look for events for a while before they sleep; see [`Builder::busy_poll`](crate::Builder::busy_poll).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum BusyPoll {
    /// Never. A worker that has nothing to do sleeps at once.
    Off,
    /// For as long as has paid of late, and never longer than this.
    Adaptive(Duration),
    /// All the time: a worker never sleeps, and takes a whole CPU.
    Always,
}

impl Default for BusyPoll {
    /// [`Adaptive`](Self::Adaptive), for 50 µs at most.
    fn default() -> Self {
        Self::Adaptive(Duration::from_micros(50))
    }
}

/// What one worker has learnt.
#[derive(Debug)]
pub(super) struct Polling {
    mode: BusyPoll,
    window: Cell<Duration>,
}

impl Polling {
    pub(super) fn new(mode: BusyPoll) -> Self {
        Self {
            mode,
            window: Cell::new(Duration::ZERO),
        }
    }

    /// For how long to poll before the next sleep, if at all.
    #[inline]
    pub(super) fn window(&self) -> Option<Duration> {
        match self.mode {
            BusyPoll::Off => None,
            BusyPoll::Adaptive(_) => Some(self.window.get()).filter(|window| !window.is_zero()),
            BusyPoll::Always => Some(ROUND),
        }
    }

    pub(super) fn never_sleeps(&self) -> bool {
        self.mode == BusyPoll::Always
    }

    /// The worker has slept until `now`.
    pub(super) fn note_sleep(&self, slept: Duration) {
        let BusyPoll::Adaptive(window_max) = self.mode else {
            return;
        };
        self.window.set(if slept <= window_max {
            (self.window.get() * 2).clamp(WINDOW_MIN.min(window_max), window_max)
        } else {
            Duration::ZERO
        });
    }
}

/// How many workers of a runtime poll at a time.
#[derive(Debug)]
pub(super) struct Pollers {
    count: CachePadded<AtomicUsize>,
    max: usize,
}

impl Pollers {
    /// As many as there are CPUs to spare for it, on this machine and now.
    pub(super) fn new(mode: BusyPoll) -> Self {
        let max = match mode {
            BusyPoll::Off => 0,
            BusyPoll::Adaptive(_) if cpus::online_count() == 1 || cpus::have_quota() => 0,
            BusyPoll::Adaptive(_) => {
                let allowed = available_parallelism().map_or(1, NonZeroUsize::get);
                (allowed - 1).max(1)
            }
            BusyPoll::Always => usize::MAX,
        };
        Self {
            count: CachePadded(AtomicUsize::new(0)),
            max,
        }
    }

    /// One more, until the result is dropped. `None`: there are enough.
    pub(super) fn enter(&self) -> Option<Poller<'_>> {
        // Relaxed: a limit, and nothing is published with it.
        if self.count.fetch_add(1, Relaxed) < self.max {
            return Some(Poller(self));
        }
        self.count.fetch_sub(1, Relaxed);
        None
    }
}

/// One of them.
#[derive(Debug)]
pub(super) struct Poller<'a>(&'a Pollers);

impl Drop for Poller<'_> {
    fn drop(&mut self) {
        self.0.count.fetch_sub(1, Relaxed);
    }
}

/// The first window: what a message takes that is under way already.
const WINDOW_MIN: Duration = Duration::from_micros(10);

/// How long one who never sleeps polls before it looks at everything again.
const ROUND: Duration = Duration::from_micros(50);

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    const US: Duration = Duration::from_micros(1);

    #[test]
    fn the_window_grows_with_short_sleeps_and_a_long_one_closes_it() {
        let polling = Polling::new(BusyPoll::Adaptive(US * 50));
        assert_eq!(polling.window(), None);
        let windows = [30, 30, 30, 50, 51, 7].map(|slept| {
            polling.note_sleep(US * slept);
            polling.window()
        });
        let expected = [10, 20, 40, 50, 0, 10].map(|us| Some(US * us).filter(|us| !us.is_zero()));
        assert_eq!(windows, expected);
    }

    #[test]
    fn a_longest_window_below_the_first_one_is_kept_to() {
        let polling = Polling::new(BusyPoll::Adaptive(US * 3));
        polling.note_sleep(US * 2);
        assert_eq!(polling.window(), Some(US * 3));
        let none = Polling::new(BusyPoll::Adaptive(Duration::ZERO));
        none.note_sleep(Duration::ZERO);
        assert_eq!(none.window(), None);
    }

    #[test]
    fn no_more_than_the_limit_poll_at_a_time() {
        let pollers = Pollers::new(BusyPoll::Always);
        assert!(
            (0..100)
                .map(|_| pollers.enter())
                .all(|poller| poller.is_some())
        );
        assert!(Pollers::new(BusyPoll::Off).enter().is_none());
        let one = Pollers {
            max: 1,
            ..Pollers::new(BusyPoll::Off)
        };
        let first = one.enter();
        assert!(first.is_some() && one.enter().is_none());
        drop(first);
        assert!(one.enter().is_some());
    }
}
