//! A connected stream socket of any family: moving bytes, with waiting.
//!
//! What the public stream types have in common; they add names, addresses and options. It is where a short read or write
//! is taken for what it is, the sign that the next one would block. The end of stream (a read of 0 bytes) never is, and
//! neither is a peek, which leaves everything where it was.
//!
//! Futures are closures around a [`Wait`] rather than `async fn`, which would keep each argument twice.

use std::future::poll_fn;
use std::io::{self, IoSlice, IoSliceMut};
use std::net::Shutdown;
use std::task::{Context, Poll, ready};

use crate::io::{AsyncFd, Try, Wait};
use crate::reactor::{Interest, Registration};
use crate::sys::socket::{Socket, VECTOR_MAX};

/// A stream socket and its registration.
#[derive(Debug)]
pub(super) struct ByteStream(AsyncFd<Socket>);

impl ByteStream {
    /// For a socket that is connected already.
    pub(super) fn new(socket: Socket) -> Self {
        Self(AsyncFd::with_registration(
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
            _ => wait.poll_io(cx, |socket| recv(socket, buffer)),
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
            room => wait.poll_io(cx, |socket| recv_vectored(socket, buffers, room)),
        })
    }

    /// Fills `buffer`.
    pub(super) fn read_exact(&self, buffer: &mut [u8]) -> impl Future<Output = io::Result<()>> {
        let mut wait = self.wait(Interest::Readable);
        let mut filled = 0;
        poll_fn(move |cx| {
            while filled < buffer.len() {
                match ready!(wait.poll_io(cx, |socket| recv(socket, &mut buffer[filled..])))? {
                    0 => return Poll::Ready(Err(ended_early())),
                    count => filled += count,
                }
            }
            Poll::Ready(Ok(()))
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
    pub(super) fn write_all(&self, mut bytes: &[u8]) -> impl Future<Output = io::Result<()>> {
        let mut wait = self.wait(Interest::Writable);
        poll_fn(move |cx| {
            while !bytes.is_empty() {
                match ready!(wait.poll_io(cx, |socket| send(socket, bytes)))? {
                    0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                    count => bytes = &bytes[count..],
                }
            }
            Poll::Ready(Ok(()))
        })
    }

    #[inline]
    pub(super) fn try_read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        match buffer {
            [] => Ok(0),
            _ => self
                .0
                .try_io(Interest::Readable, |socket| recv(socket, buffer)),
        }
    }

    pub(super) fn try_read_vectored(&self, buffers: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        match room(buffers) {
            0 => Ok(0),
            room => self.0.try_io(Interest::Readable, |socket| {
                recv_vectored(socket, buffers, room)
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
            _ => self
                .0
                .poll_io(Interest::Readable, None, cx, |socket| recv(socket, buffer)),
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
                recv_vectored(socket, buffers, room)
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

    /// Ends one direction or both. On a connection that is gone there is nothing left to end.
    pub(super) fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        match self.socket().shutdown(how) {
            Err(error) if error.kind() == io::ErrorKind::NotConnected => Ok(()),
            result => result,
        }
    }
}

impl From<AsyncFd<Socket>> for ByteStream {
    fn from(io: AsyncFd<Socket>) -> Self {
        Self(io)
    }
}

#[inline]
fn recv(socket: &Socket, buffer: &mut [u8]) -> Try<usize> {
    let room = buffer.len();
    Try::of_transfer(socket.recv(buffer), room)
}

fn recv_vectored(socket: &Socket, buffers: &mut [IoSliceMut<'_>], room: usize) -> Try<usize> {
    Try::of_transfer(socket.recv_vectored(buffers), room)
}

#[inline]
fn send(socket: &Socket, bytes: &[u8]) -> Try<usize> {
    Try::of_transfer(socket.send(bytes), bytes.len())
}

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

#[cold]
fn ended_early() -> io::Error {
    io::Error::new(
        io::ErrorKind::UnexpectedEof,
        "the stream ended before the buffer was full",
    )
}
