//! How many I/O operations a task may do in one poll.
//!
//! A socket that is always ready would let its task loop for ever. Each operation of ours takes one unit; when none is
//! left, the operation wakes its task and pends, so the task goes to the back of the queue. Outside of a task's poll
//! there is no limit.
//!
//! An operation of the usual size takes about a microsecond, and a poll that uses up its budget a tenth of a millisecond. One that
//! copies moves up to 64 KiB at a time, and with the same number of operations would keep its worker for milliseconds: it
//! [pays](spend_on_copied) for what it has moved as well.

use std::cell::Cell;
use std::task::{Context, Poll};

use crate::task::run_again;

/// Takes one unit. Pending, with the task woken, when the budget of this poll is used up.
#[inline]
pub(crate) fn poll_proceed(cx: &mut Context<'_>) -> Poll<()> {
    BUDGET.with(|budget| match budget.get() {
        0 => {
            run_again(cx.waker());
            Poll::Pending
        }
        left => {
            budget.set(left - 1);
            Poll::Ready(())
        }
    })
}

/// Takes what it is worth to have copied so many bytes, in addition to the operations.
///
/// What is left and too little for another round goes with it: a round that is cut in two has to keep what it has read.
#[inline]
pub(crate) fn spend_on_copied(bytes: usize) {
    let left = BUDGET.get().saturating_sub((bytes / BYTES_PER_UNIT) as u64);
    BUDGET.set(if left < ROUND_UNITS { 0 } else { left });
}

/// Whether a task is being polled on this thread.
#[inline]
pub(super) fn is_in_poll() -> bool {
    BUDGET.get() <= LIMIT_MAX
}

/// Runs `poll` with a budget of its own.
#[inline]
pub(super) fn with_budget<R>(units: u32, poll: impl FnOnce() -> R) -> R {
    struct Restore(u64);
    impl Drop for Restore {
        #[inline]
        fn drop(&mut self) {
            BUDGET.set(self.0);
        }
    }
    let _restore = Restore(BUDGET.replace(units.into()));
    poll()
}

thread_local! {
    static BUDGET: Cell<u64> = const { Cell::new(UNLIMITED) };
}

/// Outside of a poll it is counted down as well, from where it never comes to an end.
const UNLIMITED: u64 = u64::MAX;

/// In a poll it is no more than this.
const LIMIT_MAX: u64 = u32::MAX as u64;

/// The usual budget of 128 units thus comes to half a mebibyte.
const BYTES_PER_UNIT: usize = 4096;

/// Of one round of a copy: to begin it, to read and to write.
const ROUND_UNITS: u64 = 3;
