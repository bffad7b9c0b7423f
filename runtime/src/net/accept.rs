//! Accepting connections, of any family.
//!
//! Every try, also one that fails, uses up budget, so a loop around `accept` that is answered by errors only does not keep
//! its worker from the other tasks. Readiness is cleared by `EAGAIN` alone: an error leaves the queue of connections as
//! it was, and no event will come for those who wait in it already.

use std::fmt;
use std::future::poll_fn;
use std::io;
use std::marker::PhantomData;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures_core::Stream;

use super::TcpStream;
use super::byte_stream::{ByteStream, StreamSocket};
use crate::io::{AsyncFd, Try, Wait};
use crate::reactor::{Interest, Registration};
use crate::sys::socket::{Socket, is_transient_accept_error};

/// A listening socket whose connections become a `T`. Public because a trait of what can be served names it; nobody outside can.
#[derive(Debug)]
pub struct Acceptor<T> {
    io: AsyncFd<Socket>,
    stream: PhantomData<fn() -> T>,
}

impl<T: StreamSocket> Acceptor<T> {
    pub(super) fn new(socket: Socket) -> Self {
        Self {
            io: AsyncFd::with_registration(socket, Registration::optimistic()),
            stream: PhantomData,
        }
    }

    pub(super) fn socket(&self) -> &Socket {
        self.io.get_ref()
    }

    pub(super) fn into_socket(self) -> Socket {
        self.io.into_inner()
    }

    pub(super) fn accept(&self) -> impl Future<Output = io::Result<(T, T::Address)>> {
        let mut wait = self.io.wait(Interest::Readable);
        poll_fn(move |cx| poll_accept(cx, &mut wait))
    }

    pub(super) fn poll_accept(&self, cx: &mut Context<'_>) -> Poll<io::Result<(T, T::Address)>> {
        loop {
            let tried = self.io.poll_io(Interest::Readable, None, cx, accept_one);
            if let Some(answer) = last_answer(ready!(tried)) {
                return Poll::Ready(answer);
            }
        }
    }

    pub(super) fn try_accept(&self) -> io::Result<(T, T::Address)> {
        self.io.try_io(Interest::Readable, accept_one)
    }

    /// Waits until there is probably a connection to be taken.
    pub(super) fn readable(&self) -> impl Future<Output = io::Result<()>> {
        self.io.wait(Interest::Readable)
    }

    pub(super) fn incoming(&self) -> Incoming<'_, T> {
        Incoming {
            wait: self.io.wait(Interest::Readable),
            stream: PhantomData,
        }
    }
}

/// The connections of a listener; made by [`TcpListener::incoming`](super::TcpListener::incoming) and
/// [`UnixListener::incoming`](super::UnixListener::incoming).
#[must_use = "streams do nothing unless polled"]
pub struct Incoming<'a, T = TcpStream> {
    wait: Wait<'a, Socket>,
    stream: PhantomData<fn() -> T>,
}

impl<T: StreamSocket> Stream for Incoming<'_, T> {
    type Item = io::Result<T>;

    #[inline]
    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let accepted = ready!(poll_accept(cx, &mut self.get_mut().wait));
        Poll::Ready(Some(accepted.map(|(stream, _)| stream)))
    }
}

impl<T> fmt::Debug for Incoming<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Incoming")
            .field("wait", &self.wait)
            .finish()
    }
}

#[inline]
fn poll_accept<T: StreamSocket>(
    cx: &mut Context<'_>,
    wait: &mut Wait<'_, Socket>,
) -> Poll<io::Result<(T, T::Address)>> {
    loop {
        if let Some(answer) = last_answer(ready!(wait.poll_io(cx, accept_one))) {
            return Poll::Ready(answer);
        }
    }
}

/// `None` if the try should be followed by another.
fn last_answer<T>(tried: io::Result<T>) -> Option<io::Result<T>> {
    match tried {
        Err(error) if is_transient_accept_error(&error) => None,
        answer => Some(answer),
    }
}

fn accept_one<T: StreamSocket>(listener: &Socket) -> Try<(T, T::Address)> {
    let accepted = listener.accept();
    Try::of(accepted.map(|(socket, peer)| (T::from_accepted(ByteStream::new(socket)), peer)))
}

/// Gives `$Listener`, which has an [`Acceptor`] of `$Stream` in its field `acceptor`, the operations of one.
macro_rules! accept_operations {
    ($Listener:ty, $Stream:ty, $Address:ty) => {
        /// Taking connections.
        impl $Listener {
            /// Waits for a connection and takes it.
            ///
            /// # Errors
            ///
            /// What concerns only one connection or the network is not returned: it tries again. What is returned is the
            /// lack of descriptors or memory, which passes, and misuse. A server should go on after an error, but not at
            /// once: the connection that could not be taken is still there, so the next call fails in the same way.
            ///
            /// # Panics
            ///
            /// If it has to wait for the first time outside a runtime.
            ///
            /// # Cancel safety
            ///
            /// Safe: a connection is taken in the same poll that returns it, so none is lost.
            pub fn accept(&self) -> impl Future<Output = io::Result<($Stream, $Address)>> {
                self.acceptor.accept()
            }

            /// [`accept`](Self::accept) for hand-written futures.
            ///
            /// Only the last task that called this is woken; futures and [`Incoming`] do not have this limit.
            #[inline]
            pub fn poll_accept(
                &self,
                cx: &mut Context<'_>,
            ) -> Poll<io::Result<($Stream, $Address)>> {
                self.acceptor.poll_accept(cx)
            }

            /// Takes a connection if there is one.
            ///
            /// # Errors
            ///
            /// [`WouldBlock`](io::ErrorKind::WouldBlock) if there is none. It tries one time, so it also returns the
            /// errors after which [`accept`](Self::accept) tries again.
            #[inline]
            pub fn try_accept(&self) -> io::Result<($Stream, $Address)> {
                self.acceptor.try_accept()
            }

            /// The connections as a stream that never ends.
            ///
            /// Its items are what [`accept`](Self::accept) returns, without the address. Several such streams may be
            /// polled at the same time.
            ///
            /// # Cancel safety
            ///
            /// Safe: a connection is taken in the same poll that returns it, so none is lost.
            pub fn incoming(&self) -> Incoming<'_, $Stream> {
                self.acceptor.incoming()
            }

            /// The address that it listens on, as the system has completed it.
            ///
            /// # Errors
            ///
            /// Those of getsockname(2).
            pub fn local_addr(&self) -> io::Result<$Address> {
                self.socket().local_addr()
            }

            pub(super) fn socket(&self) -> &Socket {
                self.acceptor.socket()
            }

            pub(in crate::net) fn acceptor(&self) -> &Acceptor<$Stream> {
                &self.acceptor
            }
        }
    };
}
pub(super) use accept_operations;
