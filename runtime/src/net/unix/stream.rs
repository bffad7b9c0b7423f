//! A connection between Unix sockets.
//!
//! Moving bytes is the same for all streams, and in `byte_stream.rs`.

use std::io::{self, IoSlice, IoSliceMut};
use std::net::Shutdown;
use std::os::fd::BorrowedFd;
use std::os::unix::net::SocketAddr;
use std::path::Path;

use super::descriptors::{self, WithFds, descriptor_operations};
use super::{Named, PeerCredentials, a_few_times};
use crate::io::AsyncFd;
use crate::net::byte_stream::{ByteStream, StreamSocket};
use crate::net::error::cannot;
use crate::net::half::{OwnedReadHalf, OwnedWriteHalf, ReadHalf, WriteHalf};
use crate::net::options::buffer_options;
use crate::net::stream_operations::stream_operations;
use crate::reactor::Interest;
use crate::sys::socket::{Connect, Domain, Socket, Type};

/// A connection between Unix sockets, accepted by a [`UnixListener`](super::UnixListener), made by
/// [`connect`](Self::connect), or one of a [`pair`](Self::pair).
///
/// It does what a [`TcpStream`](crate::net::TcpStream) does, within this host, and can also say [who is at the other
/// end](Self::peer_credentials) and [send descriptors](Self::send_with_fds).
///
/// # Examples
///
/// ```
/// # fn main() -> std::io::Result<()> {
/// use wakeful::net::UnixStream;
///
/// wakeful::block_on(async {
///     let (mut one, other) = UnixStream::pair()?;
///     one.write_all(b"hello").await?;
///     let mut buffer = [0; 16];
///     let count = other.read(&mut buffer).await?;
///     assert_eq!(&buffer[..count], b"hello");
///     Ok(())
/// })
/// # }
/// ```
pub struct UnixStream {
    bytes: ByteStream<Self>,
}

/// Making one.
impl UnixStream {
    /// Connects to the listener with the name `path`.
    ///
    /// # Errors
    ///
    /// Those of connect(2), such as [`NotFound`](io::ErrorKind::NotFound), and
    /// [`ConnectionRefused`](io::ErrorKind::ConnectionRefused) if nobody listens there any more.
    ///
    /// [`WouldBlock`](io::ErrorKind::WouldBlock) if the listener's backlog is full. The system does not say when there is
    /// room again, so this does not wait for it; it lets other tasks have their turn a few times and gives up. Whoever can
    /// wait tries again after a pause.
    ///
    /// # Cancel safety
    ///
    /// Safe, in that a dropped future leaves nothing behind.
    pub async fn connect(path: impl AsRef<Path>) -> io::Result<Self> {
        Self::connect_addr(&SocketAddr::from_pathname(path)?).await
    }

    /// [`connect`](Self::connect) to a listener with any kind of name.
    ///
    /// # Errors
    ///
    /// As for `connect`.
    ///
    /// # Cancel safety
    ///
    /// Safe, in that a dropped future leaves nothing behind.
    pub async fn connect_addr(address: &SocketAddr) -> io::Result<Self> {
        let socket = Socket::stream(Domain::Unix)?;
        let connected = a_few_times(|| connect(&socket, address)).await;
        connected.map_err(|error| cannot("connect to", Named(address.clone()))(explain(error)))?;
        Ok(Self::from_socket(socket))
    }

    /// Two that are connected to each other.
    ///
    /// # Errors
    ///
    /// When the process or the system is out of descriptors or memory.
    #[inline]
    pub fn pair() -> io::Result<(Self, Self)> {
        let (one, other) = Socket::pair(Type::Stream)?;
        Ok((Self::from_socket(one), Self::from_socket(other)))
    }

    pub(super) fn from_socket(socket: Socket) -> Self {
        Self {
            bytes: ByteStream::new(socket),
        }
    }

    pub(super) fn socket(&self) -> &Socket {
        self.bytes.socket()
    }

    pub(super) fn into_socket(self) -> Socket {
        self.bytes.into_socket()
    }

    fn io(&self) -> &AsyncFd<Socket> {
        self.bytes.io()
    }
}

stream_operations!(UnixStream);
descriptor_operations!(UnixStream, Type::Stream);
buffer_options!(UnixStream);

/// Who is who.
impl UnixStream {
    /// The address of this end. A client has no name, unless it was given one.
    ///
    /// # Errors
    ///
    /// Those of getsockname(2).
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.socket().local_addr()
    }

    /// The address of the other end.
    ///
    /// # Errors
    ///
    /// Those of getpeername(2).
    pub fn peer_addr(&self) -> io::Result<SocketAddr> {
        self.socket().peer_addr()
    }

    /// The process at the other end, as it was when it connected, or called `listen` (`SO_PEERCRED`). It need not be the one
    /// that has the socket now.
    ///
    /// # Errors
    ///
    /// Those of getsockopt(2).
    ///
    /// # Examples
    ///
    /// ```
    /// # fn main() -> std::io::Result<()> {
    /// let (one, _other) = wakeful::net::UnixStream::pair()?;
    /// assert_eq!(one.peer_credentials()?.pid(), Some(std::process::id()));
    /// # Ok(())
    /// # }
    /// ```
    #[inline]
    pub fn peer_credentials(&self) -> io::Result<PeerCredentials> {
        PeerCredentials::of(self.socket())
    }
}

impl StreamSocket for UnixStream {
    type Address = SocketAddr;

    const READ_TO_END: bool = false; // it ends behind bytes that came with descriptors, or from another process

    fn from_accepted(bytes: ByteStream<Self>) -> Self {
        Self { bytes }
    }

    fn bytes(&self) -> &ByteStream<Self> {
        &self.bytes
    }
}

/// It is done at once or not at all.
#[inline]
fn connect(socket: &Socket, address: &SocketAddr) -> io::Result<()> {
    match socket.connect(address)? {
        Connect::Done => Ok(()),
        Connect::InProgress => socket.peer_addr::<SocketAddr>().map(drop),
    }
}

#[inline]
fn explain(error: io::Error) -> io::Error {
    match error.kind() {
        io::ErrorKind::WouldBlock => io::Error::new(
            io::ErrorKind::WouldBlock,
            "the listener's backlog is full, and the system does not say when there is room again",
        ),
        _ => error,
    }
}
