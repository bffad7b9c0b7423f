//! A TCP listener. Accepting is the same for all listeners, and in `accept.rs`.

use std::io;
use std::net::SocketAddr;
use std::task::{Context, Poll};

use super::{TcpSocket, TcpStream};
use crate::net::accept::{Acceptor, Incoming, accept_operations};
use crate::net::resolve::{ToSocketAddrs, first_of};
use crate::sys::socket::Socket;

/// A socket that waits for TCP connections.
///
/// Several tasks may accept from one listener. The streams have `TCP_NODELAY` set. Connections arrive while nobody accepts, as many as its backlog has room
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
    acceptor: Acceptor<TcpStream>,
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
        first_of("bind", address, Self::bind_one)
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
            acceptor: Acceptor::new(socket),
        }
    }

    /// Another one on the same address, which is shared.
    ///
    /// # Errors
    ///
    /// `InvalidInput` if this one does not share its port.
    #[inline]
    pub(in crate::net) fn sibling(&self) -> io::Result<Self> {
        let (socket, address) = (self.socket(), self.local_addr()?);
        if !socket.reuse_port()? {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "a listener for each worker has to share its port: call `TcpSocket::set_reuse_port` before it is bound",
            ));
        }
        let sibling = TcpSocket::for_peer(&address)?;
        if address.is_ipv6() {
            sibling.set_only_v6(socket.only_v6()?)?;
        }
        sibling.set_reuse_address(true)?;
        sibling.set_reuse_port(true)?;
        sibling.bind(address)?;
        sibling.listen(Self::DEFAULT_BACKLOG)
    }

    pub(super) fn into_socket(self) -> Socket {
        self.acceptor.into_socket()
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

accept_operations!(TcpListener, TcpStream, SocketAddr);
