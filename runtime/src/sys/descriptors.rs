//! Descriptors that travel with a message (`SCM_RIGHTS`), over Unix sockets.
//!
//! * What arrives is close-on-exec from the start (`MSG_CMSG_CLOEXEC`), and owned before anything else can go wrong.
//! * The kernel gives no more descriptors than there is room for, nor than the process may have; the rest it throws away, and
//!   says so (`MSG_CTRUNC`). It does the same with all of them in a call that offers no room, which every call of the
//!   neighbouring files is.
//! * A read from a stream ends behind a message that had descriptors, so that they are not taken for those of the next.
#![expect(unsafe_code, reason = "reads and writes control messages")]

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use super::call::{Call, transfer};
use super::socket::{Socket, message};

impl Socket {
    /// Sends `bytes`, or as many of them as a stream has room for, with descriptors of our own, of which the receiver gets
    /// duplicates.
    ///
    /// # Errors
    ///
    /// `InvalidInput` if there are more than [`DESCRIPTORS_MAX`]; `ETOOMANYREFS` if too many are on their way already.
    #[inline]
    pub(crate) fn send_with_descriptors(
        &self,
        bytes: &[u8],
        fds: &[BorrowedFd<'_>],
    ) -> io::Result<usize> {
        if fds.len() > DESCRIPTORS_MAX {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "no more than 253 descriptors can be sent with one message",
            ));
        }
        let mut part = libc::iovec {
            iov_base: bytes.as_ptr().cast_mut().cast(),
            iov_len: bytes.len(),
        };
        let mut header = message(&raw mut part, 1);
        let mut control = Control::new();
        if !fds.is_empty() {
            let len = size_of_val(fds) as u32;
            header.msg_control = control.0.as_mut_ptr().cast();
            // SAFETY: arithmetic on a length.
            header.msg_controllen = unsafe { libc::CMSG_SPACE(len) } as _;
            // SAFETY: `control` is aligned for a control message's head and has room for one with `DESCRIPTORS_MAX`
            // descriptors, so there is a first message, and as many as are in `fds` may be written to its data.
            unsafe {
                let head = libc::CMSG_FIRSTHDR(&raw const header);
                (*head).cmsg_level = libc::SOL_SOCKET;
                (*head).cmsg_type = libc::SCM_RIGHTS;
                (*head).cmsg_len = libc::CMSG_LEN(len) as _;
                let data = libc::CMSG_DATA(head).cast::<RawFd>();
                for (at, fd) in fds.iter().enumerate() {
                    data.add(at).write_unaligned(fd.as_raw_fd());
                }
            }
        }
        let count = transfer(Call::Send, self.as_fd(), 1, |_| {
            // SAFETY: `header` names places that live through the call, each readable for the length beside it.
            unsafe { libc::sendmsg(self.as_raw_fd(), &raw const header, libc::MSG_NOSIGNAL) }
        })?;
        Ok(count as usize)
    }

    /// Receives into `buffer`, with up to `fds_max` descriptors.
    ///
    /// Of a datagram it is told how long it was, which may be more than `buffer` has room for.
    #[inline]
    pub(crate) fn recv_with_descriptors(
        &self,
        buffer: &mut [u8],
        fds_max: usize,
        is_datagram: bool,
    ) -> io::Result<WithDescriptors> {
        let mut part = libc::iovec {
            iov_base: buffer.as_mut_ptr().cast(),
            iov_len: buffer.len(),
        };
        let mut control = Control::new();
        let room = (fds_max.min(DESCRIPTORS_MAX) * size_of::<RawFd>()) as u32;
        let flags = libc::MSG_CMSG_CLOEXEC | if is_datagram { libc::MSG_TRUNC } else { 0 };
        let mut header = message(&raw mut part, 1);
        header.msg_control = control.0.as_mut_ptr().cast();
        let count = transfer(Call::Recv, self.as_fd(), 1, |_| {
            // Without the padding at its end, in which the kernel would find room for one more.
            // SAFETY: arithmetic on a length.
            header.msg_controllen = unsafe { libc::CMSG_LEN(room) } as _;
            // SAFETY: `header` names places that live through the call, each writable for the length beside it.
            unsafe { libc::recvmsg(self.as_raw_fd(), &raw mut header, flags) }
        })?;
        Ok(WithDescriptors {
            len: count as usize,
            fds: received(&header),
            fds_lost: header.msg_flags & libc::MSG_CTRUNC != 0,
        })
    }
}

/// What [`Socket::recv_with_descriptors`] received.
#[derive(Debug)]
pub(crate) struct WithDescriptors {
    pub(crate) len: usize,
    pub(crate) fds: Vec<OwnedFd>,
    /// There were more descriptors, and the kernel has thrown them away.
    pub(crate) fds_lost: bool,
}

/// The descriptors in the control messages of a call that has just been made, each wrapped once.
#[inline]
fn received(header: &libc::msghdr) -> Vec<OwnedFd> {
    let mut fds = Vec::new();
    // SAFETY: the kernel wrote the control messages and how long they are, so libc's walk stays within them; it made the
    // descriptors for us, and nobody else knows them.
    unsafe {
        let mut head = libc::CMSG_FIRSTHDR(header);
        while !head.is_null() {
            if (*head).cmsg_level == libc::SOL_SOCKET && (*head).cmsg_type == libc::SCM_RIGHTS {
                let len = (*head).cmsg_len as usize - libc::CMSG_LEN(0) as usize;
                let data = libc::CMSG_DATA(head).cast::<RawFd>();
                let count = len / size_of::<RawFd>();
                fds.reserve_exact(count);
                for at in 0..count {
                    fds.push(OwnedFd::from_raw_fd(data.add(at).read_unaligned()));
                }
            }
            head = libc::CMSG_NXTHDR(header, head);
        }
    }
    fds
}

/// Room for a control message with [`DESCRIPTORS_MAX`] descriptors, aligned for its head.
struct Control([usize; CONTROL_WORDS]);

impl Control {
    fn new() -> Self {
        Self([0; CONTROL_WORDS])
    }
}

const CONTROL_WORDS: usize = {
    // SAFETY: arithmetic on a length.
    let space = unsafe { libc::CMSG_SPACE((DESCRIPTORS_MAX * size_of::<RawFd>()) as u32) };
    (space as usize).div_ceil(size_of::<usize>())
};

/// How many descriptors the kernel lets travel with one message (`SCM_MAX_FD`).
pub(crate) const DESCRIPTORS_MAX: usize = 253;

#[cfg(all(test, not(loom)))]
mod tests {
    use std::io::{self, Read, Write};
    use std::os::fd::AsFd;

    use super::DESCRIPTORS_MAX;
    use crate::sys::fd;
    use crate::sys::socket::{Socket, Type};

    #[test]
    fn a_descriptor_that_was_sent_is_the_same_file_and_close_on_exec() {
        for ty in [Type::Stream, Type::Datagram] {
            let (one, other) = Socket::pair(ty).unwrap();
            let (mut pipe, writer) = io::pipe().unwrap();
            one.send_with_descriptors(b"x", &[writer.as_fd()]).unwrap();
            drop(writer);
            let is_datagram = ty == Type::Datagram;
            let mut message = other
                .recv_with_descriptors(&mut [0; 8], 1, is_datagram)
                .unwrap();
            assert_eq!(
                (message.len, message.fds.len(), message.fds_lost),
                (1, 1, false)
            );
            assert!(fd::is_close_on_exec(message.fds[0].as_fd()));
            let mut writer = io::PipeWriter::from(message.fds.pop().unwrap());
            writer.write_all(b"hello").unwrap();
            drop(writer);
            let mut text = String::new();
            pipe.read_to_string(&mut text).unwrap(); // to the end: no other duplicate is open
            assert_eq!(text, "hello");
        }
    }

    #[test]
    fn no_more_arrive_than_there_is_room_for_and_the_rest_is_closed() {
        for (sent, room, arrive) in [(3, 3, 3), (3, 2, 2), (2, 1, 1), (1, 0, 0), (253, 999, 253)] {
            let (one, other) = Socket::pair(Type::Stream).unwrap();
            let (mut pipe, writer) = io::pipe().unwrap();
            one.send_with_descriptors(b"x", &vec![writer.as_fd(); sent])
                .unwrap();
            drop(writer);
            let message = other
                .recv_with_descriptors(&mut [0; 8], room, false)
                .unwrap();
            assert_eq!(message.fds.len(), arrive, "{sent} into {room}");
            assert_eq!(message.fds_lost, sent > arrive);
            drop(message);
            assert_eq!(pipe.read(&mut [0]).unwrap(), 0, "all are closed");
        }
        let (one, _other) = Socket::pair(Type::Stream).unwrap();
        let too_many = vec![one.as_fd(); DESCRIPTORS_MAX + 1];
        let error = one.send_with_descriptors(b"x", &too_many).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
    }

    #[test]
    fn a_read_ends_behind_a_message_with_descriptors() {
        let (one, other) = Socket::pair(Type::Stream).unwrap();
        for part in [b"ab", b"cd"] {
            one.send_with_descriptors(part, &[one.as_fd()]).unwrap();
        }
        let mut buffer = [0; 8];
        assert_eq!(other.recv(&mut buffer).unwrap(), 2); // a short read, and not the end of what there is
        assert_eq!(other.recv(&mut buffer).unwrap(), 2);
    }
}
