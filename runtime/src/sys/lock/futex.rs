//! Sleeping on a word until another thread, which has changed it, says so: futex(2).
//!
//! Of this process only (`FUTEX_PRIVATE_FLAG`). The kernel looks at the word and goes to sleep in one step, as seen by
//! whoever wakes, so a wake-up that follows the change is not missed.
#![expect(unsafe_code, reason = "calls futex, which no libc wraps")]

use std::io;
use std::ptr;
use std::sync::atomic::AtomicU32;
use std::time::Duration;

/// Sleeps if `word` is `expected`, until there is a [`wake`], for `timeout` at most, or for no reason at all. Whether the
/// timeout is over.
pub(super) fn wait(word: &AtomicU32, expected: u32, timeout: Option<Duration>) -> bool {
    let timeout = timeout.map(|timeout| libc::timespec {
        tv_sec: timeout.as_secs().min(SECONDS_MAX) as _,
        tv_nsec: timeout.subsec_nanos().into(),
    });
    // SAFETY: `word` is readable, as is `timeout` unless it is null, which means none; both live through the call.
    let result = unsafe {
        libc::syscall(
            libc::SYS_futex,
            word.as_ptr(),
            libc::FUTEX_WAIT | libc::FUTEX_PRIVATE_FLAG,
            expected,
            timeout.as_ref().map_or(ptr::null(), ptr::from_ref),
        )
    };
    // It may also be EAGAIN, for another value, or EINTR: the caller looks again in any case.
    result == -1 && io::Error::last_os_error().raw_os_error() == Some(libc::ETIMEDOUT)
}

/// Ends the sleep of so many of those who sleep on `word`.
pub(super) fn wake(word: &AtomicU32, most: i32) {
    // SAFETY: of `word` the kernel takes the address only.
    unsafe {
        libc::syscall(
            libc::SYS_futex,
            word.as_ptr(),
            libc::FUTEX_WAKE | libc::FUTEX_PRIVATE_FLAG,
            most,
        );
    }
}

/// As many as every system can count: 68 years.
const SECONDS_MAX: u64 = i32::MAX as u64;
