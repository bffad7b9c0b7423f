//! How exactly the kernel ends a thread's waits.
//!
//! By default it may end them up to 50 µs late, to let timers of several threads share an interrupt: see
//! `PR_SET_TIMERSLACK` in prctl(2).
#![expect(unsafe_code, reason = "calls prctl")]

use std::marker::PhantomData;

/// Lets the calling thread's waits end within a nanosecond of their time, and what was set before apply again when it is
/// dropped.
#[derive(Debug)]
pub(crate) struct ExactWaits {
    before: libc::c_ulong,
    /// It is about the thread that it was made on.
    not_send: PhantomData<*const ()>,
}

impl ExactWaits {
    /// From now on. Where the system refuses it, waits are as late as before.
    pub(crate) fn begin() -> Self {
        // SAFETY: the call touches no memory of ours.
        let before = unsafe { libc::prctl(libc::PR_GET_TIMERSLACK) };
        set(1);
        Self {
            before: libc::c_ulong::try_from(before).unwrap_or(0), // 0 is the default
            not_send: PhantomData,
        }
    }
}

impl Drop for ExactWaits {
    fn drop(&mut self) {
        set(self.before);
    }
}

fn set(nanoseconds: libc::c_ulong) {
    // SAFETY: the call touches no memory of ours.
    unsafe { libc::prctl(libc::PR_SET_TIMERSLACK, nanoseconds) };
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::{ExactWaits, set};

    #[test]
    fn what_was_set_before_applies_again() {
        set(12_345);
        let exact = ExactWaits::begin();
        assert_eq!(present(), 1);
        drop(exact);
        assert_eq!(present(), 12_345);
        set(0);
    }

    fn present() -> libc::c_int {
        // SAFETY: the call touches no memory of ours.
        unsafe { libc::prctl(libc::PR_GET_TIMERSLACK) }
    }
}
