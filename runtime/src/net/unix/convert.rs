//! From and to `std::os::unix::net`, descriptors, and text: see the conversions of all sockets.
//!
//! A socket that is given away takes its name in the file system along, and one that is taken over leaves it to whoever made
//! it: it is not removed.

use std::fmt;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::net::{self as std_unix, SocketAddr};

use super::{UnixDatagram, UnixListener, UnixStream};
use crate::net::convert::{
    Kind, adopt, adopt_listener, debug, descriptor_conversions, std_conversions,
};

descriptor_conversions!(UnixListener: SocketAddr, UnixStream: SocketAddr, UnixDatagram: SocketAddr);
std_conversions!(
    UnixListener: std_unix::UnixListener,
    UnixStream: std_unix::UnixStream,
    UnixDatagram: std_unix::UnixDatagram,
);

impl TryFrom<OwnedFd> for UnixListener {
    type Error = io::Error;

    /// Takes over a listening socket, such as one that a service manager has passed on. Its name is not removed when it is
    /// dropped.
    #[inline]
    fn try_from(fd: OwnedFd) -> io::Result<Self> {
        Ok(Self::from_socket(adopt_listener(fd, Kind::UNIX_STREAM)?))
    }
}

impl TryFrom<OwnedFd> for UnixStream {
    type Error = io::Error;

    /// Takes over a socket that is connected.
    #[inline]
    fn try_from(fd: OwnedFd) -> io::Result<Self> {
        Ok(Self::from_socket(adopt(fd, Kind::UNIX_STREAM)?))
    }
}

impl TryFrom<OwnedFd> for UnixDatagram {
    type Error = io::Error;

    /// Takes over a socket for datagrams. Its name is not removed when it is dropped.
    #[inline]
    fn try_from(fd: OwnedFd) -> io::Result<Self> {
        Ok(Self::from_socket(adopt(fd, Kind::UNIX_DATAGRAM)?))
    }
}
