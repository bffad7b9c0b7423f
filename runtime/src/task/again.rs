//! How a task asks for another poll while it is being polled.
//!
//! A wake may come from anywhere, so it writes the state word, and the end of the poll writes it once more. Who is in the poll can
//! leave word with the thread instead, and the end of the poll does both at once: [`run_again`] is a wake that costs no
//! read-modify-write. Of several that yield in turn that is one in four.
//!
//! The thread knows which task it polls by its address, which is only compared. A waker of another task, of a combinator that makes
//! wakers of its own, or of a task that another thread polls, is woken as ever. Polls nest where a poll blocks its thread
//! and that runs others meanwhile, so each brings back what it found.

use std::cell::Cell;
use std::task::Waker;

use super::waker::address_of;
use crate::util::sync::thread_local;

/// Has the task of `waker` run again: for whoever is about to return `Pending`.
#[inline]
pub(crate) fn run_again(waker: &Waker) {
    let is_noted = address_of(waker).is_some_and(|task| {
        POLLED.with(|polled| {
            let is_polled = polled.get() & !AGAIN == task;
            if is_polled {
                polled.set(task | AGAIN);
            }
            is_polled
        })
    });
    if !is_noted {
        waker.wake_by_ref();
    }
}

/// Calls `poll` of the task at this address, and says whether it is to run again.
#[inline]
pub(super) fn noting<R>(task: usize, poll: impl FnOnce() -> R) -> (R, bool) {
    let outer = POLLED.with(|polled| polled.replace(task));
    let result = poll();
    let noted = POLLED.with(|polled| polled.replace(outer));
    (result, noted & AGAIN != 0)
}

// The address of the task that this thread polls, which is even, and AGAIN; 0 outside.
thread_local! {
    static POLLED: Cell<usize> = const { Cell::new(0) };
}

/// The task is to run again.
const AGAIN: usize = 1;
