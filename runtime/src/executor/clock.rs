//! The time that timers and their users go by: the system's, or one that stands still until somebody moves it.
//!
//! Everything that keeps a worker responsive (visits, looks at siblings, polls) goes by the system's clock all the same.

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use super::context;
use super::worker::Worker;
use crate::sys::clock;
use crate::util::sync::Mutex;

/// The present for this thread: that of its runtime, or the system's.
#[inline]
pub(crate) fn now() -> Duration {
    match VIRTUAL_CLOCKS_COUNT.load(Relaxed) {
        0 => clock::now(), // nearly always, and without a look at the thread's context
        _ => now_in_context(),
    }
}

/// The present, as somebody who waits for `deadline` must know it: where that is more than a second after this worker last
/// visited its reactor, the moment of the visit will do. Only in a poll that has taken a second can it have passed since.
///
/// To read the clock is a third of what a timer costs that is taken back before it fires.
#[inline]
pub(crate) fn now_before(deadline: Duration) -> Duration {
    match context::with_worker(Worker::visited_at).flatten() {
        Some(visit) if deadline > visit + FAR && VIRTUAL_CLOCKS_COUNT.load(Relaxed) == 0 => visit,
        _ => now(),
    }
}

#[cold]
fn now_in_context() -> Duration {
    match context::current() {
        Some(context) => context.home().shared.clock.now(),
        None => clock::now(),
    }
}

/// The clock of one runtime.
#[derive(Debug)]
pub(crate) enum Clock {
    /// `CLOCK_MONOTONIC`.
    System,
    /// The time it was built, and what it was advanced by since.
    Virtual(Mutex<Duration>),
}

impl Clock {
    /// One that begins at the system's present time.
    pub(crate) fn new(is_virtual: bool) -> Self {
        match is_virtual {
            true => {
                VIRTUAL_CLOCKS_COUNT.fetch_add(1, Relaxed); // a thread that is in the runtime has seen it built
                Self::Virtual(Mutex::new(clock::now()))
            }
            false => Self::System,
        }
    }

    pub(crate) fn is_virtual(&self) -> bool {
        matches!(self, Self::Virtual(_))
    }

    /// The present.
    #[inline]
    pub(crate) fn now(&self) -> Duration {
        self.at(clock::now)
    }

    /// The present for somebody who has read the system's clock already, or will by `system_time`.
    #[inline]
    pub(crate) fn at(&self, system_time: impl FnOnce() -> Duration) -> Duration {
        match self {
            Self::System => system_time(),
            Self::Virtual(time) => *time.lock(),
        }
    }

    /// Moves a virtual clock on to `time`, unless it is there already.
    pub(crate) fn advance_to(&self, time: Duration) {
        if let Self::Virtual(now) = self {
            let mut now = now.lock();
            *now = time.max(*now);
        }
    }
}

impl Drop for Clock {
    fn drop(&mut self) {
        if let Self::Virtual(_) = self {
            VIRTUAL_CLOCKS_COUNT.fetch_sub(1, Relaxed);
        }
    }
}

/// How many virtual clocks there are in the process.
static VIRTUAL_CLOCKS_COUNT: AtomicUsize = AtomicUsize::new(0);

/// Ahead by more than any well-behaved poll takes.
const FAR: Duration = Duration::from_secs(1);
