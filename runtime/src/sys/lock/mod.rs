//! The lock of what is touched for each message: a mutex without poisoning.
//!
//! std's asks at every lock and unlock whether the thread panics. That is 18 instructions of each, with what the compiler has to
//! keep for it; an echo has two locks, and took 700 instructions with std's where it took 663 with this one. A time-out has three
//! more. What is locked now and then, or waited for, has `util::sync`'s.
//!
//! In a build for models it is loom's lock: a model of what happens under a lock need not go through how that works. The models of the
//! lock itself are of [`mutex`].

#[cfg(not(loom))]
mod futex;
#[cfg(all(test, loom))]
mod models;
#[cfg(any(test, not(loom)))]
mod mutex;

#[cfg(not(loom))]
pub(crate) use self::mutex::{Mutex, MutexGuard};
#[cfg(loom)]
pub(crate) use crate::util::sync::{Mutex, MutexGuard};
