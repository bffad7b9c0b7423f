//! A mutex on one word, for which threads sleep in futex(2).
//!
//! ```text
//!              lock                      lock, by others
//!   FREE ────────────────▶ HELD ───────────────────────────▶ AWAITED ─┐ they sleep for as long as it is AWAITED,
//!    ▲ ▲                    │ unlock                            │      │ and lock to AWAITED from then on
//!    │ └────────────────────┘                                   │ ◀────┘
//!    └───────────────────── unlock, and wake one ◀──────────────┘
//! ```
//!
//! * To lock and to unlock that nobody else wants is a read-modify-write each, and nothing else.
//! * Who has slept cannot know whether others do, so it locks to AWAITED: one wake-up too many, never one too few.
//! * A panic in a critical section leaves the lock free. No user code runs in one of ours: wakers are called, and futures
//!   dropped, after the guard is gone.
#![expect(unsafe_code, reason = "lends what the lock guards to whoever holds it")]

use std::cell::UnsafeCell;
use std::fmt;
use std::hint;
use std::marker::PhantomData;
use std::ops::{Deref, DerefMut};
use std::panic::{RefUnwindSafe, UnwindSafe};

#[cfg(not(loom))]
use super::futex;
#[cfg(loom)]
use super::models::futex;
use crate::util::sync::atomic::{
    AtomicU32,
    Ordering::{Acquire, Relaxed, Release},
};

/// Guards a value.
pub(crate) struct Mutex<T> {
    state: AtomicU32,
    value: UnsafeCell<T>,
}

// SAFETY: a shared lock gives the value to one thread at a time, by `&mut`: as good as sending it there.
unsafe impl<T: Send> Sync for Mutex<T> {}

// As those of std have it: a value that a panic has left half changed would be an error of ours.
impl<T> UnwindSafe for Mutex<T> {}
impl<T> RefUnwindSafe for Mutex<T> {}

impl<T> Mutex<T> {
    pub(crate) fn new(value: T) -> Self {
        Self {
            state: AtomicU32::new(FREE),
            value: UnsafeCell::new(value),
        }
    }

    /// Waits for the lock.
    #[inline]
    pub(crate) fn lock(&self) -> MutexGuard<'_, T> {
        // Acquire: sees what the holder before has written.
        if self
            .state
            .compare_exchange(FREE, HELD, Acquire, Relaxed)
            .is_err()
        {
            self.lock_contended();
        }
        MutexGuard {
            mutex: self,
            not_send: PhantomData,
        }
    }

    #[cold]
    fn lock_contended(&self) {
        if self.spin() == FREE
            && self
                .state
                .compare_exchange(FREE, HELD, Acquire, Relaxed)
                .is_ok()
        {
            return;
        }
        while self.state.swap(AWAITED, Acquire) != FREE {
            futex::wait(&self.state, AWAITED);
        }
    }

    /// Waits a moment for the holder, unless somebody sleeps for it. Returns the last state seen.
    fn spin(&self) -> u32 {
        let mut state = self.state.load(Relaxed);
        let mut spins = SPINS;
        while state == HELD && spins > 0 {
            hint::spin_loop();
            state = self.state.load(Relaxed);
            spins -= 1;
        }
        state
    }

    #[inline]
    fn unlock(&self) {
        // Release: the next holder sees what this one has written.
        if self.state.swap(FREE, Release) == AWAITED {
            self.wake_one();
        }
    }

    #[cold]
    fn wake_one(&self) {
        futex::wake_one(&self.state);
    }
}

impl<T: Default> Default for Mutex<T> {
    fn default() -> Self {
        Self::new(T::default())
    }
}

/// The value is not shown: whoever prints it may hold the lock.
impl<T> fmt::Debug for Mutex<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mutex").finish_non_exhaustive()
    }
}

/// The right to what a [`Mutex`] guards, until it is dropped.
#[must_use = "the lock is released as the guard is dropped"]
pub(crate) struct MutexGuard<'a, T> {
    mutex: &'a Mutex<T>,
    /// As a guard of std: what is locked on a thread is unlocked there.
    not_send: PhantomData<*const ()>,
}

// SAFETY: a shared guard only lends `&T`.
unsafe impl<T: Sync> Sync for MutexGuard<'_, T> {}

impl<T> Deref for MutexGuard<'_, T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        // SAFETY: the guard's thread holds the lock, and there is one guard for that.
        unsafe { &*self.mutex.value.get() }
    }
}

impl<T> DerefMut for MutexGuard<'_, T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: as for `deref`, and the guard is borrowed mutably.
        unsafe { &mut *self.mutex.value.get() }
    }
}

impl<T> Drop for MutexGuard<'_, T> {
    #[inline]
    fn drop(&mut self) {
        self.mutex.unlock();
    }
}

const FREE: u32 = 0;
const HELD: u32 = 1;
/// Held, and somebody may sleep for it.
const AWAITED: u32 = 2;

/// Some microseconds: what is done under a lock of ours takes less, unless its thread loses its CPU.
const SPINS: u32 = if cfg!(loom) { 0 } else { 100 };

#[cfg(all(test, not(loom)))]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind};
    use std::sync::Arc;
    use std::thread;

    use super::Mutex;

    /// A count that is read and written in two steps, by threads that meet at the lock all the time.
    #[test]
    fn one_thread_at_a_time_has_the_value() {
        let count = Arc::new(Mutex::new(0_u64));
        let threads: Vec<_> = (0..4)
            .map(|number| {
                let count = count.clone();
                thread::spawn(move || {
                    for round in 0..20_000 {
                        let mut guard = count.lock();
                        let before = *guard;
                        if (round + number) % 100 == 0 {
                            thread::yield_now(); // with the lock: the others have to sleep
                        }
                        *guard = before + 1;
                    }
                })
            })
            .collect();
        threads
            .into_iter()
            .for_each(|thread| thread.join().unwrap());
        assert_eq!(*count.lock(), 80_000);
    }

    #[test]
    fn a_panic_leaves_the_lock_free_and_the_value_as_it_was() {
        let mutex = Mutex::new(1);
        let panicked = catch_unwind(AssertUnwindSafe(|| {
            let mut guard = mutex.lock();
            *guard = 2;
            panic!("in the critical section");
        }));
        assert!(panicked.is_err());
        assert_eq!(*mutex.lock(), 2);
    }
}
