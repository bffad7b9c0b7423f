//! Which sockets can be served: those of this crate that listen.

use std::net::SocketAddr;
use std::os::unix::net;

use super::limits::PeerKey;
use crate::net::accept::Acceptor;
use crate::net::byte_stream::StreamSocket;
use crate::net::{TcpListener, TcpStream, UnixListener, UnixStream};

/// A socket whose connections a [`Server`](super::Server) can serve. Closed: its methods are nobody else's business.
pub trait Listener: Send + Sync + 'static {
    /// Its connections.
    type Stream: StreamSocket + Send + 'static;

    #[doc(hidden)]
    fn acceptor(&self) -> &Acceptor<Self::Stream>;

    /// Whose connection it is; `None` if that cannot be told.
    #[doc(hidden)]
    fn peer(
        stream: &Self::Stream,
        address: &<Self::Stream as StreamSocket>::Address,
    ) -> Option<PeerKey>;

    /// What a handler is told of whose connection it is.
    #[doc(hidden)]
    fn peer_addr(address: &<Self::Stream as StreamSocket>::Address) -> Option<SocketAddr>;
}

impl Listener for TcpListener {
    type Stream = TcpStream;

    fn acceptor(&self) -> &Acceptor<TcpStream> {
        self.acceptor()
    }

    #[inline]
    fn peer(_: &TcpStream, address: &SocketAddr) -> Option<PeerKey> {
        Some(PeerKey::of_address(address))
    }

    fn peer_addr(address: &SocketAddr) -> Option<SocketAddr> {
        Some(*address)
    }
}

impl Listener for UnixListener {
    type Stream = UnixStream;

    fn acceptor(&self) -> &Acceptor<UnixStream> {
        self.acceptor()
    }

    #[inline]
    fn peer(stream: &UnixStream, _: &net::SocketAddr) -> Option<PeerKey> {
        let peer = stream.peer_credentials().ok()?;
        Some(PeerKey::User(peer.uid()))
    }

    fn peer_addr(_: &net::SocketAddr) -> Option<SocketAddr> {
        None // the clients of Unix sockets have no names, with few exceptions
    }
}
