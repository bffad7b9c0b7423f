//! Fault injection in an ordinary build: nothing, in the shape of `fault.rs`.
//!
//! Every function inlines to the call it surrounds.

use std::io;
use std::os::fd::{BorrowedFd, RawFd};

use super::call::Call;
use super::epoll::Events;

#[inline(always)]
pub(super) fn inject(_: Call) -> io::Result<()> {
    Ok(())
}

#[inline(always)]
pub(super) fn inject_transfer<T>(
    _: Call,
    _: BorrowedFd<'_>,
    len: usize,
    attempt: impl FnOnce(usize) -> io::Result<T>,
) -> io::Result<T> {
    attempt(len)
}

#[inline(always)]
pub(super) fn register(
    _: BorrowedFd<'_>,
    _: BorrowedFd<'_>,
    _: Events,
    _: u64,
    add: impl FnOnce() -> io::Result<()>,
) -> io::Result<()> {
    add()
}

#[inline(always)]
pub(super) fn deregister(
    _: BorrowedFd<'_>,
    _: RawFd,
    delete: impl FnOnce() -> io::Result<()>,
) -> io::Result<()> {
    delete()
}

#[inline(always)]
pub(super) fn forget(_: BorrowedFd<'_>) {}
