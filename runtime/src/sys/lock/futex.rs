//! Sleeping on a word until another thread, which has changed it, says so: futex(2).
//!
//! Of this process only (`FUTEX_PRIVATE_FLAG`). The kernel looks at the word and goes to sleep in one step, as seen by
//! whoever wakes, so a wake-up that follows the change is not missed.
#![expect(unsafe_code, reason = "calls futex, which no libc wraps")]

use std::ptr;
use std::sync::atomic::AtomicU32;

/// Sleeps if `word` is `expected`, until there is a [`wake_one`], or for no reason at all.
pub(super) fn wait(word: &AtomicU32, expected: u32) {
    let forever = ptr::null::<libc::timespec>();
    // SAFETY: `word` is readable and lives through the call. It may fail, for another value (EAGAIN) or by a signal (EINTR): the
    // caller looks again in any case.
    unsafe {
        libc::syscall(
            libc::SYS_futex,
            word.as_ptr(),
            libc::FUTEX_WAIT | libc::FUTEX_PRIVATE_FLAG,
            expected,
            forever,
        );
    }
}

/// Ends the sleep of one of those who sleep on `word`.
pub(super) fn wake_one(word: &AtomicU32) {
    // SAFETY: of `word` the kernel takes the address only.
    unsafe {
        libc::syscall(
            libc::SYS_futex,
            word.as_ptr(),
            libc::FUTEX_WAKE | libc::FUTEX_PRIVATE_FLAG,
            1,
        );
    }
}
