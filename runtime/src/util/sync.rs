//! The one place that chooses between what an ordinary build has and loom, for everything that threads share.
//!
//! A model checker can only explore what it sees, so the protocols between threads (task state, queues, parking,
//! readiness) name their atomics, locks, cells, thread-locals and `park` through this module. An ordinary build gets the
//! standard ones, but for two:
//!
//! * [`Mutex`] and [`Condvar`] are our own, without poisoning (see [`crate::sys::lock`]); loom's are given the same interface.
//! * [`UnsafeCell`] lends its pointer to a closure, as loom's does, so that a model sees how long an access lasts.
//!
//! `Arc` is always the standard one: `std::task::Wake` demands it, and no protocol here depends on its counting.

#[cfg(loom)]
mod modelled;

#[cfg(all(test, loom))]
pub(crate) use self::modelled::model;
#[cfg(loom)]
pub(crate) use self::modelled::{Condvar, Mutex, OnceLock, thread, thread_local};
#[cfg(not(loom))]
pub(crate) use crate::sys::lock::{Condvar, Mutex, MutexGuard};
#[cfg(loom)]
pub(crate) use loom::sync::{MutexGuard, atomic};
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
