//! What the system allows the process.
#![expect(unsafe_code, reason = "calls getrlimit")]

use std::mem;

/// How many descriptors the process may have open at the same time (`RLIMIT_NOFILE`). It has no other answer than one.
pub(crate) fn descriptors_max() -> usize {
    // SAFETY: two integers, for which zero is a value.
    let mut limit: libc::rlimit = unsafe { mem::zeroed() };
    // SAFETY: `limit` is writable for what the call writes.
    let result = unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) };
    debug_assert_eq!(result, 0, "the limit exists, and the address is good");
    usize::try_from(limit.rlim_cur).unwrap_or(usize::MAX) // `RLIM_INFINITY` is the largest number
}

#[cfg(all(test, not(loom)))]
mod tests {
    #[test]
    fn the_descriptors_that_are_open_are_within_the_limit() {
        assert!(super::descriptors_max() > 3);
    }
}
