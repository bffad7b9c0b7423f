//! A Unix socket for datagrams.
//!
//! Moving datagrams is the same for all families, and in `datagram.rs`, but for sending to somebody to whom the socket is not
//! connected: see the module.

use std::io;
use std::os::fd::BorrowedFd;
use std::os::unix::net::SocketAddr;
use std::path::Path;
use std::task::{Context, Poll};

use super::descriptors::{self, WithFds, descriptor_operations};
use super::path::BoundPath;
use super::{Named, a_few_times};
use crate::io::AsyncFd;
use crate::net::datagram::{Datagrams, Received, datagram_operations};
use crate::net::error::cannot;
use crate::net::options::buffer_options;
use crate::reactor::Interest;
use crate::sys::socket::{Domain, Socket, Type};

/// A socket for datagrams within this host.
///
/// Unlike those of UDP, none is lost or overtakes another, and a receiver that is slow makes its senders wait, or fail.
///
/// Its name in the file system is removed when it is dropped, if it still leads to this socket.
///
/// # Examples
///
/// ```
/// # fn main() -> std::io::Result<()> {
/// use wakeful::net::UnixDatagram;
///
/// wakeful::block_on(async {
///     let (one, other) = UnixDatagram::pair()?;
///     one.send(b"hello").await?;
///     let mut buffer = [0; 16];
///     let received = other.recv(&mut buffer).await?;
///     assert_eq!(&buffer[..received.len], b"hello");
///     Ok(())
/// })
/// # }
/// ```
pub struct UnixDatagram {
    path: Option<BoundPath>, // before the socket: it is dropped first
    datagrams: Datagrams<SocketAddr>,
}

datagram_operations!(UnixDatagram, SocketAddr);
descriptor_operations!(UnixDatagram, Type::Datagram);
buffer_options!(UnixDatagram);

/// Making one, and to whom it talks. But for [`send_to`](Self::send_to) there is nothing to wait for, so these are plain
/// functions, and work outside a runtime.
impl UnixDatagram {
    /// A socket with the name `path`, with the permissions that the umask leaves. To send to it takes the permission to
    /// write.
    ///
    /// A socket that a process has left behind when it died is replaced, as by
    /// [`UnixListener::bind`](super::UnixListener::bind).
    ///
    /// # Errors
    ///
    /// As for `UnixListener::bind`.
    pub fn bind(path: impl AsRef<Path>) -> io::Result<Self> {
        let (socket, path) = (Socket::new(Domain::Unix, Type::Datagram)?, path.as_ref());
        let bound = BoundPath::bind(&socket, path, |_| Ok(()));
        let path = bound.map_err(cannot("bind", path.display().to_string()))?;
        Ok(Self {
            path: Some(path),
            ..Self::from_socket(socket)
        })
    }

    /// A socket with any kind of name: as [`bind`](Self::bind) makes it, or with an abstract name, which is gone with the
    /// socket and which every user may send to.
    ///
    /// # Errors
    ///
    /// As for `bind`.
    #[inline]
    pub fn bind_addr(address: &SocketAddr) -> io::Result<Self> {
        if let Some(path) = address.as_pathname() {
            return Self::bind(path);
        }
        let socket = Self::unbound()?;
        let bound = socket.socket().bind(address);
        bound.map_err(cannot("bind", Named(address.clone())))?;
        Ok(socket)
    }

    /// A socket without a name: it can send, and whoever receives cannot answer.
    ///
    /// # Errors
    ///
    /// When the process or the system is out of descriptors or memory.
    #[inline]
    pub fn unbound() -> io::Result<Self> {
        Socket::new(Domain::Unix, Type::Datagram).map(Self::from_socket)
    }

    /// Two that are connected to each other.
    ///
    /// # Errors
    ///
    /// When the process or the system is out of descriptors or memory.
    #[inline]
    pub fn pair() -> io::Result<(Self, Self)> {
        let (one, other) = Socket::pair(Type::Datagram)?;
        Ok((Self::from_socket(one), Self::from_socket(other)))
    }

    /// Makes the socket with the name `path` the one to send to and to receive from. It can be called again for another.
    ///
    /// # Errors
    ///
    /// Those of connect(2), such as [`NotFound`](io::ErrorKind::NotFound), and
    /// [`ConnectionRefused`](io::ErrorKind::ConnectionRefused) if the name is all that is left of it.
    pub fn connect(&self, path: impl AsRef<Path>) -> io::Result<()> {
        self.connect_addr(&SocketAddr::from_pathname(path)?)
    }

    /// [`connect`](Self::connect) to a socket with any kind of name.
    ///
    /// # Errors
    ///
    /// As for `connect`.
    #[inline]
    pub fn connect_addr(&self, address: &SocketAddr) -> io::Result<()> {
        let connected = self.socket().connect(address).map(drop); // it is done at once, and not interrupted
        connected.map_err(|error| cannot("connect to", Named(address.clone()))(error))
    }

    /// Sends a datagram to `to`, whole or not at all.
    ///
    /// # Errors
    ///
    /// As for [`send`](Self::send). Also [`WouldBlock`](io::ErrorKind::WouldBlock) if the receiver is too slow: the system
    /// does not say when there is room again, so this does not wait for it; it lets other tasks have their turn a few
    /// times and gives up. A socket that is [connected](Self::connect) can wait, by [`send`](Self::send).
    ///
    /// # Cancel safety
    ///
    /// Safe: it is sent in the same poll that says so.
    pub async fn send_to(&self, bytes: &[u8], to: &SocketAddr) -> io::Result<usize> {
        a_few_times(|| self.try_send_to(bytes, to)).await
    }

    /// [`send_to`](Self::send_to) without trying again.
    ///
    /// # Errors
    ///
    /// As for `send_to`.
    #[inline]
    pub fn try_send_to(&self, bytes: &[u8], to: &SocketAddr) -> io::Result<usize> {
        // Past the registration: an answer that no event will take back must not count as "not writable".
        self.socket().send_datagram_to(bytes, to)
    }

    /// Its name is somebody else's to remove.
    pub(super) fn from_socket(socket: Socket) -> Self {
        Self {
            path: None,
            datagrams: Datagrams::new(socket),
        }
    }

    /// It takes its name along.
    pub(super) fn into_socket(self) -> Socket {
        if let Some(path) = self.path {
            path.keep();
        }
        self.datagrams.into_socket()
    }

    fn io(&self) -> &AsyncFd<Socket> {
        self.datagrams.io()
    }
}
