//! A connected stream socket of any family: moving bytes, with waiting.
//!
//! What the public stream types have in common; they add names, addresses and options. It is where a short read or write
//! is taken for what it is, the sign that the next one would block. The end of stream (a read of 0 bytes) never is, and
//! neither is a peek, which leaves everything where it was, nor a read from a socket whose reads
//! [end where a message did](StreamSocket::READ_TO_END).
//!
//! What users see of the operations, and their documentation, is in [`stream_operations`](super::stream_operations).
//!
//! Futures are closures around a [`Wait`] rather than `async fn`, which would keep each argument twice.

use std::borrow::BorrowMut;
use std::fmt;
use std::future::poll_fn;
use std::io::{self, Cursor, IoSlice, IoSliceMut};
use std::marker::PhantomData;
use std::net::Shutdown;
use std::task::{Context, Poll, ready};

use crate::io::{AsyncFd, Try, Wait};
use crate::reactor::{Interest, Registration};
use crate::sys::address::Address;
use crate::sys::socket::{Socket, VECTOR_MAX};

/// A public type of connected streams, as listeners and halves see it. Closed: its methods are nobody else's business.
pub trait StreamSocket: fmt::Debug + Sized {
    /// What its addresses are.
    #[doc(hidden)]
    type Address: Address;

    /// Whether a read takes all there is, if there is room, so that a short one proves that there is no more.
    #[doc(hidden)]
    const READ_TO_END: bool;

    #[doc(hidden)]
    fn from_accepted(bytes: ByteStream<Self>) -> Self;

    #[doc(hidden)]
    fn bytes(&self) -> &ByteStream<Self>;
}

/// The socket of a `T` and its registration.
#[derive(Debug)]
pub struct ByteStream<T>(AsyncFd<Socket>, PhantomData<fn() -> T>);

impl<T: StreamSocket> ByteStream<T> {
    /// For a socket that is connected already.
    pub(super) fn new(socket: Socket) -> Self {
        Self::from(AsyncFd::with_registration(
            socket,
            Registration::optimistic(),
        ))
    }

    pub(super) fn socket(&self) -> &Socket {
        self.0.get_ref()
    }

    pub(super) fn into_socket(self) -> Socket {
        self.0.into_inner()
    }

    /// Its deadlines are those of the stream.
    pub(super) fn io(&self) -> &AsyncFd<Socket> {
        &self.0
    }

    pub(super) fn wait(&self, interest: Interest) -> Wait<'_, Socket> {
        self.0.wait(interest)
    }

    pub(super) fn read(&self, buffer: &mut [u8]) -> impl Future<Output = io::Result<usize>> {
        let mut wait = self.wait(Interest::Readable);
        poll_fn(move |cx| match buffer {
            [] => Poll::Ready(Ok(0)), // the kernel would answer EAGAIN
            _ => wait.poll_io(cx, |socket| recv::<T>(socket, buffer)),
        })
    }

    pub(super) fn peek(&self, buffer: &mut [u8]) -> impl Future<Output = io::Result<usize>> {
        let mut wait = self.wait(Interest::Readable);
        poll_fn(move |cx| match buffer {
            [] => Poll::Ready(Ok(0)),
            _ => wait.poll_io(cx, |socket| Try::of(socket.peek(buffer))),
        })
    }

    pub(super) fn read_vectored(
        &self,
        buffers: &mut [IoSliceMut<'_>],
    ) -> impl Future<Output = io::Result<usize>> {
        let mut wait = self.wait(Interest::Readable);
        poll_fn(move |cx| match room(buffers) {
            0 => Poll::Ready(Ok(0)),
            room => wait.poll_io(cx, |socket| recv_vectored::<T>(socket, buffers, room)),
        })
    }

    /// Fills `buffer`.
    pub(super) fn read_exact(&self, buffer: &mut [u8]) -> impl Future<Output = io::Result<()>> {
        self.read_exact_into(Cursor::new(buffer))
    }

    /// Fills the rest of `buffer`, and moves its position with every byte.
    pub(super) fn read_exact_into<B: AsMut<[u8]>>(
        &self,
        mut buffer: impl BorrowMut<Cursor<B>>,
    ) -> impl Future<Output = io::Result<()>> {
        let mut wait = self.wait(Interest::Readable);
        poll_fn(move |cx| {
            let buffer = buffer.borrow_mut();
            loop {
                let filled = position(buffer);
                let rest = buffer
                    .get_mut()
                    .as_mut()
                    .get_mut(filled..)
                    .unwrap_or_default();
                if rest.is_empty() {
                    return Poll::Ready(Ok(()));
                }
                match ready!(wait.poll_io(cx, |socket| recv::<T>(socket, rest)))? {
                    0 => return Poll::Ready(Err(ended_early())),
                    count => buffer.set_position((filled + count) as u64),
                }
            }
        })
    }

    pub(super) fn write(&self, bytes: &[u8]) -> impl Future<Output = io::Result<usize>> {
        let mut wait = self.wait(Interest::Writable);
        poll_fn(move |cx| match bytes {
            [] => Poll::Ready(Ok(0)),
            _ => wait.poll_io(cx, |socket| send(socket, bytes)),
        })
    }

    pub(super) fn write_vectored(
        &self,
        buffers: &[IoSlice<'_>],
    ) -> impl Future<Output = io::Result<usize>> {
        let mut wait = self.wait(Interest::Writable);
        poll_fn(move |cx| match room(buffers) {
            0 => Poll::Ready(Ok(0)),
            room => wait.poll_io(cx, |socket| send_vectored(socket, buffers, room)),
        })
    }

    /// Writes all of `bytes`.
    pub(super) fn write_all(&self, bytes: &[u8]) -> impl Future<Output = io::Result<()>> {
        self.write_all_from(Cursor::new(bytes))
    }

    /// Writes the rest of `bytes`, and moves its position with every byte.
    pub(super) fn write_all_from<B: AsRef<[u8]>>(
        &self,
        mut bytes: impl BorrowMut<Cursor<B>>,
    ) -> impl Future<Output = io::Result<()>> {
        let mut wait = self.wait(Interest::Writable);
        poll_fn(move |cx| {
            let bytes = bytes.borrow_mut();
            loop {
                let written = position(bytes);
                let rest = bytes.get_ref().as_ref().get(written..).unwrap_or_default();
                if rest.is_empty() {
                    return Poll::Ready(Ok(()));
                }
                match ready!(wait.poll_io(cx, |socket| send(socket, rest)))? {
                    0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                    count => bytes.set_position((written + count) as u64),
                }
            }
        })
    }

    #[inline]
    pub(super) fn try_read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        match buffer {
            [] => Ok(0),
            _ => self
                .0
                .try_io(Interest::Readable, |socket| recv::<T>(socket, buffer)),
        }
    }

    pub(super) fn try_read_vectored(&self, buffers: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        match room(buffers) {
            0 => Ok(0),
            room => self.0.try_io(Interest::Readable, |socket| {
                recv_vectored::<T>(socket, buffers, room)
            }),
        }
    }

    #[inline]
    pub(super) fn try_write(&self, bytes: &[u8]) -> io::Result<usize> {
        match bytes {
            [] => Ok(0),
            _ => self
                .0
                .try_io(Interest::Writable, |socket| send(socket, bytes)),
        }
    }

    pub(super) fn try_write_vectored(&self, buffers: &[IoSlice<'_>]) -> io::Result<usize> {
        match room(buffers) {
            0 => Ok(0),
            room => self.0.try_io(Interest::Writable, |socket| {
                send_vectored(socket, buffers, room)
            }),
        }
    }

    pub(super) fn poll_read(
        &self,
        cx: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        match buffer {
            [] => Poll::Ready(Ok(0)),
            _ => self.0.poll_io(Interest::Readable, None, cx, |socket| {
                recv::<T>(socket, buffer)
            }),
        }
    }

    pub(super) fn poll_read_vectored(
        &self,
        cx: &mut Context<'_>,
        buffers: &mut [IoSliceMut<'_>],
    ) -> Poll<io::Result<usize>> {
        match room(buffers) {
            0 => Poll::Ready(Ok(0)),
            room => self.0.poll_io(Interest::Readable, None, cx, |socket| {
                recv_vectored::<T>(socket, buffers, room)
            }),
        }
    }

    pub(super) fn poll_write(&self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match bytes {
            [] => Poll::Ready(Ok(0)),
            _ => self
                .0
                .poll_io(Interest::Writable, None, cx, |socket| send(socket, bytes)),
        }
    }

    pub(super) fn poll_write_vectored(
        &self,
        cx: &mut Context<'_>,
        buffers: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match room(buffers) {
            0 => Poll::Ready(Ok(0)),
            room => self.0.poll_io(Interest::Writable, None, cx, |socket| {
                send_vectored(socket, buffers, room)
            }),
        }
    }

    /// Ends one direction or both.
    pub(super) fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        shut_down(self.socket(), how)
    }
}

impl<T> From<AsyncFd<Socket>> for ByteStream<T> {
    fn from(io: AsyncFd<Socket>) -> Self {
        Self(io, PhantomData)
    }
}

/// Ends one direction or both. On a connection that is gone there is nothing left to end.
#[inline]
pub(super) fn shut_down(socket: &Socket, how: Shutdown) -> io::Result<()> {
    match socket.shutdown(how) {
        Err(error) if error.kind() == io::ErrorKind::NotConnected => Ok(()),
        result => result,
    }
}

#[inline]
fn recv<T: StreamSocket>(socket: &Socket, buffer: &mut [u8]) -> Try<usize> {
    let room = buffer.len();
    of_read(T::READ_TO_END, socket.recv(buffer), room)
}

fn recv_vectored<T: StreamSocket>(
    socket: &Socket,
    buffers: &mut [IoSliceMut<'_>],
    room: usize,
) -> Try<usize> {
    of_read(T::READ_TO_END, socket.recv_vectored(buffers), room)
}

#[inline]
pub(super) fn of_read(reads_to_end: bool, result: io::Result<usize>, room: usize) -> Try<usize> {
    if reads_to_end {
        Try::of_transfer(result, room)
    } else {
        Try::of(result)
    }
}

#[inline]
fn send(socket: &Socket, bytes: &[u8]) -> Try<usize> {
    Try::of_transfer(socket.send(bytes), bytes.len())
}

#[inline]
fn send_vectored(socket: &Socket, buffers: &[IoSlice<'_>], room: usize) -> Try<usize> {
    Try::of_transfer(socket.send_vectored(buffers), room)
}

/// How many bytes one call can move at most: the kernel looks at so many buffers and no more.
fn room(buffers: &[impl std::ops::Deref<Target = [u8]>]) -> usize {
    buffers
        .iter()
        .take(VECTOR_MAX)
        .map(|buffer| buffer.len())
        .sum()
}

/// The position of a cursor, wherever it was set to.
fn position<B>(cursor: &Cursor<B>) -> usize {
    usize::try_from(cursor.position()).unwrap_or(usize::MAX)
}

#[cold]
fn ended_early() -> io::Error {
    io::Error::new(
        io::ErrorKind::UnexpectedEof,
        "the stream ended before the buffer was full",
    )
}
