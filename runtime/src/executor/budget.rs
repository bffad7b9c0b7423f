//! How many I/O operations a task may do in one poll.
//!
//! A socket that is always ready would let its task loop for ever. Each operation of ours takes one unit; when none is
//! left, the operation wakes its task and pends, so the task goes to the back of the queue. Outside of a task's poll
//! there is no limit.

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
