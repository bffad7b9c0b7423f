//! A counter in the kernel whose only use is to end another thread's `epoll_wait`.
//!
//! It is registered edge-triggered and **never read**: each write is an edge of its own, whatever the counter stands at,
//! so a notification costs one `write` and its delivery nothing. Only a full counter, after 2⁶⁴ − 2 notifications, refuses
//! a write; then the writer empties it and writes again. (Rejected: level-triggered and read in the loop, which costs
//! a system call per wake-up and a flag that says when reading is due.)
#![expect(unsafe_code, reason = "calls eventfd, read and write")]

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use super::call::{Call, retry};

/// An eventfd that many threads may notify.
#[derive(Debug)]
pub(crate) struct EventFd(OwnedFd);

impl EventFd {
    pub(crate) fn new() -> io::Result<Self> {
        let fd = retry(Call::EventFdCreate, || {
            // SAFETY: the call touches no memory of ours.
            unsafe { libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK) }
        })?;
        // SAFETY: the kernel just made this descriptor, and nobody else knows it.
        Ok(Self(unsafe { OwnedFd::from_raw_fd(fd) }))
    }

    /// Makes the descriptor readable anew: an edge for every epoll instance that watches it.
    ///
    /// # Panics
    ///
    /// If the kernel refuses the write for another reason than a full counter. There is none for a descriptor of
    /// ours, and to go on would be to lose a wake-up.
    pub(crate) fn notify(&self) {
        while let Err(error) = self.add(1) {
            let full = error.kind() == io::ErrorKind::WouldBlock;
            assert!(full, "cannot write to an eventfd: {error}");
            self.empty();
        }
    }

    fn add(&self, count: u64) -> io::Result<()> {
        let bytes = count.to_ne_bytes();
        retry(Call::EventFdWrite, || {
            // SAFETY: `bytes` is readable for its whole length.
            unsafe { libc::write(self.0.as_raw_fd(), bytes.as_ptr().cast(), bytes.len()) }
        })?;
        Ok(())
    }

    /// Sets the counter to zero. That another thread did it first is no matter.
    fn empty(&self) {
        let mut bytes = [0; 8];
        let _ = retry(Call::EventFdWrite, || {
            // SAFETY: `bytes` is writable for its whole length.
            unsafe { libc::read(self.0.as_raw_fd(), bytes.as_mut_ptr().cast(), bytes.len()) }
        });
    }
}

impl AsFd for EventFd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use std::os::fd::AsFd;
    use std::time::Duration;

    use super::EventFd;
    use crate::sys::epoll::{Epoll, EventBuffer, Events};
    use crate::sys::fd;

    #[test]
    fn every_notification_is_an_edge_though_nobody_reads() {
        let (epoll, event_fd, mut events) = watched();
        for _ in 0..3 {
            event_fd.notify();
            epoll.wait(&mut events, 8, Some(Duration::ZERO)).unwrap();
            assert_eq!(events.iter().count(), 1);
            epoll.wait(&mut events, 8, Some(Duration::ZERO)).unwrap();
            assert!(events.is_empty(), "one edge is reported once");
        }
    }

    #[test]
    fn a_full_counter_loses_no_notification() {
        let (epoll, event_fd, mut events) = watched();
        event_fd.add(u64::MAX - 1).unwrap();
        epoll.wait(&mut events, 8, Some(Duration::ZERO)).unwrap();
        event_fd.notify();
        epoll.wait(&mut events, 8, Some(Duration::ZERO)).unwrap();
        assert_eq!(events.iter().count(), 1);
    }

    #[test]
    fn it_is_made_close_on_exec_and_nonblocking() {
        let event_fd = EventFd::new().unwrap();
        assert!(fd::is_close_on_exec(event_fd.as_fd()));
        assert!(fd::is_nonblocking(event_fd.as_fd()).unwrap());
    }

    fn watched() -> (Epoll, EventFd, EventBuffer) {
        let epoll = Epoll::new().unwrap();
        let event_fd = EventFd::new().unwrap();
        let edge = Events::READABLE | Events::EDGE;
        epoll.add(event_fd.as_fd(), edge, 7).unwrap();
        (epoll, event_fd, EventBuffer::with_capacity(8))
    }
}
