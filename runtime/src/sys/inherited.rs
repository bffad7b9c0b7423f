//! Descriptors that were open when the program began, given to it by whoever started it.
//!
//! Their numbers come from outside, and an `OwnedFd` of a number that belongs to somebody else would close that one's file.
//! What keeps that from happening: a descriptor that has come through exec(2) is not close-on-exec, and all that Rust and
//! this crate open are; so one that is open without that flag has come from outside, or from a C library that left it off.
//! It gets the flag as it is taken, and is therefore never taken twice.
#![expect(
    unsafe_code,
    reason = "calls fcntl on numbers, and makes descriptors of them"
)]

use std::io;
use std::os::fd::{FromRawFd, OwnedFd, RawFd};
use std::sync::{Mutex, PoisonError};

use super::call::{Call, retry};

/// Takes the descriptors with these numbers, all or none, and makes them close-on-exec.
///
/// # Errors
///
/// For a number that is not open (`EBADF`), and for one that was opened by this program or taken before (`AlreadyExists`).
/// The number is in the error's place: `(number, error)`.
pub(crate) fn take(
    numbers: impl Iterator<Item = RawFd>,
) -> Result<Vec<(RawFd, OwnedFd)>, (RawFd, io::Error)> {
    static TURN: Mutex<()> = Mutex::new(());
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let mut checked = Vec::new();
    for number in numbers {
        match flags(number) {
            Ok(flags) if flags & libc::FD_CLOEXEC == 0 => checked.push((number, flags)),
            Ok(_) => return Err((number, io::ErrorKind::AlreadyExists.into())),
            Err(error) => return Err((number, error)),
        }
    }
    for &(number, flags) in &checked {
        retry(Call::DescriptorFlags, || {
            // SAFETY: F_SETFD takes an integer and touches no memory of ours.
            unsafe { libc::fcntl(number, libc::F_SETFD, flags | libc::FD_CLOEXEC) }
        })
        .map_err(|error| (number, error))?;
    }
    let owned = checked.into_iter().map(|(number, _)| {
        // SAFETY: the number is open and was not close-on-exec, so nobody in this process has opened it; it is now, and the
        // lock is held, so nobody has taken it from here before and nobody will.
        (number, unsafe { OwnedFd::from_raw_fd(number) })
    });
    Ok(owned.collect())
}

#[inline]
fn flags(number: RawFd) -> io::Result<libc::c_int> {
    retry(Call::DescriptorFlags, || {
        // SAFETY: F_GETFD touches no memory of ours; of a number that is not open it says so.
        unsafe { libc::fcntl(number, libc::F_GETFD) }
    })
}

#[cfg(all(test, not(loom)))]
mod tests {
    use std::io::ErrorKind;
    use std::iter;
    use std::os::fd::{AsFd, AsRawFd, IntoRawFd};

    use super::take;
    use crate::sys::fd::is_close_on_exec;

    #[test]
    fn what_is_not_close_on_exec_is_taken_once() {
        let (reader, _writer) = std::io::pipe().unwrap();
        let number = reader.into_raw_fd();
        // SAFETY: F_SETFD touches no memory.
        assert_eq!(unsafe { libc::fcntl(number, libc::F_SETFD, 0) }, 0);
        let taken = take(iter::once(number)).unwrap();
        assert_eq!(taken[0].0, number);
        assert!(is_close_on_exec(taken[0].1.as_fd()));
        let (failed, error) = take(iter::once(number)).unwrap_err();
        assert_eq!((failed, error.kind()), (number, ErrorKind::AlreadyExists));
    }

    #[test]
    fn what_the_program_has_opened_is_left_alone() {
        let (reader, _writer) = std::io::pipe().unwrap();
        let (_, error) = take(iter::once(reader.as_raw_fd())).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::AlreadyExists);
    }

    #[test]
    fn a_number_that_is_not_open_is_an_error_that_names_it() {
        let (failed, error) = take(iter::once(i32::MAX)).unwrap_err();
        assert_eq!(
            (failed, error.raw_os_error()),
            (i32::MAX, Some(libc::EBADF))
        );
    }
}
