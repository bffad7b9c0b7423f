//! For how long nothing may happen on a descriptor while somebody waits for it.
//!
//! It is a deadline that moves by itself: whoever begins to wait sets it anew if there has been an event in that direction since
//! it was last set. So who waits again without an event between, after having given up or been woken for another reason, goes
//! on where he was (a writer begins anew: see [`Source::events_count`]), and an operation that need not wait does nothing for it.
//!
//! The protocol is that of [`Deadline`](super::deadline::Deadline). These have timers of their own, so that both kinds of
//! limit hold at the same time.

use std::sync::Arc;
use std::task::{Poll, ready};
use std::time::Duration;

use super::deadline::Deadlines;
use crate::executor;
use crate::reactor::{Direction, Source};
use crate::util::sync::atomic::{
    AtomicU64,
    Ordering::{Acquire, Relaxed, Release},
};

/// The limit of one descriptor.
#[derive(Debug)]
pub(crate) struct IdleLimit {
    /// In nanoseconds; [`NONE`] if there is none.
    limit: AtomicU64,
    /// For each direction, the number of events at which the deadline was set; [`NONE`] if it has not been.
    seen: [AtomicU64; 2],
    deadlines: Deadlines,
}

impl IdleLimit {
    /// None.
    #[inline]
    pub(crate) fn new() -> Self {
        Self {
            limit: AtomicU64::new(NONE),
            seen: [NONE; 2].map(AtomicU64::new),
            deadlines: Deadlines::new(),
        }
    }

    /// Sets the limit, from the next wait on, or takes it away, also from those that wait now.
    #[inline]
    pub(crate) fn set(&self, limit: Option<Duration>) {
        let limit = limit.and_then(|limit| u64::try_from(limit.as_nanos()).ok());
        self.limit.store(limit.unwrap_or(NONE), Release);
        for direction in [Direction::Read, Direction::Write] {
            self.seen[direction as usize].store(NONE, Relaxed); // a wait that comes too early for it sets it once more
            self.deadlines.of(direction).set(None, || None);
        }
    }

    /// The limit, if there is one.
    pub(crate) fn get(&self) -> Option<Duration> {
        match self.limit.load(Acquire) {
            NONE => None,
            limit => Some(Duration::from_nanos(limit)),
        }
    }

    /// Ready when nothing has happened for too long. Otherwise the task, which has left its waker at `source`, is woken then.
    pub(crate) fn poll_passed(&self, direction: Direction, source: &Arc<Source>) -> Poll<()> {
        let Some(limit) = self.get() else {
            return Poll::Pending;
        };
        let deadline = self.deadlines.of(direction);
        let events = u64::from(source.events_count(direction));
        let seen = &self.seen[direction as usize];
        if seen.load(Relaxed) != events {
            seen.store(events, Relaxed); // who waits at the same time sets it to about the same
            deadline.set(executor::now().checked_add(limit), || None); // the others set it for themselves
        }
        ready!(deadline.poll_passed(source));
        seen.store(NONE, Relaxed); // whoever goes on all the same has the time once more
        Poll::Ready(())
    }
}

const NONE: u64 = u64::MAX;
