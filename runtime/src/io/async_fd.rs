//! Any descriptor that epoll can watch, with operations that wait.
//!
//! ```text
//!   try ──▶ known to be not ready? ──▶ wait (registers the first time) ◀─┐
//!                 │ no                            │ event                │
//!                 ▼                               ▼                      │
//!           one unit of budget ──▶ the operation ──▶ WouldBlock ──▶ clear readiness
//!                                        └──▶ anything else is the answer
//! ```
//!
//! * Readiness is cleared only if nothing was delivered since it was looked at, which is before the operation. So the
//!   operation is a closure, and there is no readiness to be cleared by hand, or to be forgotten.
//! * Waiting is not charged to the task's budget; each try is, whatever comes of it.
//! * The descriptor leaves the reactor before it is closed or given away.

use std::fmt;
use std::future::poll_fn;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use super::gate::Gate;
use super::wait::Wait;
use crate::executor::poll_proceed;
use crate::reactor::{Direction, Interest, Ready, Registration, WaitKey};
use crate::sys::fd;
use crate::time::Instant;

/// A descriptor of any kind that epoll can watch, made awaitable.
///
/// I/O goes through closures: [`read_with`](Self::read_with) tries the operation, and when it answers
/// [`WouldBlock`](io::ErrorKind::WouldBlock), waits until the descriptor is ready and tries again. There is no guard to
/// hold and no flag to clear.
///
/// All operations take `&self`, and any number of tasks may wait at the same time. The descriptor becomes known to the
/// runtime when it waits for the first time and leaves it before `T` is dropped. It has to stay the same for as long as
/// the `AsyncFd` lives, and can be in one `AsyncFd` at a time.
///
/// # Examples
///
/// ```
/// # fn main() -> std::io::Result<()> {
/// use std::io::{Read, Write};
/// use wakeful::io::AsyncFd;
///
/// wakeful::block_on(async {
///     let (reader, mut writer) = std::io::pipe()?;
///     let reader = AsyncFd::new_nonblocking(reader)?;
///     writer.write_all(b"hello")?;
///
///     let mut buffer = [0; 16];
///     let count = reader.read_with(|mut pipe| pipe.read(&mut buffer)).await?;
///     assert_eq!(&buffer[..count], b"hello");
///     Ok(())
/// })
/// # }
/// ```
pub struct AsyncFd<T: AsFd> {
    /// First: it leaves the reactor as it is dropped, and the descriptor must still be open then.
    gate: Gate,
    inner: T,
}

impl<T: AsFd> AsyncFd<T> {
    /// Wraps a descriptor that is in non-blocking mode already.
    ///
    /// # Errors
    ///
    /// [`InvalidInput`](io::ErrorKind::InvalidInput) if it is in blocking mode: an operation on it would stop the whole
    /// thread. [`new_nonblocking`](Self::new_nonblocking) changes the mode.
    ///
    /// A descriptor that epoll refuses, such as a regular file, is reported when it has to wait for the first time.
    ///
    /// # Examples
    ///
    /// ```
    /// # fn main() -> std::io::Result<()> {
    /// use wakeful::io::AsyncFd;
    ///
    /// let (reader, _writer) = std::io::pipe()?;
    /// let refused = AsyncFd::new(reader).unwrap_err();
    /// assert_eq!(refused.kind(), std::io::ErrorKind::InvalidInput);
    /// # Ok(())
    /// # }
    /// ```
    pub fn new(inner: T) -> io::Result<Self> {
        if !fd::is_nonblocking(inner.as_fd())? {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "the descriptor is in blocking mode: use `AsyncFd::new_nonblocking`, or set O_NONBLOCK before",
            ));
        }
        Ok(Self::with_registration(inner, Registration::optimistic()))
    }

    /// Wraps a descriptor and puts it into non-blocking mode.
    ///
    /// The mode belongs to the *open file description*, not to this descriptor: everyone who shares it finds it
    /// non-blocking from now on. For a duplicate that is another part of the program, for a standard input or output
    /// that was inherited it may be the shell. Nobody sets it back.
    ///
    /// # Errors
    ///
    /// Those of fcntl(2).
    pub fn new_nonblocking(inner: T) -> io::Result<Self> {
        fd::set_nonblocking(inner.as_fd(), true)?;
        Ok(Self::with_registration(inner, Registration::optimistic()))
    }

    /// For descriptors that are known to be in non-blocking mode.
    pub(crate) fn with_registration(inner: T, registration: Registration) -> Self {
        Self {
            gate: Gate::new(registration),
            inner,
        }
    }

    /// What was wrapped.
    #[inline]
    pub fn get_ref(&self) -> &T {
        &self.inner
    }

    /// Takes the descriptor out of the reactor and gives it back. It stays in non-blocking mode.
    pub fn into_inner(self) -> T {
        self.inner
    }

    /// Reads by `op`, which is tried when the descriptor may be readable, until it does not answer `WouldBlock`.
    ///
    /// `op` has to use the descriptor, and nothing else may make it answer `WouldBlock`: after that only an event can
    /// wake the task.
    ///
    /// # Errors
    ///
    /// Those of `op`, except `WouldBlock`. Also
    /// [`Unsupported`](io::ErrorKind::Unsupported) if it has to wait for a descriptor that epoll refuses,
    /// [`AlreadyExists`](io::ErrorKind::AlreadyExists) if the descriptor is in another `AsyncFd` too, and an error if the
    /// runtime that it waited in has shut down.
    ///
    /// # Panics
    ///
    /// If it has to wait for the first time outside a runtime.
    /// With a deadline set, each wait arms its timer in the runtime that the thread is in, and needs one.
    ///
    /// # Cancel safety
    ///
    /// Safe: `op` succeeds in the same poll that returns its result, so nothing that was read is lost.
    pub fn read_with<R>(
        &self,
        mut op: impl FnMut(&T) -> io::Result<R>,
    ) -> impl Future<Output = io::Result<R>> {
        let mut wait = self.wait(Interest::Readable);
        poll_fn(move |cx| wait.poll_io(cx, |inner| Try::of(op(inner))))
    }

    /// Writes by `op`, which is tried when the descriptor may be writable, until it does not answer `WouldBlock`.
    ///
    /// Otherwise, and in its errors and panics, like [`read_with`](Self::read_with).
    ///
    /// # Cancel safety
    ///
    /// Safe: `op` succeeds in the same poll that returns its result.
    pub fn write_with<R>(
        &self,
        mut op: impl FnMut(&T) -> io::Result<R>,
    ) -> impl Future<Output = io::Result<R>> {
        let mut wait = self.wait(Interest::Writable);
        poll_fn(move |cx| wait.poll_io(cx, |inner| Try::of(op(inner))))
    }

    /// Tries `op` once. If it answers `WouldBlock`, the next wait for readability waits for an event.
    ///
    /// # Errors
    ///
    /// Those of `op`.
    pub fn try_read_with<R>(&self, op: impl FnOnce(&T) -> io::Result<R>) -> io::Result<R> {
        self.try_io(Interest::Readable, |inner| Try::of(op(inner)))
    }

    /// Tries `op` once. If it answers `WouldBlock`, the next wait for writability waits for an event.
    ///
    /// # Errors
    ///
    /// Those of `op`.
    pub fn try_write_with<R>(&self, op: impl FnOnce(&T) -> io::Result<R>) -> io::Result<R> {
        self.try_io(Interest::Writable, |inner| Try::of(op(inner)))
    }

    /// Waits until a read will probably not block: there is data, or the stream has ended.
    ///
    /// It may resolve when there is nothing, and does so at once as long as no operation has answered `WouldBlock`. So
    /// follow it by [`try_read_with`](Self::try_read_with) in a loop.
    ///
    /// # Errors
    ///
    /// Those of waiting that [`read_with`](Self::read_with) lists.
    ///
    /// # Panics
    ///
    /// If it has to wait for the first time outside a runtime.
    ///
    /// # Cancel safety
    ///
    /// Safe: nothing is lost, the descriptor stays as ready as it was.
    pub fn readable(&self) -> impl Future<Output = io::Result<()>> {
        self.wait(Interest::Readable)
    }

    /// Waits until a write will probably not block.
    ///
    /// Otherwise like [`readable`](Self::readable).
    ///
    /// # Cancel safety
    ///
    /// Safe: nothing is lost, the descriptor stays as ready as it was.
    pub fn writable(&self) -> impl Future<Output = io::Result<()>> {
        self.wait(Interest::Writable)
    }

    /// Waits until the other side has ended its stream: closed it, or shut down its writing side; which of the two,
    /// nobody can tell. Data that was sent before may still be unread.
    ///
    /// Only sockets and pipes have an end of stream; on anything else this stays pending.
    ///
    /// # Errors
    ///
    /// Those of waiting that [`read_with`](Self::read_with) lists.
    ///
    /// # Panics
    ///
    /// If it has to wait for the first time outside a runtime.
    ///
    /// # Cancel safety
    ///
    /// Safe: once the stream has ended, every call resolves.
    pub fn read_closed(&self) -> impl Future<Output = io::Result<()>> {
        self.wait(Interest::ReadClosed)
    }

    /// Waits until the descriptor has hung up or is in error: neither direction goes on, as after a connection reset.
    /// Data may still be unread.
    ///
    /// # Errors
    ///
    /// Those of waiting that [`read_with`](Self::read_with) lists. The error of the descriptor itself is none of them:
    /// the next operation returns it.
    ///
    /// # Panics
    ///
    /// If it has to wait for the first time outside a runtime.
    ///
    /// # Cancel safety
    ///
    /// Safe: once the descriptor has hung up, every call resolves.
    pub fn hung_up(&self) -> impl Future<Output = io::Result<()>> {
        self.wait(Interest::HungUp)
    }

    /// Limits how long reads, and waits for readability, may wait: until `deadline`, or without end.
    ///
    /// It holds for those that wait now and for all that follow, until another is set. What need not wait succeeds also
    /// later. To put the deadline off with every message costs next to nothing: the timer is moved when it fires.
    ///
    /// A read whose deadline has passed fails with [`TimedOut`](io::ErrorKind::TimedOut); nothing is lost, and with another
    /// deadline the next one may succeed. [`read_closed`](Self::read_closed) and [`hung_up`](Self::hung_up) have no deadline.
    ///
    /// # Examples
    ///
    /// ```
    /// # fn main() -> std::io::Result<()> {
    /// use std::io::{ErrorKind, Read};
    /// use std::time::Duration;
    /// use wakeful::io::AsyncFd;
    /// use wakeful::time::Instant;
    ///
    /// wakeful::block_on(async {
    ///     let (reader, _writer) = std::io::pipe()?;
    ///     let reader = AsyncFd::new_nonblocking(reader)?;
    ///     reader.set_read_deadline(Some(Instant::now() + Duration::from_millis(5)));
    ///     let late = reader.read_with(|mut pipe| pipe.read(&mut [0; 8])).await;
    ///     assert_eq!(late.unwrap_err().kind(), ErrorKind::TimedOut);
    ///     Ok(())
    /// })
    /// # }
    /// ```
    pub fn set_read_deadline(&self, deadline: Option<Instant>) {
        self.gate.set_deadline(Direction::Read, deadline);
    }

    /// Limits how long writes, and waits for writability, may wait; otherwise as
    /// [`set_read_deadline`](Self::set_read_deadline).
    pub fn set_write_deadline(&self, deadline: Option<Instant>) {
        self.gate.set_deadline(Direction::Write, deadline);
    }

    /// What [`set_read_deadline`](Self::set_read_deadline) has set.
    pub fn read_deadline(&self) -> Option<Instant> {
        self.gate.deadline(Direction::Read)
    }

    /// What [`set_write_deadline`](Self::set_write_deadline) has set.
    pub fn write_deadline(&self) -> Option<Instant> {
        self.gate.deadline(Direction::Write)
    }

    /// Limits how long nothing may happen: an operation fails that has waited for so long without an event in its direction.
    ///
    /// Counted from when it begins to wait; one that waits anew goes on counting, unless there was an event between. So a peer
    /// that sends now and then is not idle, and whoever only writes, without having to wait, is not concerned, but
    /// his reader is. Nothing has to be put off, and an operation that need not wait costs nothing.
    ///
    /// It fails with [`TimedOut`](io::ErrorKind::TimedOut), and nothing is lost. Deadlines hold beside it.
    /// [`read_closed`](Self::read_closed) and [`hung_up`](Self::hung_up) have no limit. Who waits now is not given one.
    pub fn set_idle_timeout(&self, limit: Option<Duration>) {
        self.gate.set_idle_timeout(limit);
    }

    /// What [`set_idle_timeout`](Self::set_idle_timeout) has set.
    pub fn idle_timeout(&self) -> Option<Duration> {
        self.gate.idle_timeout()
    }

    /// [`read_with`](Self::read_with) for hand-written futures.
    ///
    /// Only the last task that called one of the `poll_read` methods is woken; futures such as that of `read_with` do
    /// not have this limit.
    pub fn poll_read_with<R>(
        &self,
        cx: &mut Context<'_>,
        mut op: impl FnMut(&T) -> io::Result<R>,
    ) -> Poll<io::Result<R>> {
        self.poll_io(Interest::Readable, None, cx, |inner| Try::of(op(inner)))
    }

    /// [`write_with`](Self::write_with) for hand-written futures.
    ///
    /// Only the last task that called one of the `poll_write` methods is woken.
    pub fn poll_write_with<R>(
        &self,
        cx: &mut Context<'_>,
        mut op: impl FnMut(&T) -> io::Result<R>,
    ) -> Poll<io::Result<R>> {
        self.poll_io(Interest::Writable, None, cx, |inner| Try::of(op(inner)))
    }

    /// [`readable`](Self::readable) for hand-written futures, with one waker as in
    /// [`poll_read_with`](Self::poll_read_with).
    pub fn poll_readable(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_ready(Interest::Readable, None, cx))?;
        poll_proceed(cx).map(Ok)
    }

    /// [`writable`](Self::writable) for hand-written futures, with one waker as in
    /// [`poll_write_with`](Self::poll_write_with).
    pub fn poll_writable(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_ready(Interest::Writable, None, cx))?;
        poll_proceed(cx).map(Ok)
    }

    pub(crate) fn wait(&self, interest: Interest) -> Wait<'_, T> {
        Wait::new(self, interest)
    }

    /// Tries `op` whenever the descriptor may be ready, until it does not answer `WouldBlock`.
    #[inline]
    pub(crate) fn poll_io<R>(
        &self,
        interest: Interest,
        mut key: Option<&mut Option<WaitKey>>,
        cx: &mut Context<'_>,
        mut op: impl FnMut(&T) -> Try<R>,
    ) -> Poll<io::Result<R>> {
        loop {
            let ready = ready!(self.poll_ready(interest, key.as_deref_mut(), cx))?;
            ready!(poll_proceed(cx));
            match self.attempt(interest, ready, &mut op) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                result => return Poll::Ready(result),
            }
        }
    }

    /// Tries `op` once.
    #[inline]
    pub(crate) fn try_io<R>(
        &self,
        interest: Interest,
        op: impl FnOnce(&T) -> Try<R>,
    ) -> io::Result<R> {
        self.attempt(interest, self.gate.observe(), op)
    }

    /// Does the operation, and takes the readiness of which `ready` is a look away if that has been used up.
    ///
    /// An exception that was seen, such as the end of the stream, forbids to conclude from a short transfer: it is what
    /// comes next, and no event will tell of it again.
    #[inline]
    fn attempt<R>(
        &self,
        interest: Interest,
        ready: Ready<'_>,
        op: impl FnOnce(&T) -> Try<R>,
    ) -> io::Result<R> {
        let Try { result, short } = op(self.get_ref());
        match result {
            Ok(done) => {
                if short && !ready.is_exceptional() {
                    self.gate.clear(ready, interest);
                }
                Ok(done)
            }
            Err(error) => Err(self.note_failure(interest, ready, error)),
        }
    }

    #[cold]
    fn note_failure(&self, interest: Interest, ready: Ready<'_>, error: io::Error) -> io::Error {
        if error.kind() == io::ErrorKind::WouldBlock {
            self.gate.clear(ready, interest);
        }
        error
    }

    #[inline]
    pub(super) fn poll_ready(
        &self,
        interest: Interest,
        key: Option<&mut Option<WaitKey>>,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<Ready<'_>>> {
        self.gate.poll_ready(self.as_fd(), interest, key, cx)
    }

    #[inline]
    pub(super) fn forget(&self, key: &WaitKey) {
        self.gate.forget(key);
    }
}

impl<T: AsFd> AsFd for AsyncFd<T> {
    #[inline]
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.get_ref().as_fd()
    }
}

impl<T: AsFd> AsRawFd for AsyncFd<T> {
    fn as_raw_fd(&self) -> RawFd {
        self.as_fd().as_raw_fd()
    }
}

impl<T: AsFd + fmt::Debug> fmt::Debug for AsyncFd<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AsyncFd")
            .field("inner", self.get_ref())
            .field("readiness", &self.gate.readiness())
            .finish()
    }
}

/// What one try of an operation gave.
#[derive(Debug)]
pub(crate) struct Try<R> {
    result: io::Result<R>,
    /// It moved something, but less than there was room for: the next one would block.
    short: bool,
}

impl<R> Try<R> {
    /// A result of which only `WouldBlock` says that readiness is used up.
    #[inline]
    pub(crate) fn of(result: io::Result<R>) -> Self {
        Self {
            result,
            short: false,
        }
    }
}

impl Try<usize> {
    /// The result of moving up to `room` bytes through a stream.
    #[inline]
    pub(crate) fn of_transfer(result: io::Result<usize>, room: usize) -> Self {
        // 0 is none: it comes round to the greatest.
        let is_short = |moved: &usize| moved.wrapping_sub(1) < room.wrapping_sub(1);
        let short = result.as_ref().is_ok_and(is_short);
        Self { result, short }
    }
}
