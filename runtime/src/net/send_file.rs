//! Sending a file through a socket without reading it into user space.
//!
//! Where sendfile(2) cannot be used (a kind of file that it does not know, a sandbox, a program that does not ignore
//! `SIGPIPE`), the file is read and written, through the thread's buffer. What the socket does not take of that is read
//! again later, so nothing is kept between two calls but the position.

use std::fs::File;
use std::future::poll_fn;
use std::io;
use std::ops::{Bound, RangeBounds};
use std::os::fd::AsFd;
use std::os::unix::fs::FileExt;
use std::task::{Poll, ready};

use crate::io::{AsyncFd, CopyError, Try, is_sigpipe_ignored, with_scratch};
use crate::reactor::Interest;
use crate::sys::pipe::is_refusal;
use crate::sys::socket::Socket;

/// Sends the bytes of `range`, or as many of them as `file` has.
pub(super) fn send_file(
    io: &AsyncFd<Socket>,
    file: &File,
    range: impl RangeBounds<u64>,
) -> impl Future<Output = Result<u64, CopyError>> {
    let (start, end) = limits(&range);
    let mut offset = start;
    let mut through_kernel = is_sigpipe_ignored();
    let mut wait = io.wait(Interest::Writable);
    poll_fn(move |cx| {
        while offset < end {
            let most = (end - offset).min(PIECE_MAX) as usize;
            let sent = ready!(wait.poll_io(cx, |socket| {
                if through_kernel {
                    match socket.send_file(file.as_fd(), offset, most) {
                        Err(error) if is_refusal(&error) => through_kernel = false,
                        result => return Try::of(result),
                    }
                }
                Try::of(send_through_memory(socket, file, offset, most))
            }));
            match sent {
                Ok(0) => break,
                Ok(count) => offset += count as u64,
                Err(error) => return Poll::Ready(CopyError::or_count(Err(error), offset - start)),
            }
        }
        Poll::Ready(Ok(offset - start))
    })
}

/// Reads and sends up to `most` bytes; 0 means that the file ends.
#[inline]
fn send_through_memory(
    socket: &Socket,
    file: &File,
    offset: u64,
    most: usize,
) -> io::Result<usize> {
    with_scratch(|buffer| {
        let most = most.min(buffer.len());
        match file.read_at(&mut buffer[..most], offset)? {
            0 => Ok(0),
            count => socket.send(&buffer[..count]),
        }
    })
}

/// From where to where, exclusively.
fn limits(range: &impl RangeBounds<u64>) -> (u64, u64) {
    let start = match range.start_bound() {
        Bound::Included(&first) => first,
        Bound::Excluded(&before) => before.saturating_add(1),
        Bound::Unbounded => 0,
    };
    let end = match range.end_bound() {
        Bound::Included(&last) => last.saturating_add(1),
        Bound::Excluded(&end) => end,
        Bound::Unbounded => u64::MAX,
    };
    (start, end)
}

/// What one system call sends at most: others want to be served too, and the disk may be slow.
const PIECE_MAX: u64 = 256 << 10;
