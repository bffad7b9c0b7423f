//! Flags, locks and permissions of descriptors of any kind, and duplicates.
//!
//! `O_NONBLOCK` belongs to the *open file description*, not to the descriptor: setting it on a duplicate, or on a standard
//! input that was inherited, sets it for everyone who shares it, other processes included.
#![expect(unsafe_code, reason = "calls fcntl, flock and fchmod")]

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use super::call::{Call, retry};

/// Whether reading and writing through `fd` answers `EAGAIN` instead of waiting.
pub(crate) fn is_nonblocking(fd: BorrowedFd<'_>) -> io::Result<bool> {
    Ok(status_flags(fd)? & libc::O_NONBLOCK != 0)
}

/// Makes everyone who shares `fd`'s open file description wait, or not wait, in reading and writing.
#[inline]
pub(crate) fn set_nonblocking(fd: BorrowedFd<'_>, nonblocking: bool) -> io::Result<()> {
    let before = status_flags(fd)?;
    let after = if nonblocking {
        before | libc::O_NONBLOCK
    } else {
        before & !libc::O_NONBLOCK
    };
    if after != before {
        retry(Call::DescriptorFlags, || {
            // SAFETY: F_SETFL takes an integer and touches no memory of ours.
            unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_SETFL, after) }
        })?;
    }
    Ok(())
}

/// Another descriptor for `fd`'s open file description, close-on-exec, and none of the standard three.
#[inline]
pub(crate) fn duplicate(fd: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    let duplicate = retry(Call::Duplicate, || {
        // SAFETY: F_DUPFD_CLOEXEC takes an integer and touches no memory of ours.
        unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_DUPFD_CLOEXEC, 3) }
    })?;
    // SAFETY: the kernel just made this descriptor, and nobody else knows it.
    Ok(unsafe { OwnedFd::from_raw_fd(duplicate) })
}

#[inline]
fn status_flags(fd: BorrowedFd<'_>) -> io::Result<libc::c_int> {
    retry(Call::DescriptorFlags, || {
        // SAFETY: F_GETFL touches no memory of ours.
        unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_GETFL) }
    })
}

/// Takes the lock on the open file behind `fd`, which its last descriptor gives back; `false` if somebody else has it.
#[inline]
pub(crate) fn try_lock(fd: BorrowedFd<'_>) -> io::Result<bool> {
    let result = retry(Call::DescriptorFlags, || {
        // SAFETY: the call touches no memory of ours.
        unsafe { libc::flock(fd.as_raw_fd(), libc::LOCK_EX | libc::LOCK_NB) }
    });
    match result {
        Ok(_) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(false),
        Err(error) => Err(error),
    }
}

/// Sets who may use the file behind `fd`. For a Unix socket that has no name yet, who may use the name that it is given,
/// as far as the umask allows.
#[inline]
pub(crate) fn set_mode(fd: BorrowedFd<'_>, mode: u32) -> io::Result<()> {
    retry(Call::DescriptorFlags, || {
        // SAFETY: the call touches no memory of ours.
        unsafe { libc::fchmod(fd.as_raw_fd(), mode as libc::mode_t) }
    })?;
    Ok(())
}

/// What the tests of the whole layer ask about the descriptors it makes.
#[cfg(all(test, not(loom)))]
pub(super) fn is_close_on_exec(fd: BorrowedFd<'_>) -> bool {
    // SAFETY: F_GETFD touches no memory of ours.
    let flags = unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_GETFD) };
    flags & libc::FD_CLOEXEC != 0
}

#[cfg(all(test, not(loom)))]
mod tests {
    use std::os::fd::AsFd;

    use super::{duplicate, is_close_on_exec, is_nonblocking, set_nonblocking};

    #[test]
    fn nonblocking_is_shared_with_a_duplicate() {
        let (original, _writer) = std::io::pipe().unwrap();
        let duplicate = original.try_clone().unwrap();
        assert!(!is_nonblocking(original.as_fd()).unwrap());
        set_nonblocking(duplicate.as_fd(), true).unwrap();
        assert!(is_nonblocking(original.as_fd()).unwrap());
        set_nonblocking(original.as_fd(), false).unwrap();
        assert!(!is_nonblocking(duplicate.as_fd()).unwrap());
    }

    #[test]
    fn a_duplicate_is_made_close_on_exec() {
        let (original, _writer) = std::io::pipe().unwrap();
        assert!(is_close_on_exec(
            duplicate(original.as_fd()).unwrap().as_fd()
        ));
    }
}
