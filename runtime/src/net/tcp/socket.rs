//! A TCP socket before it is a listener or a stream, and how it connects.
//!
//! A connection that is in progress makes the socket writable when it is done *or has failed*; the error pending on the
//! socket tells which. The socket is registered after `connect(2)`: before, epoll would report it as hung up. A socket
//! that failed to connect is closed, since nothing is said about what state it is in.

use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use super::{Keepalive, TcpListener, TcpStream};
use crate::io::{AsyncFd, Try};
use crate::net::error::cannot;
use crate::reactor::{Interest, Registration};
use crate::sys::socket::{Connect, Domain, Socket};

/// A TCP socket that is neither connected nor listening, to set options on.
///
/// `TCP_NODELAY` is on from the start; all other options are those of the system. The options fail only where the system
/// refuses a value or does not know the option; see tcp(7), socket(7) and ipv6(7).
///
/// # Examples
///
/// ```
/// # fn main() -> std::io::Result<()> {
/// use wakeful::net::TcpSocket;
///
/// let socket = TcpSocket::new_v4()?;
/// socket.set_reuse_address(true)?;
/// socket.set_reuse_port(true)?;
/// socket.bind("127.0.0.1:0".parse().unwrap())?;
/// let listener = socket.listen(128)?;
/// # drop(listener);
/// # Ok(())
/// # }
/// ```
pub struct TcpSocket(Socket);

impl TcpSocket {
    /// A socket for IPv4.
    ///
    /// # Errors
    ///
    /// When the process or the system is out of descriptors or memory.
    pub fn new_v4() -> io::Result<Self> {
        Self::new(Domain::V4)
    }

    /// A socket for IPv6.
    ///
    /// # Errors
    ///
    /// When the process or the system is out of descriptors or memory, or the system knows no IPv6.
    pub fn new_v6() -> io::Result<Self> {
        Self::new(Domain::V6)
    }

    pub(super) fn for_peer(address: &SocketAddr) -> io::Result<Self> {
        Self::new(Domain::of(address))
    }

    fn new(domain: Domain) -> io::Result<Self> {
        let socket = Socket::stream(domain)?;
        socket.set_nodelay(true)?;
        Ok(Self(socket))
    }

    pub(super) fn from_socket(socket: Socket) -> Self {
        Self(socket)
    }

    pub(super) fn socket(&self) -> &Socket {
        &self.0
    }

    pub(super) fn into_socket(self) -> Socket {
        self.0
    }

    /// Takes `address` as the local one; port 0 lets the system choose.
    ///
    /// # Errors
    ///
    /// Those of bind(2), such as [`AddrInUse`](io::ErrorKind::AddrInUse).
    pub fn bind(&self, address: SocketAddr) -> io::Result<()> {
        self.0.bind(&address).map_err(cannot("bind", address))
    }

    /// Becomes a listener with room for `backlog` connections that nobody has accepted yet, as far as the system allows
    /// (`net.core.somaxconn`).
    ///
    /// # Errors
    ///
    /// Those of listen(2), such as [`AddrInUse`](io::ErrorKind::AddrInUse).
    #[inline]
    pub fn listen(self, backlog: u32) -> io::Result<TcpListener> {
        if let Err(error) = self.0.listen(backlog) {
            return Err(match self.local_addr() {
                Ok(address) => cannot("listen on", address)(error),
                Err(_) => error,
            });
        }
        Ok(TcpListener::from_socket(self.0))
    }

    /// Connects to `address`.
    ///
    /// # Errors
    ///
    /// Those of connect(2), such as [`ConnectionRefused`](io::ErrorKind::ConnectionRefused); the socket is closed then.
    ///
    /// # Panics
    ///
    /// If it has to wait outside a runtime, which a connection nearly always does.
    ///
    /// # Cancel safety
    ///
    /// Safe, in that a dropped future closes the socket and gives the connection up.
    pub async fn connect(self, address: SocketAddr) -> io::Result<TcpStream> {
        let connected = connect(self.0, &address).await;
        connected
            .map(TcpStream::from_connected)
            .map_err(cannot("connect to", address))
    }

    /// The local address, unspecified before [`bind`](Self::bind).
    ///
    /// # Errors
    ///
    /// Those of getsockname(2).
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.0.local_addr()
    }

    /// Whether a listener may take a port whose last connections have not timed out yet (`SO_REUSEADDR`).
    pub fn reuse_address(&self) -> io::Result<bool> {
        self.0.reuse_address()
    }

    /// Sets [`reuse_address`](Self::reuse_address).
    pub fn set_reuse_address(&self, on: bool) -> io::Result<()> {
        self.0.set_reuse_address(on)
    }

    /// Whether several sockets of one user may listen on one port (`SO_REUSEPORT`). Each then has a queue of its own, and
    /// the system chooses one by the client's address: a listener that is slow or gone keeps what was put into its queue.
    pub fn reuse_port(&self) -> io::Result<bool> {
        self.0.reuse_port()
    }

    /// Sets [`reuse_port`](Self::reuse_port).
    pub fn set_reuse_port(&self, on: bool) -> io::Result<()> {
        self.0.set_reuse_port(on)
    }

    /// Whether an IPv6 socket leaves IPv4 alone (`IPV6_V6ONLY`).
    pub fn only_v6(&self) -> io::Result<bool> {
        self.0.only_v6()
    }

    /// Sets [`only_v6`](Self::only_v6).
    pub fn set_only_v6(&self, on: bool) -> io::Result<()> {
        self.0.set_only_v6(on)
    }

    /// Whether small writes are sent at once (`TCP_NODELAY`). Streams that a listener accepts have it on whatever is set
    /// here.
    pub fn nodelay(&self) -> io::Result<bool> {
        self.0.nodelay()
    }

    /// Sets [`nodelay`](Self::nodelay).
    pub fn set_nodelay(&self, on: bool) -> io::Result<()> {
        self.0.set_nodelay(on)
    }

    /// How many hops a packet may take.
    pub fn ttl(&self) -> io::Result<u32> {
        self.0.ttl()
    }

    /// Sets [`ttl`](Self::ttl).
    pub fn set_ttl(&self, hops: u32) -> io::Result<()> {
        self.0.set_ttl(hops)
    }

    /// Bytes of the send buffer, as the system counts them: twice what was set (`SO_SNDBUF`).
    pub fn send_buffer_size(&self) -> io::Result<usize> {
        self.0.send_buffer_size()
    }

    /// Sets [`send_buffer_size`](Self::send_buffer_size), which the system otherwise adapts. Accepted streams inherit it.
    pub fn set_send_buffer_size(&self, bytes: usize) -> io::Result<()> {
        self.0.set_send_buffer_size(bytes)
    }

    /// Bytes of the receive buffer, as the system counts them: twice what was set (`SO_RCVBUF`).
    pub fn recv_buffer_size(&self) -> io::Result<usize> {
        self.0.recv_buffer_size()
    }

    /// Sets [`recv_buffer_size`](Self::recv_buffer_size), which the system otherwise adapts. Accepted streams inherit it.
    /// Set before the connection is made, it also bounds the window that the peer is offered.
    pub fn set_recv_buffer_size(&self, bytes: usize) -> io::Result<()> {
        self.0.set_recv_buffer_size(bytes)
    }

    /// When a silent connection is probed; `None` if never. Accepted streams inherit it.
    pub fn keepalive(&self) -> io::Result<Option<Keepalive>> {
        Keepalive::of(&self.0)
    }

    /// Sets [`keepalive`](Self::keepalive).
    pub fn set_keepalive(&self, keepalive: Option<Keepalive>) -> io::Result<()> {
        Keepalive::apply(keepalive, &self.0)
    }

    /// How long sent data may stay unacknowledged before the connection fails; `None` is the system's default
    /// (`TCP_USER_TIMEOUT`). Accepted streams inherit it.
    pub fn user_timeout(&self) -> io::Result<Option<Duration>> {
        self.0.user_timeout()
    }

    /// Sets [`user_timeout`](Self::user_timeout). Rounded up to milliseconds.
    pub fn set_user_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
        self.0.set_user_timeout(timeout)
    }

    /// For how long a listener keeps a connection back that has sent nothing yet; `None` is not at all
    /// (`TCP_DEFER_ACCEPT`).
    pub fn defer_accept(&self) -> io::Result<Option<Duration>> {
        self.0.defer_accept()
    }

    /// Sets [`defer_accept`](Self::defer_accept). Rounded up to what the system's retransmissions make of it.
    pub fn set_defer_accept(&self, timeout: Option<Duration>) -> io::Result<()> {
        self.0.set_defer_accept(timeout)
    }
}

/// Connects to `address` from any local address.
///
/// A connection to a port of this host that nobody listens on can meet itself, if the system happens to choose that port
/// as the local one (TCP's simultaneous open). And it may find no local port where there is one a moment later. Both are
/// tried again with another socket.
pub(super) async fn connect_anew(address: SocketAddr) -> io::Result<AsyncFd<Socket>> {
    let mut retries_left = CONNECT_RETRIES;
    loop {
        let result = connect(TcpSocket::for_peer(&address)?.0, &address).await;
        let failed = match result {
            Ok(io) if is_connected_to_itself(io.get_ref()) => met_itself(),
            Err(error) if error.kind() == io::ErrorKind::AddrNotAvailable => error,
            result => return result,
        };
        if retries_left == 0 {
            return Err(failed);
        }
        retries_left -= 1;
    }
}

async fn connect(socket: Socket, address: &SocketAddr) -> io::Result<AsyncFd<Socket>> {
    match socket.connect(address)? {
        Connect::Done => Ok(AsyncFd::with_registration(
            socket,
            Registration::optimistic(),
        )),
        Connect::InProgress => {
            let io = AsyncFd::with_registration(socket, Registration::waiting());
            let mut wait = io.wait(Interest::Writable);
            poll_fn(|cx| wait.poll_io(cx, |socket| Try::of(outcome(socket)))).await?;
            drop(wait);
            Ok(io)
        }
    }
}

/// How a connection ended that was in progress; `WouldBlock` if it still is.
#[inline]
fn outcome(socket: &Socket) -> io::Result<()> {
    if let Some(error) = socket.take_error()? {
        return Err(error);
    }
    match socket.peer_addr::<SocketAddr>() {
        Ok(_) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotConnected => {
            Err(io::ErrorKind::WouldBlock.into())
        }
        Err(error) => Err(error),
    }
}

#[inline]
fn is_connected_to_itself(socket: &Socket) -> bool {
    match (
        socket.local_addr::<SocketAddr>(),
        socket.peer_addr::<SocketAddr>(),
    ) {
        (Ok(local), Ok(peer)) => local.ip() == peer.ip() && local.port() == peer.port(),
        _ => false, // gone already, which the first operation will say
    }
}

fn met_itself() -> io::Error {
    io::Error::new(
        io::ErrorKind::ConnectionRefused,
        "nobody listens there, and the connection met itself",
    )
}

/// With one ephemeral port in some twenty-eight thousand being the wrong one, the second retry is for peace of mind.
const CONNECT_RETRIES: u32 = 2;
