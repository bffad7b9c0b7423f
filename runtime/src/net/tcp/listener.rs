//! Accepting connections.
//!
//! Every try, also one that fails, uses up budget, so a loop around `accept` that is answered by errors only does not keep
//! its worker from the other tasks. Readiness is cleared by `EAGAIN` alone: an error leaves the queue of connections as
//! it was, and no event will come for those who wait in it already.

use std::fmt;
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures_core::Stream;

use super::{TcpSocket, TcpStream};
use crate::io::{AsyncFd, Try, Wait};
use crate::net::error::{cannot, cannot_with_any};
use crate::net::resolve::ToSocketAddrs;
use crate::reactor::{Interest, Registration};
use crate::sys::socket::{Socket, is_transient_accept_error};

/// A socket that waits for TCP connections.
///
/// Several tasks may accept from one listener. Connections arrive while nobody accepts, as many as its backlog has room
/// for.
///
/// # Examples
///
/// ```no_run
/// # fn main() -> std::io::Result<()> {
/// use wakeful::net::TcpListener;
///
/// wakeful::block_on(async {
///     let listener = TcpListener::bind("127.0.0.1:7007")?;
///     loop {
///         let (mut stream, peer) = listener.accept().await?;
///         wakeful::spawn(async move {
///             let greeted = stream.write_all(format!("hello, {peer}\n").as_bytes()).await;
///             drop(greeted); // the peer may have gone
///         });
///     }
/// })
/// # }
/// ```
pub struct TcpListener {
    io: AsyncFd<Socket>,
}

impl TcpListener {
    /// How many connections wait for `accept`, if the system allows so many (`net.core.somaxconn`). A full backlog drops
    /// further ones without a word, and their clients try again after a second.
    pub const DEFAULT_BACKLOG: u32 = 4096;

    /// Listens on `address`; port 0 lets the system choose one. Of several addresses it takes the first that can be had.
    ///
    /// There is nothing to wait for, so this is a plain function, and works outside a runtime. For the same reason it looks
    /// no names up: [`lookup_host`](crate::net::lookup_host) does. It takes a port whose last connections have not timed out
    /// yet (`SO_REUSEADDR`). For other options see [`TcpSocket`].
    ///
    /// # Errors
    ///
    /// Those of bind(2) and listen(2), such as [`AddrInUse`](io::ErrorKind::AddrInUse), and a lack of descriptors; for several
    /// addresses, what became of each. [`InvalidInput`](io::ErrorKind::InvalidInput) for a name.
    ///
    /// # Examples
    ///
    /// ```
    /// # fn main() -> std::io::Result<()> {
    /// use wakeful::net::TcpListener;
    ///
    /// let listener = TcpListener::bind("127.0.0.1:0")?;
    /// assert_ne!(listener.local_addr()?.port(), 0);
    /// # Ok(())
    /// # }
    /// ```
    pub fn bind(address: impl ToSocketAddrs) -> io::Result<Self> {
        let target = address.target()?;
        let label = target.to_string();
        let addresses = target.into_known_addresses();
        let mut failures = Vec::new();
        for address in addresses.map_err(cannot("bind", label.clone()))? {
            match Self::bind_one(address) {
                Ok(listener) => return Ok(listener),
                Err(error) => failures.push((address, error)),
            }
        }
        Err(cannot_with_any("bind", label, failures))
    }

    fn bind_one(address: SocketAddr) -> io::Result<Self> {
        let socket = TcpSocket::for_peer(&address)?.into_socket();
        socket.set_reuse_address(true)?;
        socket.bind(&address)?;
        socket.listen(Self::DEFAULT_BACKLOG)?;
        Ok(Self::from_socket(socket))
    }

    pub(super) fn from_socket(socket: Socket) -> Self {
        Self {
            io: AsyncFd::with_registration(socket, Registration::optimistic()),
        }
    }

    pub(super) fn socket(&self) -> &Socket {
        self.io.get_ref()
    }

    pub(super) fn into_socket(self) -> Socket {
        self.io.into_inner()
    }

    /// Waits for a connection and takes it. The stream has `TCP_NODELAY` set.
    ///
    /// # Errors
    ///
    /// What concerns only one connection or the network is not returned: it tries again. What is returned is the lack of
    /// descriptors or memory, which passes, and misuse. A server should go on after an error, but not at once: the
    /// connection that could not be taken is still there, so the next call fails in the same way.
    ///
    /// # Panics
    ///
    /// If it has to wait for the first time outside a runtime.
    ///
    /// # Cancel safety
    ///
    /// Safe: a connection is taken in the same poll that returns it, so none is lost.
    pub fn accept(&self) -> impl Future<Output = io::Result<(TcpStream, SocketAddr)>> {
        let mut wait = self.io.wait(Interest::Readable);
        poll_fn(move |cx| poll_accept(cx, &mut wait))
    }

    /// [`accept`](Self::accept) for hand-written futures.
    ///
    /// Only the last task that called this is woken; futures and [`Incoming`] do not have this limit.
    pub fn poll_accept(&self, cx: &mut Context<'_>) -> Poll<io::Result<(TcpStream, SocketAddr)>> {
        loop {
            let tried = self.io.poll_io(Interest::Readable, None, cx, accept_one);
            if let Some(answer) = last_answer(ready!(tried)) {
                return Poll::Ready(answer);
            }
        }
    }

    /// Takes a connection if there is one.
    ///
    /// # Errors
    ///
    /// [`WouldBlock`](io::ErrorKind::WouldBlock) if there is none. It tries one time, so it also returns the errors after
    /// which [`accept`](Self::accept) tries again.
    pub fn try_accept(&self) -> io::Result<(TcpStream, SocketAddr)> {
        self.io.try_io(Interest::Readable, accept_one)
    }

    /// The connections as a stream that never ends.
    ///
    /// Its items are what [`accept`](Self::accept) returns, without the address. Several such streams may be polled at
    /// the same time.
    ///
    /// # Cancel safety
    ///
    /// Safe: a connection is taken in the same poll that returns it, so none is lost.
    pub fn incoming(&self) -> Incoming<'_> {
        Incoming {
            wait: self.io.wait(Interest::Readable),
        }
    }

    /// The address that it listens on, with the port that was chosen.
    ///
    /// # Errors
    ///
    /// Those of getsockname(2).
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.socket().local_addr()
    }

    /// How many hops the packets of accepted connections may take.
    ///
    /// # Errors
    ///
    /// Those of getsockopt(2).
    pub fn ttl(&self) -> io::Result<u32> {
        self.socket().ttl()
    }

    /// Sets [`ttl`](Self::ttl).
    ///
    /// # Errors
    ///
    /// Those of setsockopt(2).
    pub fn set_ttl(&self, hops: u32) -> io::Result<()> {
        self.socket().set_ttl(hops)
    }
}

impl fmt::Debug for TcpListener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        super::convert::debug("TcpListener", self.socket(), f)
    }
}

/// The connections of a listener; made by [`TcpListener::incoming`].
#[derive(Debug)]
#[must_use = "streams do nothing unless polled"]
pub struct Incoming<'a> {
    wait: Wait<'a, Socket>,
}

impl Stream for Incoming<'_> {
    type Item = io::Result<TcpStream>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let accepted = ready!(poll_accept(cx, &mut self.get_mut().wait));
        Poll::Ready(Some(accepted.map(|(stream, _)| stream)))
    }
}

fn poll_accept(
    cx: &mut Context<'_>,
    wait: &mut Wait<'_, Socket>,
) -> Poll<io::Result<(TcpStream, SocketAddr)>> {
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

fn accept_one(listener: &Socket) -> Try<(TcpStream, SocketAddr)> {
    Try::of(listener.accept().map(|(socket, peer)| {
        // A system that refuses gets a slower stream, which is better than none.
        let _ = socket.set_nodelay(true);
        (TcpStream::from_socket(socket), peer)
    }))
}
