//! From and to `std::net`, descriptors, and text: see the conversions of all sockets.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};

use super::{TcpListener, TcpSocket, TcpStream};
use crate::net::convert::{
    Kind, adopt, adopt_listener, debug, descriptor_conversions, std_conversions,
};

descriptor_conversions!(TcpListener: SocketAddr, TcpStream: SocketAddr, TcpSocket: SocketAddr);
std_conversions!(TcpListener: std::net::TcpListener, TcpStream: std::net::TcpStream);

impl TryFrom<OwnedFd> for TcpListener {
    type Error = io::Error;

    /// Takes over a listening socket, such as one that a service manager has passed on.
    #[inline]
    fn try_from(fd: OwnedFd) -> io::Result<Self> {
        Ok(Self::from_socket(adopt_listener(fd, Kind::TCP)?))
    }
}

impl TryFrom<OwnedFd> for TcpStream {
    type Error = io::Error;

    /// Takes over a socket that is connected.
    #[inline]
    fn try_from(fd: OwnedFd) -> io::Result<Self> {
        Ok(Self::from_socket(adopt(fd, Kind::TCP)?))
    }
}

impl TryFrom<OwnedFd> for TcpSocket {
    type Error = io::Error;

    /// Takes over a socket that is neither connected nor listening, with whatever options it has.
    #[inline]
    fn try_from(fd: OwnedFd) -> io::Result<Self> {
        Ok(Self::from_socket(adopt(fd, Kind::TCP)?))
    }
}
