//! A task's `std::task::Waker`: a pointer to the header that holds one reference.
//!
//! One table for all tasks, so that `Waker::will_wake` compares pointers.
#![expect(
    unsafe_code,
    reason = "a RawWaker turns a reference into an untyped pointer and back"
)]

use std::mem::ManuallyDrop;
use std::ptr::{self, NonNull};
use std::task::{RawWaker, RawWakerVTable, Waker};
use std::time::Duration;

use super::header::Header;
use super::raw::Task;

/// Lends `f` a waker for the task without counting a reference for it; a clone counts.
#[inline]
pub(super) fn with_waker<R>(task: &Task, f: impl FnOnce(&Waker) -> R) -> R {
    // SAFETY: the functions of VTABLE meet the contract of RawWaker for a pointer that holds a reference. This waker holds
    // none: it is never dropped or woken by value, and `task` keeps the task alive for as long as `f` sees it.
    let waker = ManuallyDrop::new(unsafe {
        Waker::new(task.as_ptr().as_ptr().cast_const().cast(), &VTABLE)
    });
    f(&waker)
}

/// Marks the task that `waker` is about to have queued, if it is one's; see [`Header::mark_queued`].
///
/// One that is queued already, or being polled, may be marked too: then its next poll is timed, and the wait is that since now.
pub(crate) fn mark_woken(waker: &Waker, now: Duration) {
    if ptr::eq(waker.vtable(), &VTABLE) {
        // SAFETY: only this module makes wakers with this table, of the pointer of a task that the waker keeps alive; it is not
        // dropped here.
        let task = ManuallyDrop::new(unsafe { from_data(waker.data()) });
        task.header().mark_queued(now);
    }
}

/// The address of the task that `waker` wakes, if it is one's; see [`Header::address`].
pub(crate) fn address_of(waker: &Waker) -> Option<usize> {
    ptr::eq(waker.vtable(), &VTABLE).then(|| waker.data().addr())
}

static VTABLE: RawWakerVTable = RawWakerVTable::new(clone, wake, wake_by_ref, release);

/// # Safety
///
/// `data` comes from a waker of this module that lives.
unsafe fn clone(data: *const ()) -> RawWaker {
    // SAFETY: a waker's data is the pointer of a task that the waker keeps alive; it is not dropped here.
    let task = ManuallyDrop::new(unsafe { from_data(data) });
    let _ = ManuallyDrop::new(Task::clone(&task));
    RawWaker::new(data, &VTABLE)
}

/// # Safety
///
/// `data` comes from a waker of this module that lives, and that is not used again.
unsafe fn wake(data: *const ()) {
    // SAFETY: a waker's data is the pointer of a task, and the waker's reference passes to `task`.
    let task = unsafe { from_data(data) };
    task.wake();
}

/// # Safety
///
/// `data` comes from a waker of this module that lives.
unsafe fn wake_by_ref(data: *const ()) {
    // SAFETY: a waker's data is the pointer of a task that the waker keeps alive; it is not dropped here.
    let task = ManuallyDrop::new(unsafe { from_data(data) });
    task.wake_by_ref();
}

/// # Safety
///
/// `data` comes from a waker of this module that lives, and that is not used again.
unsafe fn release(data: *const ()) {
    // SAFETY: a waker's data is the pointer of a task, and the waker's reference passes to the value dropped here.
    let _released = unsafe { from_data(data) };
}

/// # Safety
///
/// * `data` was a task's pointer, made by [`with_waker`], and the task is alive.
/// * The result is dropped only by one to whom the waker's reference passes.
unsafe fn from_data(data: *const ()) -> Task {
    // SAFETY: the caller's first demand; `with_waker` put a non-null pointer there.
    unsafe { Task::from_raw(NonNull::new_unchecked(data.cast_mut().cast::<Header>())) }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use std::panic::AssertUnwindSafe;
    use std::pin::Pin;
    use std::sync::atomic::{AtomicU32, Ordering::SeqCst};
    use std::task::{Context, Poll};
    use std::{future, panic};

    use super::*;
    use crate::task::tests::{Queue, meta};
    use crate::task::{JoinHandle, Ran, Runnable, TaskRef, new};

    /// Wakers of foreign make that live and are woken and dropped properly, but panic where their table says.
    fn panics_in(vtable: &'static RawWakerVTable) -> Waker {
        // SAFETY: the functions of these tables do not use the pointer.
        unsafe { Waker::new(ptr::null(), vtable) }
    }

    static IN_CLONE: RawWakerVTable = RawWakerVTable::new(panic, nothing, nothing, nothing);
    static IN_WAKE: RawWakerVTable = RawWakerVTable::new(
        |_| RawWaker::new(ptr::null(), &IN_WAKE),
        panic,
        panic,
        nothing,
    );
    static IN_DROP: RawWakerVTable = RawWakerVTable::new(count, nothing, nothing, counted_panic);
    static DROPS_DUE: AtomicU32 = AtomicU32::new(0);

    fn nothing(_: *const ()) {}

    fn panic<T>(_: *const ()) -> T {
        panic::resume_unwind(Box::new("foreign waker"))
    }

    fn count(_: *const ()) -> RawWaker {
        DROPS_DUE.fetch_add(1, SeqCst);
        RawWaker::new(ptr::null(), &IN_DROP)
    }

    fn counted_panic(_: *const ()) {
        DROPS_DUE.fetch_sub(1, SeqCst);
        panic(ptr::null())
    }

    fn spawn(queue: &Queue) -> (TaskRef, Runnable, JoinHandle<u8>) {
        new(future::ready(4), queue.clone(), meta())
    }

    fn poll(handle: &mut JoinHandle<u8>, waker: &Waker) -> Poll<u8> {
        Pin::new(handle)
            .poll(&mut Context::from_waker(waker))
            .map(Result::unwrap)
    }

    #[test]
    fn w12_a_clone_that_panics_goes_to_the_joiner_and_another_waker_can_follow() {
        let queue = Queue::default();
        let (task, runnable, mut handle) = spawn(&queue);
        let bad = ManuallyDrop::new(panics_in(&IN_CLONE));
        assert!(panic::catch_unwind(AssertUnwindSafe(|| poll(&mut handle, &bad))).is_err());
        assert!(poll(&mut handle, Waker::noop()).is_pending());
        assert!(
            panic::catch_unwind(AssertUnwindSafe(|| poll(&mut handle, &bad))).is_err(),
            "also in place of a good one"
        );
        assert!(matches!(runnable.run(0), Ran::Complete(_)));
        assert_eq!(poll(&mut handle, Waker::noop()), Poll::Ready(4));
        drop((task, handle));
        assert_eq!(queue.tasks_count(), 0);
    }

    #[test]
    fn w12_a_wake_that_panics_leaves_the_worker_and_the_result_alone() {
        let queue = Queue::default();
        let (task, runnable, mut handle) = spawn(&queue);
        assert!(poll(&mut handle, &panics_in(&IN_WAKE)).is_pending());
        assert!(matches!(runnable.run(0), Ran::Complete(_)));
        assert_eq!(poll(&mut handle, Waker::noop()), Poll::Ready(4));
        drop((task, handle));
        assert_eq!(queue.tasks_count(), 0);
    }

    #[test]
    fn w12_a_drop_that_panics_is_swallowed_when_the_waker_is_replaced_and_when_the_handle_goes() {
        let queue = Queue::default();
        let (task, runnable, mut handle) = spawn(&queue);
        let bad = ManuallyDrop::new(panics_in(&IN_DROP));
        assert!(poll(&mut handle, &bad).is_pending());
        assert!(poll(&mut handle, Waker::noop()).is_pending());
        assert_eq!(DROPS_DUE.load(SeqCst), 0);
        assert!(poll(&mut handle, &bad).is_pending());
        drop(handle);
        assert_eq!(DROPS_DUE.load(SeqCst), 0);
        assert!(matches!(runnable.run(0), Ran::Complete(_)));
        drop(task);
        assert_eq!(queue.tasks_count(), 0);
    }
}
