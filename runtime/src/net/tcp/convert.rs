//! From and to `std::net`, descriptors, and text.
//!
//! A descriptor that comes from elsewhere is put into non-blocking mode, and one that is given away leaves the reactor
//! first and stays in that mode.

use std::fmt;
use std::io;
use std::net as std_net;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};

use super::{TcpListener, TcpSocket, TcpStream};
use crate::sys::fd;
use crate::sys::socket::Socket;

impl TcpListener {
    /// Takes over a listener of the standard library and puts it into non-blocking mode.
    ///
    /// # Errors
    ///
    /// Those of fcntl(2).
    pub fn from_std(listener: std_net::TcpListener) -> io::Result<Self> {
        Self::try_from(OwnedFd::from(listener))
    }

    /// Gives it to the standard library, in non-blocking mode:
    /// [`set_nonblocking`](std_net::TcpListener::set_nonblocking) changes that.
    pub fn into_std(self) -> std_net::TcpListener {
        OwnedFd::from(self).into()
    }
}

impl TcpStream {
    /// Takes over a connected stream of the standard library and puts it into non-blocking mode. `TCP_NODELAY` stays as
    /// it is.
    ///
    /// # Errors
    ///
    /// Those of fcntl(2).
    pub fn from_std(stream: std_net::TcpStream) -> io::Result<Self> {
        Self::try_from(OwnedFd::from(stream))
    }

    /// Gives it to the standard library, in non-blocking mode:
    /// [`set_nonblocking`](std_net::TcpStream::set_nonblocking) changes that.
    pub fn into_std(self) -> std_net::TcpStream {
        OwnedFd::from(self).into()
    }
}

impl TryFrom<std_net::TcpListener> for TcpListener {
    type Error = io::Error;

    fn try_from(listener: std_net::TcpListener) -> io::Result<Self> {
        Self::from_std(listener)
    }
}

impl TryFrom<std_net::TcpStream> for TcpStream {
    type Error = io::Error;

    fn try_from(stream: std_net::TcpStream) -> io::Result<Self> {
        Self::from_std(stream)
    }
}

impl TryFrom<OwnedFd> for TcpListener {
    type Error = io::Error;

    /// Takes over a listening socket, such as one that a service manager has passed on.
    fn try_from(fd: OwnedFd) -> io::Result<Self> {
        let socket = adopt(fd)?;
        if !socket.is_listening()? {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "the socket does not listen: use `TcpSocket` and its `listen`",
            ));
        }
        Ok(Self::from_socket(socket))
    }
}

impl TryFrom<OwnedFd> for TcpStream {
    type Error = io::Error;

    /// Takes over a socket that is connected.
    fn try_from(fd: OwnedFd) -> io::Result<Self> {
        Ok(Self::from_socket(adopt(fd)?))
    }
}

impl TryFrom<OwnedFd> for TcpSocket {
    type Error = io::Error;

    /// Takes over a socket that is neither connected nor listening, with whatever options it has.
    fn try_from(fd: OwnedFd) -> io::Result<Self> {
        Ok(Self::from_socket(adopt(fd)?))
    }
}

/// # Errors
///
/// `InvalidInput` if it is not an IP socket.
fn adopt(fd: OwnedFd) -> io::Result<Socket> {
    fd::set_nonblocking(fd.as_fd(), true)?;
    let socket = Socket::from(fd);
    socket.domain()?;
    Ok(socket)
}

impl From<TcpListener> for OwnedFd {
    fn from(listener: TcpListener) -> Self {
        listener.into_socket().into()
    }
}

impl From<TcpStream> for OwnedFd {
    fn from(stream: TcpStream) -> Self {
        stream.into_socket().into()
    }
}

impl From<TcpSocket> for OwnedFd {
    fn from(socket: TcpSocket) -> Self {
        socket.into_socket().into()
    }
}

impl AsFd for TcpListener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket().as_fd()
    }
}

impl AsFd for TcpStream {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket().as_fd()
    }
}

impl AsFd for TcpSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket().as_fd()
    }
}

impl AsRawFd for TcpListener {
    fn as_raw_fd(&self) -> RawFd {
        self.as_fd().as_raw_fd()
    }
}

impl AsRawFd for TcpStream {
    fn as_raw_fd(&self) -> RawFd {
        self.as_fd().as_raw_fd()
    }
}

impl AsRawFd for TcpSocket {
    fn as_raw_fd(&self) -> RawFd {
        self.as_fd().as_raw_fd()
    }
}

/// A socket for people: its addresses, as far as it has any, and its descriptor.
pub(super) fn debug(name: &str, socket: &Socket, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let mut out = f.debug_struct(name);
    if let Ok(local) = socket.local_addr() {
        out.field("local", &local);
    }
    if let Ok(peer) = socket.peer_addr() {
        out.field("peer", &peer);
    }
    out.field("fd", &socket.as_raw_fd()).finish()
}

/// Sockets go wherever their tasks go.
const _: () = {
    const fn goes_anywhere<T: Send + Sync + Unpin + 'static>() {}
    goes_anywhere::<TcpListener>();
    goes_anywhere::<TcpSocket>();
    goes_anywhere::<TcpStream>();
    goes_anywhere::<super::OwnedReadHalf>();
    goes_anywhere::<super::OwnedWriteHalf>();
};
