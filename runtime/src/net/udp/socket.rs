//! A UDP socket.
//!
//! Moving datagrams one at a time is the same for all families, and in `datagram.rs`.

use std::fmt;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::task::{Context, Poll};

use super::{RecvBatch, SentSegments, segments};
use crate::net::convert::{Kind, adopt, debug, descriptor_conversions, std_conversions};
use crate::net::datagram::{Datagrams, Received, datagram_operations};
use crate::net::options::buffer_options;
use crate::net::resolve::{ToSocketAddrs, first_of};
use crate::reactor::Interest;
use crate::sys::socket::{Domain, Socket, Type};

/// A socket for UDP datagrams.
///
/// Several tasks may use one socket at the same time, also in one direction; each datagram goes to one of them.
///
/// Nothing is cut silently: every receiving operation says how long the datagram was ([`Received`], [`Datagram`]). Empty
/// datagrams arrive like others. Whether a datagram arrives at all, nobody says: the system throws away what a receive
/// buffer has no room for.
///
/// An error may be that of a datagram that was sent before: "nobody listens there" comes out of the next operation on a
/// [connected](Self::connect) socket. It comes once. A server that takes the errors of single datagrams for its end ends
/// when a client wants it to.
///
/// [`Datagram`]: super::Datagram
///
/// # Examples
///
/// ```
/// # fn main() -> std::io::Result<()> {
/// use wakeful::net::UdpSocket;
///
/// wakeful::block_on(async {
///     let server = UdpSocket::bind("127.0.0.1:0")?;
///     let client = UdpSocket::bind("127.0.0.1:0")?;
///     client.connect(server.local_addr()?)?;
///     client.send(b"hello").await?;
///
///     let mut buffer = [0; 1500];
///     let (received, peer) = server.recv_from(&mut buffer).await?;
///     assert!(!received.is_truncated());
///     assert_eq!(&buffer[..received.len], b"hello");
///     server.send_to(b"good bye", peer).await?;
///     assert_eq!(client.recv(&mut buffer).await?.len, 8);
///     Ok(())
/// })
/// # }
/// ```
pub struct UdpSocket {
    datagrams: Datagrams<SocketAddr>,
}

datagram_operations!(UdpSocket, SocketAddr);
buffer_options!(UdpSocket);
descriptor_conversions!(UdpSocket: SocketAddr);
std_conversions!(UdpSocket: std::net::UdpSocket);

/// Making one, and to whom it talks. There is nothing to wait for, so these are plain functions, and work outside a runtime. For
/// the same reason they look no names up: [`lookup_host`](crate::net::lookup_host) does.
impl UdpSocket {
    /// A socket with the address `address`; port 0 lets the system choose one. Of several addresses it takes the first that
    /// can be had.
    ///
    /// # Errors
    ///
    /// Those of bind(2), such as [`AddrInUse`](io::ErrorKind::AddrInUse), and a lack of descriptors; for several addresses, what
    /// became of each. [`InvalidInput`](io::ErrorKind::InvalidInput) for a name.
    pub fn bind(address: impl ToSocketAddrs) -> io::Result<Self> {
        Self::bind_with(address, |_| Ok(()))
    }

    /// [`bind`](Self::bind), with options that have to be set before. Of several addresses, each is tried with a socket of its
    /// own.
    ///
    /// # Errors
    ///
    /// As for `bind`, and those of `set`.
    ///
    /// # Examples
    ///
    /// ```
    /// # fn main() -> std::io::Result<()> {
    /// use wakeful::net::UdpSocket;
    ///
    /// let one = UdpSocket::bind_with("127.0.0.1:0", |socket| socket.set_reuse_port(true))?;
    /// let other = UdpSocket::bind_with(one.local_addr()?, |socket| socket.set_reuse_port(true))?;
    /// # drop(other);
    /// # Ok(())
    /// # }
    /// ```
    pub fn bind_with(
        address: impl ToSocketAddrs,
        mut set: impl FnMut(&Self) -> io::Result<()>,
    ) -> io::Result<Self> {
        first_of("bind", address, |address| {
            let socket = Self::from_socket(Socket::new(Domain::of(&address), Type::Datagram)?);
            set(&socket)?;
            socket.socket().bind(&address)?;
            Ok(socket)
        })
    }

    /// Makes `peer` the one to send to and to receive from; of several addresses, the first that the system has a way to.
    /// Datagrams of others, also those that have come already, are not received any more. It can be called again for another
    /// peer.
    ///
    /// # Errors
    ///
    /// Those of connect(2), such as [`NetworkUnreachable`](io::ErrorKind::NetworkUnreachable); for several addresses, what became
    /// of each. [`InvalidInput`](io::ErrorKind::InvalidInput) for a name. That nobody receives there is no error of connecting.
    pub fn connect(&self, peer: impl ToSocketAddrs) -> io::Result<()> {
        let connect = |peer| self.socket().connect(&peer).map(drop); // it is done at once, and not interrupted
        first_of("connect to", peer, connect)
    }

    /// Sends a datagram to `to`, whole or not at all.
    ///
    /// # Errors
    ///
    /// As for [`send`](Self::send).
    ///
    /// # Cancel safety
    ///
    /// Safe: it is sent in the same poll that says so.
    pub fn send_to(&self, bytes: &[u8], to: SocketAddr) -> impl Future<Output = io::Result<usize>> {
        self.datagrams.send_to(bytes, to)
    }

    /// [`send_to`](Self::send_to) without waiting.
    ///
    /// # Errors
    ///
    /// [`WouldBlock`](io::ErrorKind::WouldBlock) if there is no room; otherwise as for [`send`](Self::send).
    #[inline]
    pub fn try_send_to(&self, bytes: &[u8], to: SocketAddr) -> io::Result<usize> {
        self.datagrams.try_send_to(bytes, to)
    }

    /// [`send_to`](Self::send_to) for hand-written futures, with one waker as in [`poll_send`](Self::poll_send).
    #[inline]
    pub fn poll_send_to(
        &self,
        cx: &mut Context<'_>,
        bytes: &[u8],
        to: SocketAddr,
    ) -> Poll<io::Result<usize>> {
        let io = self.datagrams.io();
        io.poll_write_with(cx, |socket| socket.send_datagram_to(bytes, &to))
    }

    fn from_socket(socket: Socket) -> Self {
        Self {
            datagrams: Datagrams::new(socket),
        }
    }

    fn into_socket(self) -> Socket {
        self.datagrams.into_socket()
    }
}

/// Many datagrams in one system call.
impl UdpSocket {
    /// Receives what has come, one datagram at least, as many as `batch` has room for at most, and says how many.
    ///
    /// # Errors
    ///
    /// As for [`recv`](Self::recv); `batch` is empty then.
    ///
    /// # Cancel safety
    ///
    /// Safe: datagrams are taken in the same poll that returns how many.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// # async fn echo(socket: wakeful::net::UdpSocket) -> std::io::Result<()> {
    /// use wakeful::net::RecvBatch;
    ///
    /// let mut batch = RecvBatch::new(32, 1500);
    /// loop {
    ///     let mut left = socket.recv_many(&mut batch).await?;
    ///     while left > 0 {
    ///         let answers = batch.iter().map(|datagram| (datagram.bytes(), datagram.from()));
    ///         left -= socket.send_many(answers.skip(batch.len() - left)).await?;
    ///     }
    /// }
    /// # }
    /// ```
    pub fn recv_many(&self, batch: &mut RecvBatch) -> impl Future<Output = io::Result<usize>> {
        self.datagrams.reading(|socket| batch.fill(socket))
    }

    /// [`recv_many`](Self::recv_many) without waiting.
    ///
    /// # Errors
    ///
    /// As for [`try_recv`](Self::try_recv); `batch` is empty then.
    #[inline]
    pub fn try_recv_many(&self, batch: &mut RecvBatch) -> io::Result<usize> {
        self.datagrams.try_reading(|socket| batch.fill(socket))
    }

    /// Sends the first of `datagrams`, each to its address, one at least, 64 at most, and says how many. The rest is for
    /// another call.
    ///
    /// # Errors
    ///
    /// As for [`send`](Self::send), of the first. The error of another ends the call before it.
    ///
    /// # Cancel safety
    ///
    /// Safe: datagrams are sent in the same poll that returns how many.
    pub fn send_many<'a, I>(&self, datagrams: I) -> impl Future<Output = io::Result<usize>>
    where
        I: IntoIterator<Item = (&'a [u8], SocketAddr), IntoIter: Clone>,
    {
        let datagrams = datagrams.into_iter();
        self.datagrams
            .writing(move |socket| send_batch(socket, datagrams.clone()))
    }

    /// [`send_many`](Self::send_many) without waiting.
    ///
    /// # Errors
    ///
    /// [`WouldBlock`](io::ErrorKind::WouldBlock) if there is no room; otherwise as for `send_many`.
    pub fn try_send_many<'a>(
        &self,
        datagrams: impl IntoIterator<Item = (&'a [u8], SocketAddr)>,
    ) -> io::Result<usize> {
        self.datagrams
            .try_writing(|socket| send_batch(socket, datagrams.into_iter()))
    }

    /// Sends `bytes` as datagrams of `segment_len` bytes, the last of which may be shorter, to `to`, or to the peer that
    /// the socket is connected to.
    ///
    /// The system cuts them up, where it can (`UDP_SEGMENT`), which is several times cheaper than to send them one by
    /// one; otherwise they are sent in one call all the same. [`SentSegments`] says which, and how far it came: up to 64
    /// datagrams and 65 507 bytes. The rest is for another call.
    ///
    /// # Errors
    ///
    /// As for [`send`](Self::send); [`InvalidInput`](io::ErrorKind::InvalidInput) if `segment_len` is 0.
    ///
    /// # Cancel safety
    ///
    /// Safe: datagrams are sent in the same poll that returns how many bytes.
    pub fn send_segmented(
        &self,
        bytes: &[u8],
        segment_len: usize,
        to: Option<SocketAddr>,
    ) -> impl Future<Output = io::Result<SentSegments>> {
        self.datagrams
            .writing(move |socket| segments::send(socket, bytes, segment_len, to))
    }

    /// [`send_segmented`](Self::send_segmented) without waiting.
    ///
    /// # Errors
    ///
    /// [`WouldBlock`](io::ErrorKind::WouldBlock) if there is no room; otherwise as for `send_segmented`.
    #[inline]
    pub fn try_send_segmented(
        &self,
        bytes: &[u8],
        segment_len: usize,
        to: Option<SocketAddr>,
    ) -> io::Result<SentSegments> {
        self.datagrams
            .try_writing(|socket| segments::send(socket, bytes, segment_len, to))
    }

    /// Whether datagrams of one sender may arrive glued together (`UDP_GRO`).
    pub fn gro(&self) -> io::Result<bool> {
        self.socket().gro()
    }

    /// Sets [`gro`](Self::gro), which makes receiving many datagrams of one sender several times cheaper.
    ///
    /// From then on only [`recv_many`](Self::recv_many) can tell the datagrams apart
    /// ([`segments`](super::Datagram::segments)): the other receiving operations return several as if they were one.
    ///
    /// # Errors
    ///
    /// `ENOPROTOOPT` before Linux 5.0.
    pub fn set_gro(&self, on: bool) -> io::Result<()> {
        self.socket().set_gro(on)
    }
}

/// Options.
///
/// They fail only where the system refuses a value or does not know the option; see udp(7), socket(7), ip(7) and ipv6(7).
impl UdpSocket {
    /// How many hops a packet may take.
    pub fn ttl(&self) -> io::Result<u32> {
        self.socket().ttl()
    }

    /// Sets [`ttl`](Self::ttl).
    pub fn set_ttl(&self, hops: u32) -> io::Result<()> {
        self.socket().set_ttl(hops)
    }

    /// How packets are marked for routers: type of service in IPv4, traffic class in IPv6.
    #[inline]
    pub fn tos(&self) -> io::Result<u32> {
        self.socket().tos()
    }

    /// Sets [`tos`](Self::tos).
    #[inline]
    pub fn set_tos(&self, tos: u32) -> io::Result<()> {
        self.socket().set_tos(tos)
    }

    /// Whether datagrams may be sent to a broadcast address.
    pub fn broadcast(&self) -> io::Result<bool> {
        self.socket().broadcast()
    }

    /// Sets [`broadcast`](Self::broadcast).
    pub fn set_broadcast(&self, on: bool) -> io::Result<()> {
        self.socket().set_broadcast(on)
    }

    /// Whether several sockets may have one address (`SO_REUSEADDR`). Of those, the last one gets what is sent to it; all of
    /// them get what is sent to a multicast group.
    pub fn reuse_address(&self) -> io::Result<bool> {
        self.socket().reuse_address()
    }

    /// Sets [`reuse_address`](Self::reuse_address). It has to be [set before binding](Self::bind_with).
    pub fn set_reuse_address(&self, on: bool) -> io::Result<()> {
        self.socket().set_reuse_address(on)
    }

    /// Whether several sockets of one user may have one address and share what is sent to it, by the address of the sender
    /// (`SO_REUSEPORT`).
    pub fn reuse_port(&self) -> io::Result<bool> {
        self.socket().reuse_port()
    }

    /// Sets [`reuse_port`](Self::reuse_port). It has to be [set before binding](Self::bind_with).
    pub fn set_reuse_port(&self, on: bool) -> io::Result<()> {
        self.socket().set_reuse_port(on)
    }

    /// Whether an IPv6 socket leaves IPv4 alone (`IPV6_V6ONLY`).
    pub fn only_v6(&self) -> io::Result<bool> {
        self.socket().only_v6()
    }

    /// Sets [`only_v6`](Self::only_v6). It has to be [set before binding](Self::bind_with).
    pub fn set_only_v6(&self, on: bool) -> io::Result<()> {
        self.socket().set_only_v6(on)
    }

    /// Receives what is sent to `group`, on the interface with the address `interface`; an unspecified one lets the system
    /// choose.
    pub fn join_multicast_v4(&self, group: Ipv4Addr, interface: Ipv4Addr) -> io::Result<()> {
        self.socket().join_multicast_v4(group, interface)
    }

    /// Ends what [`join_multicast_v4`](Self::join_multicast_v4) began.
    pub fn leave_multicast_v4(&self, group: Ipv4Addr, interface: Ipv4Addr) -> io::Result<()> {
        self.socket().leave_multicast_v4(group, interface)
    }

    /// Receives what is sent to `group`, on the interface with the number `interface`; 0 lets the system choose.
    pub fn join_multicast_v6(&self, group: &Ipv6Addr, interface: u32) -> io::Result<()> {
        self.socket().join_multicast_v6(group, interface)
    }

    /// Ends what [`join_multicast_v6`](Self::join_multicast_v6) began.
    pub fn leave_multicast_v6(&self, group: &Ipv6Addr, interface: u32) -> io::Result<()> {
        self.socket().leave_multicast_v6(group, interface)
    }

    /// Sends what is for IPv4 groups through the interface with this address.
    pub fn set_multicast_interface_v4(&self, interface: Ipv4Addr) -> io::Result<()> {
        self.socket().set_multicast_interface_v4(interface)
    }

    /// Sends what is for IPv6 groups through the interface with this number.
    pub fn set_multicast_interface_v6(&self, interface: u32) -> io::Result<()> {
        self.socket().set_multicast_interface_v6(interface)
    }

    /// Whether what is sent to a group reaches its members on this host, too.
    pub fn multicast_loop(&self) -> io::Result<bool> {
        self.socket().multicast_loop()
    }

    /// Sets [`multicast_loop`](Self::multicast_loop), for the family of the socket.
    #[inline]
    pub fn set_multicast_loop(&self, on: bool) -> io::Result<()> {
        self.socket().set_multicast_loop(on)
    }

    /// How many hops a packet to a group may take; 1 at first, so that it does not leave the network.
    #[inline]
    pub fn multicast_ttl(&self) -> io::Result<u32> {
        self.socket().multicast_ttl()
    }

    /// Sets [`multicast_ttl`](Self::multicast_ttl), for the family of the socket.
    #[inline]
    pub fn set_multicast_ttl(&self, hops: u32) -> io::Result<()> {
        self.socket().set_multicast_ttl(hops)
    }
}

impl TryFrom<OwnedFd> for UdpSocket {
    type Error = io::Error;

    /// Takes over a UDP socket, such as one that a service manager has passed on.
    #[inline]
    fn try_from(fd: OwnedFd) -> io::Result<Self> {
        Ok(Self::from_socket(adopt(fd, Kind::UDP)?))
    }
}

fn send_batch<'a>(
    socket: &Socket,
    datagrams: impl Iterator<Item = (&'a [u8], SocketAddr)>,
) -> io::Result<usize> {
    socket.send_batch(datagrams.map(|(bytes, to)| (bytes, Some(to))))
}
