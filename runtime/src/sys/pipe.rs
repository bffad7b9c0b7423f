//! A pipe as a place where bytes are on their way from one socket to another, without being copied to user space.
//!
//! splice(2) answers `EAGAIN` both when the socket has nothing and when the pipe is full, and nobody can tell which. So a
//! pipe is filled only when it is empty, and then it is the socket. A count below what was asked for says nothing either: a
//! pipe has places for so many pieces, however small they are.
//!
//! There is no flag against `SIGPIPE`, which a splice to a connection that is gone raises.
#![expect(unsafe_code, reason = "calls pipe2 and splice")]

use std::io;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};
use std::ptr;

use super::call::{Call, retry, transfer};
use super::socket::Socket;

/// Both ends of a pipe.
#[derive(Debug)]
pub(crate) struct Pipe {
    out: OwnedFd,
    into: OwnedFd,
}

impl Pipe {
    #[inline]
    pub(crate) fn new() -> io::Result<Self> {
        let mut ends = [-1; 2];
        retry(Call::PipeCreate, || {
            // SAFETY: `ends` has room for two descriptors.
            unsafe { libc::pipe2(ends.as_mut_ptr(), libc::O_CLOEXEC | libc::O_NONBLOCK) }
        })?;
        // SAFETY: the kernel just made these descriptors, and nobody else knows them.
        let [out, into] = ends.map(|end| unsafe { OwnedFd::from_raw_fd(end) });
        Ok(Self { out, into })
    }

    /// Moves up to `most` bytes from `socket` into the pipe, which is empty; 0 means that the peer sends no more.
    ///
    /// # Errors
    ///
    /// Also [those](is_refusal) that mean that it cannot be done here.
    #[inline]
    pub(crate) fn fill(&self, socket: &Socket, most: usize) -> io::Result<usize> {
        let count = transfer(Call::Splice, socket.as_fd(), most, |len| {
            // SAFETY: sockets and pipes have no offsets, and the call touches no memory of ours.
            unsafe {
                let (from, into) = (socket.as_raw_fd(), self.into.as_raw_fd());
                libc::splice(from, ptr::null_mut(), into, ptr::null_mut(), len, FLAGS)
            }
        })?;
        Ok(count as usize)
    }

    /// Moves up to `most` bytes, which are in the pipe, to `socket`.
    #[inline]
    pub(crate) fn drain(&self, socket: &Socket, most: usize) -> io::Result<usize> {
        let count = transfer(Call::Splice, socket.as_fd(), most, |len| {
            // SAFETY: sockets and pipes have no offsets, and the call touches no memory of ours.
            unsafe {
                let (out, to) = (self.out.as_raw_fd(), socket.as_raw_fd());
                libc::splice(out, ptr::null_mut(), to, ptr::null_mut(), len, FLAGS)
            }
        })?;
        Ok(count as usize)
    }
}

/// Whether an error of moving bytes within the kernel means that this kernel, this kind of file or a sandbox does not allow
/// it. Nothing was moved, and reading and writing does the same.
#[inline]
pub(crate) fn is_refusal(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error(),
        Some(libc::EINVAL | libc::ENOSYS | libc::EPERM | libc::EOPNOTSUPP)
    )
}

const FLAGS: libc::c_uint = libc::SPLICE_F_MOVE | libc::SPLICE_F_NONBLOCK;

#[cfg(all(test, not(loom)))]
mod tests {
    use std::io::{ErrorKind, Read, Write};
    use std::net::Shutdown;
    use std::os::fd::{AsFd, OwnedFd};
    use std::os::unix::net::UnixStream;

    use super::Pipe;
    use crate::sys::fd;
    use crate::sys::socket::Socket;

    #[test]
    fn bytes_go_from_socket_to_socket_and_the_end_is_seen() {
        let pipe = Pipe::new().unwrap();
        let ((mut writer, from), (to, mut reader)) = (pair(), pair());
        let (from, to) = (
            Socket::from(OwnedFd::from(from)),
            Socket::from(OwnedFd::from(to)),
        );
        let empty = pipe.fill(&from, 100).unwrap_err();
        assert_eq!(empty.kind(), ErrorKind::WouldBlock);
        writer.write_all(b"hello").unwrap();
        // Not by dropping it: a child that another test is about to start may have it open for a moment.
        writer.shutdown(Shutdown::Write).unwrap();
        assert_eq!(pipe.fill(&from, 100).unwrap(), 5);
        assert_eq!(pipe.drain(&to, 3).unwrap(), 3);
        assert_eq!(pipe.drain(&to, 2).unwrap(), 2);
        assert_eq!(pipe.fill(&from, 100).unwrap(), 0);
        let mut received = [0; 8];
        assert_eq!(reader.read(&mut received).unwrap(), 5);
        assert_eq!(&received[..5], b"hello");
    }

    #[test]
    fn both_ends_are_made_close_on_exec_and_nonblocking() {
        let pipe = Pipe::new().unwrap();
        for end in [&pipe.out, &pipe.into] {
            assert!(fd::is_close_on_exec(end.as_fd()));
            assert!(fd::is_nonblocking(end.as_fd()).unwrap());
        }
    }

    fn pair() -> (UnixStream, UnixStream) {
        let (one, other) = UnixStream::pair().unwrap();
        one.set_nonblocking(true).unwrap();
        other.set_nonblocking(true).unwrap();
        (one, other)
    }
}
