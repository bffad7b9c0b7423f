//! A datagram socket of any family: moving datagrams, with waiting.
//!
//! What the public datagram types have in common. Unlike with a stream, a short read means nothing, 0 bytes are a datagram
//! and not an end, and an empty buffer is no reason not to ask: it takes a datagram like any other.
//!
//! Rejected for what does not fit into the buffer: to return the datagram's length alone, as then `&buffer[..count]` panics
//! when a peer wants it to; and to return an error, as then a peer ends every loop that ends on errors. The
//! [`Received`] that is returned instead has both lengths under their names.

use std::borrow::Borrow;
use std::future::poll_fn;
use std::io;
use std::marker::PhantomData;
use std::task::{Context, Poll};

use crate::io::{AsyncFd, Try, Wait};
use crate::reactor::{Interest, Registration};
use crate::sys::address::Address;
use crate::sys::socket::Socket;

/// How much of a datagram was received.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
#[must_use = "the datagram may have been longer than the buffer"]
pub struct Received {
    /// How many bytes are in the buffer.
    pub len: usize,
    /// How many bytes the datagram had. What did not fit is lost.
    pub full_len: usize,
}

impl Received {
    pub(super) fn new(full_len: usize, room: usize) -> Self {
        let len = full_len.min(room);
        Self { len, full_len }
    }

    /// Whether the datagram was longer than the buffer.
    pub fn is_truncated(self) -> bool {
        self.full_len > self.len
    }
}

/// A datagram socket and its registration.
#[derive(Debug)]
pub(super) struct Datagrams<A> {
    io: AsyncFd<Socket>,
    address: PhantomData<fn() -> A>,
}

impl<A: Address> Datagrams<A> {
    pub(super) fn new(socket: Socket) -> Self {
        Self {
            io: AsyncFd::with_registration(socket, Registration::optimistic()),
            address: PhantomData,
        }
    }

    pub(super) fn io(&self) -> &AsyncFd<Socket> {
        &self.io
    }

    pub(super) fn into_socket(self) -> Socket {
        self.io.into_inner()
    }

    pub(super) fn wait(&self, interest: Interest) -> Wait<'_, Socket> {
        self.io.wait(interest)
    }

    pub(super) fn recv(&self, buffer: &mut [u8]) -> impl Future<Output = io::Result<Received>> {
        self.reading(move |socket| recv(socket, buffer))
    }

    pub(super) fn recv_from(
        &self,
        buffer: &mut [u8],
    ) -> impl Future<Output = io::Result<(Received, A)>> {
        self.reading(move |socket| recv_from(socket, buffer))
    }

    pub(super) fn peek(&self, buffer: &mut [u8]) -> impl Future<Output = io::Result<Received>> {
        self.reading(move |socket| peek(socket, buffer))
    }

    pub(super) fn peek_from(
        &self,
        buffer: &mut [u8],
    ) -> impl Future<Output = io::Result<(Received, A)>> {
        self.reading(move |socket| peek_from(socket, buffer))
    }

    pub(super) fn send(&self, bytes: &[u8]) -> impl Future<Output = io::Result<usize>> {
        self.writing(move |socket| socket.send_datagram(bytes))
    }

    pub(super) fn send_to(
        &self,
        bytes: &[u8],
        to: impl Borrow<A>,
    ) -> impl Future<Output = io::Result<usize>> {
        self.writing(move |socket| socket.send_datagram_to(bytes, to.borrow()))
    }

    /// Does `op` when the socket is readable.
    pub(super) fn reading<R>(
        &self,
        mut op: impl FnMut(&Socket) -> io::Result<R>,
    ) -> impl Future<Output = io::Result<R>> {
        let mut wait = self.wait(Interest::Readable);
        poll_fn(move |cx| wait.poll_io(cx, |socket| Try::of(op(socket))))
    }

    /// Does `op` when the socket is writable.
    pub(super) fn writing<R>(
        &self,
        mut op: impl FnMut(&Socket) -> io::Result<R>,
    ) -> impl Future<Output = io::Result<R>> {
        let mut wait = self.wait(Interest::Writable);
        poll_fn(move |cx| wait.poll_io(cx, |socket| Try::of(op(socket))))
    }

    pub(super) fn try_recv(&self, buffer: &mut [u8]) -> io::Result<Received> {
        self.try_reading(|socket| recv(socket, buffer))
    }

    pub(super) fn try_recv_from(&self, buffer: &mut [u8]) -> io::Result<(Received, A)> {
        self.try_reading(|socket| recv_from(socket, buffer))
    }

    pub(super) fn try_peek(&self, buffer: &mut [u8]) -> io::Result<Received> {
        self.try_reading(|socket| peek(socket, buffer))
    }

    pub(super) fn try_peek_from(&self, buffer: &mut [u8]) -> io::Result<(Received, A)> {
        self.try_reading(|socket| peek_from(socket, buffer))
    }

    pub(super) fn try_send(&self, bytes: &[u8]) -> io::Result<usize> {
        self.try_writing(|socket| socket.send_datagram(bytes))
    }

    pub(super) fn try_send_to(&self, bytes: &[u8], to: impl Borrow<A>) -> io::Result<usize> {
        self.try_writing(|socket| socket.send_datagram_to(bytes, to.borrow()))
    }

    pub(super) fn try_reading<R>(
        &self,
        op: impl FnOnce(&Socket) -> io::Result<R>,
    ) -> io::Result<R> {
        self.io
            .try_io(Interest::Readable, |socket| Try::of(op(socket)))
    }

    pub(super) fn try_writing<R>(
        &self,
        op: impl FnOnce(&Socket) -> io::Result<R>,
    ) -> io::Result<R> {
        self.io
            .try_io(Interest::Writable, |socket| Try::of(op(socket)))
    }

    pub(super) fn poll_recv(
        &self,
        cx: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<Received>> {
        self.io
            .poll_read_with(cx, |socket| recv(socket, &mut *buffer))
    }

    pub(super) fn poll_recv_from(
        &self,
        cx: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<(Received, A)>> {
        self.io
            .poll_read_with(cx, |socket| recv_from(socket, &mut *buffer))
    }

    pub(super) fn poll_send(&self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.io
            .poll_write_with(cx, |socket| socket.send_datagram(bytes))
    }
}

#[inline]
fn recv(socket: &Socket, buffer: &mut [u8]) -> io::Result<Received> {
    let full_len = socket.recv_datagram(buffer)?;
    Ok(Received::new(full_len, buffer.len()))
}

#[inline]
fn recv_from<A: Address>(socket: &Socket, buffer: &mut [u8]) -> io::Result<(Received, A)> {
    let (full_len, from) = socket.recv_datagram_from(buffer)?;
    Ok((Received::new(full_len, buffer.len()), from))
}

#[inline]
fn peek(socket: &Socket, buffer: &mut [u8]) -> io::Result<Received> {
    let full_len = socket.peek_datagram(buffer)?;
    Ok(Received::new(full_len, buffer.len()))
}

fn peek_from<A: Address>(socket: &Socket, buffer: &mut [u8]) -> io::Result<(Received, A)> {
    let (full_len, from) = socket.peek_datagram_from(buffer)?;
    Ok((Received::new(full_len, buffer.len()), from))
}

/// Gives `$Socket`, which has [`Datagrams`] in its field `datagrams`, the operations of them.
macro_rules! datagram_operations {
    ($Socket:ty, $Address:ty) => {
        /// Moving datagrams.
        ///
        /// Every operation that waits panics if it has to wait for the first time outside a runtime, and fails if the
        /// runtime in which it first waited has shut down.
        ///
        /// An error of receiving or sending may be that of a datagram that was sent before, such as
        /// [`ConnectionRefused`](io::ErrorKind::ConnectionRefused) where nobody received it. It is returned once, and the
        /// socket is as good as it was: a server goes on.
        impl $Socket {
            /// Waits until receiving will probably not block.
            ///
            /// It may resolve when there is nothing yet, and on a fresh socket does so the first time. Follow it by
            /// [`try_recv_from`](Self::try_recv_from) in a loop.
            ///
            /// # Errors
            ///
            /// Only if waiting fails. A pending error makes the socket readable.
            ///
            /// # Cancel safety
            ///
            /// Safe: nothing is taken.
            pub fn readable(&self) -> impl Future<Output = io::Result<()>> {
                self.datagrams.wait(Interest::Readable)
            }

            /// Waits until sending will probably not block.
            ///
            /// # Errors
            ///
            /// Only if waiting fails. A pending error makes the socket writable.
            ///
            /// # Cancel safety
            ///
            /// Safe: nothing is sent.
            pub fn writable(&self) -> impl Future<Output = io::Result<()>> {
                self.datagrams.wait(Interest::Writable)
            }

            /// Receives a datagram, from the peer only if the socket is [connected](Self::connect).
            ///
            /// A datagram may be empty. One that is longer than `buffer` is cut, and [`Received`] says so.
            ///
            /// # Errors
            ///
            /// Those of recv(2), which may be those of a datagram that was sent before.
            ///
            /// # Cancel safety
            ///
            /// Safe: a datagram is taken in the same poll that returns it.
            pub fn recv(&self, buffer: &mut [u8]) -> impl Future<Output = io::Result<Received>> {
                self.datagrams.recv(buffer)
            }

            /// [`recv`](Self::recv), and says who sent it.
            ///
            /// # Errors
            ///
            /// As for `recv`.
            ///
            /// # Cancel safety
            ///
            /// Safe: a datagram is taken in the same poll that returns it.
            pub fn recv_from(
                &self,
                buffer: &mut [u8],
            ) -> impl Future<Output = io::Result<(Received, $Address)>> {
                self.datagrams.recv_from(buffer)
            }

            /// [`recv`](Self::recv), but leaves the datagram to be received again.
            ///
            /// # Errors
            ///
            /// As for `recv`.
            ///
            /// # Cancel safety
            ///
            /// Safe: nothing is taken.
            pub fn peek(&self, buffer: &mut [u8]) -> impl Future<Output = io::Result<Received>> {
                self.datagrams.peek(buffer)
            }

            /// [`recv_from`](Self::recv_from), but leaves the datagram to be received again.
            ///
            /// # Errors
            ///
            /// As for `recv`.
            ///
            /// # Cancel safety
            ///
            /// Safe: nothing is taken.
            pub fn peek_from(
                &self,
                buffer: &mut [u8],
            ) -> impl Future<Output = io::Result<(Received, $Address)>> {
                self.datagrams.peek_from(buffer)
            }

            /// Sends a datagram to the peer that the socket is [connected](Self::connect) to, whole or not at all.
            ///
            /// # Errors
            ///
            /// Those of send(2), which may be those of a datagram that was sent before. If it is too long, that has no
            /// kind, and its number is `EMSGSIZE`.
            ///
            /// # Cancel safety
            ///
            /// Safe: it is sent in the same poll that says so.
            pub fn send(&self, bytes: &[u8]) -> impl Future<Output = io::Result<usize>> {
                self.datagrams.send(bytes)
            }

            /// [`recv`](Self::recv) without waiting.
            ///
            /// # Errors
            ///
            /// [`WouldBlock`](io::ErrorKind::WouldBlock) if there is nothing yet; otherwise as for `recv`.
            #[inline]
            pub fn try_recv(&self, buffer: &mut [u8]) -> io::Result<Received> {
                self.datagrams.try_recv(buffer)
            }

            /// [`recv_from`](Self::recv_from) without waiting.
            ///
            /// # Errors
            ///
            /// As for [`try_recv`](Self::try_recv).
            #[inline]
            pub fn try_recv_from(&self, buffer: &mut [u8]) -> io::Result<(Received, $Address)> {
                self.datagrams.try_recv_from(buffer)
            }

            /// [`peek`](Self::peek) without waiting.
            ///
            /// # Errors
            ///
            /// As for [`try_recv`](Self::try_recv).
            #[inline]
            pub fn try_peek(&self, buffer: &mut [u8]) -> io::Result<Received> {
                self.datagrams.try_peek(buffer)
            }

            /// [`peek_from`](Self::peek_from) without waiting.
            ///
            /// # Errors
            ///
            /// As for [`try_recv`](Self::try_recv).
            #[inline]
            pub fn try_peek_from(&self, buffer: &mut [u8]) -> io::Result<(Received, $Address)> {
                self.datagrams.try_peek_from(buffer)
            }

            /// [`send`](Self::send) without waiting.
            ///
            /// # Errors
            ///
            /// [`WouldBlock`](io::ErrorKind::WouldBlock) if there is no room; otherwise as for `send`.
            #[inline]
            pub fn try_send(&self, bytes: &[u8]) -> io::Result<usize> {
                self.datagrams.try_send(bytes)
            }

            /// [`recv`](Self::recv) for hand-written futures.
            ///
            /// Only the last task that called one of the `poll_recv` methods is woken; futures do not have this limit.
            #[inline]
            pub fn poll_recv(
                &self,
                cx: &mut Context<'_>,
                buffer: &mut [u8],
            ) -> Poll<io::Result<Received>> {
                self.datagrams.poll_recv(cx, buffer)
            }

            /// [`recv_from`](Self::recv_from) for hand-written futures, with one waker as in
            /// [`poll_recv`](Self::poll_recv).
            #[inline]
            pub fn poll_recv_from(
                &self,
                cx: &mut Context<'_>,
                buffer: &mut [u8],
            ) -> Poll<io::Result<(Received, $Address)>> {
                self.datagrams.poll_recv_from(cx, buffer)
            }

            /// [`send`](Self::send) for hand-written futures.
            ///
            /// Only the last task that called one of the `poll_send` methods is woken.
            #[inline]
            pub fn poll_send(&self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
                self.datagrams.poll_send(cx, bytes)
            }

            /// The address of this end.
            ///
            /// # Errors
            ///
            /// Those of getsockname(2).
            pub fn local_addr(&self) -> io::Result<$Address> {
                self.socket().local_addr()
            }

            /// The address that the socket is connected to.
            ///
            /// # Errors
            ///
            /// Those of getpeername(2); [`NotConnected`](io::ErrorKind::NotConnected) if it is not connected.
            pub fn peer_addr(&self) -> io::Result<$Address> {
                self.socket().peer_addr()
            }

            pub(super) fn socket(&self) -> &Socket {
                self.datagrams.io().get_ref()
            }
        }
    };
}
pub(super) use datagram_operations;
