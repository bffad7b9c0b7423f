//! The one place that chooses between the standard library and loom for everything that threads share.
//!
//! A model checker can only explore what it sees, so the protocols between threads (task state, queues, parking,
//! readiness) name their atomics, locks, cells, thread-locals and `park` through this module. An ordinary build gets the
//! standard ones with small changes of interface:
//!
//! * [`Mutex`] and [`Condvar`] have no poisoning. A panic can only leave a lock of ours through user code, and no user code runs under
//!   one: wakers are called, and futures dropped, after the guard is gone. (What is locked for each message has a lighter lock, the
//!   system's.)
//! * [`UnsafeCell`] lends its pointer to a closure, as loom's does, so that a model sees how long an access lasts.
//!
//! `Arc` is always the standard one: `std::task::Wake` demands it, and no protocol here depends on its counting.

#[cfg(loom)]
mod modelled;

#[cfg(all(test, loom))]
pub(crate) use self::modelled::model;
#[cfg(loom)]
pub(crate) use self::modelled::{OnceLock, thread, thread_local};
#[cfg(loom)]
pub(crate) use loom::sync::atomic;
#[cfg(not(loom))]
pub(crate) use std::{sync::OnceLock, sync::atomic, thread, thread_local};

#[cfg(loom)]
pub(crate) use loom::cell::UnsafeCell;

/// `std::cell::UnsafeCell` with loom's interface: the pointer lives for one closure.
#[cfg(not(loom))]
#[derive(Debug)]
#[repr(transparent)]
pub(crate) struct UnsafeCell<T>(std::cell::UnsafeCell<T>);

#[cfg(not(loom))]
impl<T> UnsafeCell<T> {
    pub(crate) const fn new(value: T) -> Self {
        Self(std::cell::UnsafeCell::new(value))
    }

    /// Lends a pointer for writing.
    #[inline]
    pub(crate) fn with_mut<R>(&self, access: impl FnOnce(*mut T) -> R) -> R {
        access(self.0.get())
    }
}

#[cfg(loom)]
use loom::sync as imp;
#[cfg(not(loom))]
use std::sync as imp;

use std::time::Duration;

pub(crate) use imp::MutexGuard;

/// A mutual-exclusion lock without poisoning.
#[derive(Debug, Default)]
pub(crate) struct Mutex<T>(imp::Mutex<T>);

impl<T> Mutex<T> {
    pub(crate) fn new(value: T) -> Self {
        Self(imp::Mutex::new(value))
    }

    /// Waits for the lock.
    #[inline]
    pub(crate) fn lock(&self) -> MutexGuard<'_, T> {
        self.0
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

/// What threads wait for that hold a [`Mutex`] together with this.
#[derive(Debug)]
pub(crate) struct Condvar(imp::Condvar);

impl Condvar {
    pub(crate) fn new() -> Self {
        Self(imp::Condvar::new())
    }

    /// Releases the lock until there is a notification, or for no reason at all.
    pub(crate) fn wait<'a, T>(&self, guard: MutexGuard<'a, T>) -> MutexGuard<'a, T> {
        self.0
            .wait(guard)
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// The same for at most `timeout`, and says whether that is over. Under loom it never is.
    pub(crate) fn wait_timeout<'a, T>(
        &self,
        guard: MutexGuard<'a, T>,
        timeout: Duration,
    ) -> (MutexGuard<'a, T>, bool) {
        let (guard, result) = self
            .0
            .wait_timeout(guard, timeout)
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        (guard, result.timed_out())
    }

    pub(crate) fn notify_one(&self) {
        self.0.notify_one();
    }

    pub(crate) fn notify_all(&self) {
        self.0.notify_all();
    }
}
