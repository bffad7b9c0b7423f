//! How a system call is made: the result converted, an interruption repeated, faults let in.
//!
//! Every call has one of four shapes, and names its [`Call`], so that a build with `--cfg wakeful_sim` can make it fail:
//!
//! | shape | for calls that | after `EINTR` |
//! |---|---|---|
//! | [`retry`] | do their work at once | made again |
//! | [`transfer`] | move something through a descriptor whose readiness somebody may be waiting for | made again |
//! | [`once`] | wait | the caller's concern |
//! | [`begin`] | start something that goes on by itself | the caller's concern |

use std::io;
use std::os::fd::BorrowedFd;

use super::fault;

/// The system calls, as far as faults tell them apart.
#[cfg_attr(
    not(wakeful_sim),
    expect(unreachable_pub, reason = "public where `fault` is")
)]
#[derive(Copy, Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Call {
    /// `epoll_create1`.
    EpollCreate,
    /// `epoll_ctl` with `EPOLL_CTL_ADD`.
    EpollAdd,
    /// `epoll_ctl` with `EPOLL_CTL_DEL`.
    EpollDelete,
    /// `epoll_wait` or `epoll_pwait2`.
    EpollWait,
    /// `eventfd`.
    EventFdCreate,
    /// `write` to an eventfd, and the `read` that makes room for it.
    EventFdWrite,
    /// `fcntl` with `F_GETFL`, `F_SETFL`, `F_GETFD` or `F_SETFD`, `flock` and `fchmod`.
    DescriptorFlags,
    /// `fcntl` with `F_DUPFD_CLOEXEC`.
    Duplicate,
    /// `sigaction`.
    SignalAction,
    /// `socket` and `socketpair`.
    Socket,
    /// `bind`.
    Bind,
    /// `listen`.
    Listen,
    /// `accept4`.
    Accept,
    /// `connect`. The call is made all the same; a fault replaces its result.
    Connect,
    /// `recv`, `recvfrom`, `recvmsg` and `recvmmsg`, peeking included.
    Recv,
    /// `send`, `sendto`, `sendmsg` and `sendmmsg`.
    Send,
    /// `sendfile`.
    SendFile,
    /// `pipe2`.
    PipeCreate,
    /// `splice`, into a pipe or out of it.
    Splice,
    /// `shutdown`.
    Shutdown,
    /// `getsockname` and `getpeername`.
    SocketName,
    /// `getsockopt`, which also fetches a socket's pending error.
    GetOption,
    /// `setsockopt`.
    SetOption,
}

/// Makes a call one time.
#[inline]
pub(super) fn once<T>(call: Call, attempt: impl FnOnce() -> T) -> io::Result<T>
where
    T: From<i8> + PartialEq,
{
    fault::inject(call).and_then(|()| cvt(attempt()))
}

/// Makes a call one time that starts something. A fault replaces the result of a call that was made: what an
/// interruption leaves behind goes on.
#[inline]
pub(super) fn begin<T>(call: Call, attempt: impl FnOnce() -> T) -> io::Result<T>
where
    T: From<i8> + PartialEq,
{
    let result = cvt(attempt());
    fault::inject(call).and(result)
}

/// Makes a call until no signal interrupts it.
#[inline]
pub(super) fn retry<T>(call: Call, mut attempt: impl FnMut() -> T) -> io::Result<T>
where
    T: From<i8> + PartialEq,
{
    uninterrupted(|| once(call, &mut attempt))
}

/// Makes a call that moves up to `len` items through `fd` until no signal interrupts it.
///
/// `attempt` is told how many items to move at most. It is called with `len`, except where a fault shortens the call.
#[inline]
pub(super) fn transfer<T>(
    call: Call,
    fd: BorrowedFd<'_>,
    len: usize,
    mut attempt: impl FnMut(usize) -> T,
) -> io::Result<T>
where
    T: From<i8> + PartialEq,
{
    uninterrupted(|| fault::inject_transfer(call, fd, len, |len| cvt(attempt(len))))
}

/// Whether a signal ended the call before it did anything.
#[inline]
pub(super) fn is_interrupted(error: &io::Error) -> bool {
    error.raw_os_error() == Some(libc::EINTR)
}

#[inline]
fn uninterrupted<T>(mut attempt: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    loop {
        match attempt() {
            Ok(done) => return Ok(done),
            Err(error) => not_interrupted(error)?,
        }
    }
}

/// Apart, or it would be compiled again for each call.
#[inline(never)]
fn not_interrupted(error: io::Error) -> io::Result<()> {
    if is_interrupted(&error) {
        Ok(())
    } else {
        Err(error)
    }
}

/// What libc returned, or the error that it left in `errno`.
#[inline]
pub(super) fn cvt<T: From<i8> + PartialEq>(result: T) -> io::Result<T> {
    if result == T::from(-1) {
        Err(io::Error::last_os_error())
    } else {
        Ok(result)
    }
}
