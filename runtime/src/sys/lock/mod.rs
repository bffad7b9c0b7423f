//! A lock that threads sleep for, without poisoning, and the signals that its holders wait for.
//!
//! ```text
//!              lock                      lock, by others
//!   FREE ────────────────▶ HELD ───────────────────────────▶ AWAITED ─┐ they sleep for as long as it is AWAITED
//!    ▲ ▲                    │ unlock                            │      │ (futex(2)), and lock to AWAITED from then on
//!    │ └────────────────────┘                                   │ ◀────┘
//!    └───────────────────── unlock, and wake one ◀──────────────┘
//! ```
//!
//! * To lock and to unlock that nobody else wants is a read-modify-write each, and nothing else.
//! * Who has slept cannot know whether others do, so it locks to AWAITED: one wake-up too many, never one too few.
//! * A panic in a critical section leaves the lock free. No user code runs in one of ours: wakers are called, and futures
//!   dropped, after the guard is gone.
//!
//! Rejected: *the lock of std*, which is the same but for poisoning. To find out whether somebody panics takes it 12 instructions
//! of every lock and unlock; an echo has two of them, and a time-out three more.
#![expect(unsafe_code, reason = "lends what the lock guards to whoever holds it")]

#[cfg(not(loom))]
mod futex;
#[cfg(loom)]
mod models;

use std::cell::UnsafeCell;
use std::fmt;
use std::hint;
use std::marker::PhantomData;
use std::ops::{Deref, DerefMut};
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::time::Duration;

#[cfg(loom)]
use loom::sync::atomic::{
    AtomicU32,
    Ordering::{Acquire, Relaxed, Release},
};
#[cfg(not(loom))]
use std::sync::atomic::{
    AtomicU32,
    Ordering::{Acquire, Relaxed, Release},
};

#[cfg(loom)]
use self::models::futex;

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
            futex::wait(&self.state, AWAITED, None);
        }
    }

    /// Waits a moment for the holder, unless somebody sleeps for it. Returns the last state seen.
    fn spin(&self) -> u32 {
        let mut state = self.state.load(Relaxed);
        for _ in 0..SPINS {
            if state != HELD {
                break;
            }
            hint::spin_loop();
            state = self.state.load(Relaxed);
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
        futex::wake(&self.state, 1);
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

/// What threads wait for that hold a [`Mutex`] together with this: a count of the notifications.
///
/// Who waits reads it under the lock, and sleeps only while it has not changed, so a notification that comes between the
/// unlocking and the sleep ends the sleep.
#[derive(Debug)]
pub(crate) struct Condvar(AtomicU32);

impl Condvar {
    pub(crate) fn new() -> Self {
        Self(AtomicU32::new(0))
    }

    /// Releases the lock until there is a notification, or for no reason at all.
    pub(crate) fn wait<'a, T>(&self, guard: MutexGuard<'a, T>) -> MutexGuard<'a, T> {
        self.wait_for(guard, None).0
    }

    /// The same for at most `timeout`, and says whether that is over.
    pub(crate) fn wait_timeout<'a, T>(
        &self,
        guard: MutexGuard<'a, T>,
        timeout: Duration,
    ) -> (MutexGuard<'a, T>, bool) {
        self.wait_for(guard, Some(timeout))
    }

    fn wait_for<'a, T>(
        &self,
        guard: MutexGuard<'a, T>,
        timeout: Option<Duration>,
    ) -> (MutexGuard<'a, T>, bool) {
        let mutex = guard.mutex;
        let seen = self.0.load(Relaxed); // ordered by the lock, which whoever notifies has held or will
        drop(guard);
        let is_over = futex::wait(&self.0, seen, timeout);
        (mutex.lock(), is_over)
    }

    pub(crate) fn notify_one(&self) {
        self.notify(1);
    }

    pub(crate) fn notify_all(&self) {
        self.notify(i32::MAX);
    }

    fn notify(&self, most: i32) {
        self.0.fetch_add(1, Relaxed);
        futex::wake(&self.0, most);
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
    use std::time::Duration;

    use super::{Condvar, Mutex};

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

    /// Four threads hand a token round, each of which waits for its number.
    #[test]
    fn who_waits_for_a_signal_gets_it() {
        const ROUNDS: usize = 1000;
        let ring = Arc::new((Mutex::new(0), Condvar::new()));
        let threads: Vec<_> = (0..4)
            .map(|number| {
                let ring = ring.clone();
                thread::spawn(move || {
                    let (turn, changed) = &*ring;
                    for _ in 0..ROUNDS {
                        let mut guard = turn.lock();
                        while *guard % 4 != number {
                            guard = changed.wait(guard);
                        }
                        *guard += 1;
                        drop(guard);
                        changed.notify_all();
                    }
                })
            })
            .collect();
        threads
            .into_iter()
            .for_each(|thread| thread.join().unwrap());
        assert_eq!(*ring.0.lock(), 4 * ROUNDS);
    }

    #[test]
    fn a_wait_that_nobody_ends_is_over_after_its_time_and_no_sooner() {
        let (mutex, changed) = (Mutex::new(()), Condvar::new());
        let timeout = Duration::from_millis(5);
        let begun = std::time::Instant::now();
        let mut guard = mutex.lock();
        loop {
            let is_over;
            (guard, is_over) = changed.wait_timeout(guard, timeout);
            if is_over {
                break; // otherwise for no reason at all
            }
        }
        assert!(begun.elapsed() >= timeout);
    }

    #[test]
    fn the_longest_wait_is_ended_by_a_signal() {
        let state = Arc::new((Mutex::new(false), Condvar::new()));
        let signaller = thread::spawn({
            let state = state.clone();
            move || {
                *state.0.lock() = true;
                state.1.notify_one();
            }
        });
        let mut guard = state.0.lock();
        while !*guard {
            let is_over;
            (guard, is_over) = state.1.wait_timeout(guard, Duration::MAX);
            assert!(!is_over);
        }
        drop(guard);
        signaller.join().unwrap();
    }
}
