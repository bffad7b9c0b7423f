//! A TCP connection.
//!
//! Moving bytes is the same for all streams, and in `byte_stream.rs`.

use std::io::{self, IoSlice, IoSliceMut};
use std::net::{Shutdown, SocketAddr};
use std::time::Duration;

use super::{Keepalive, socket};
use crate::io::AsyncFd;
use crate::net::byte_stream::{ByteStream, StreamSocket};
use crate::net::connect;
use crate::net::half::{OwnedReadHalf, OwnedWriteHalf, ReadHalf, WriteHalf};
use crate::net::options::buffer_options;
use crate::net::resolve::ToSocketAddrs;
use crate::net::stream_operations::stream_operations;
use crate::reactor::Interest;
use crate::sys::socket::Socket;

/// A TCP connection, accepted by a [`TcpListener`](super::TcpListener) or made by [`connect`](Self::connect).
///
/// Reads and writes try first and wait only if they would block. Dropping the stream closes the connection; the system
/// goes on sending what has been written. Unread data makes it a reset instead, which may cost the peer data that it has
/// not read yet either: [shut down](Self::shutdown) the writing side and read to the end where that matters.
///
/// Through the traits of `futures-io`, and other `poll_` methods, one reader and one writer are woken: of several tasks
/// that poll, the last. The inherent operations have no such limit.
///
/// # Examples
///
/// ```
/// # fn main() -> std::io::Result<()> {
/// use wakeful::net::{TcpListener, TcpStream};
///
/// wakeful::block_on(async {
///     let listener = TcpListener::bind("127.0.0.1:0")?;
///     let mut client = TcpStream::connect(listener.local_addr()?).await?;
///     let (server, _) = listener.accept().await?;
///
///     client.write_all(b"hello").await?;
///     let mut buffer = [0; 16];
///     let count = server.read(&mut buffer).await?;
///     assert_eq!(&buffer[..count], b"hello");
///     Ok(())
/// })
/// # }
/// ```
pub struct TcpStream {
    bytes: ByteStream<Self>,
}

/// Making one.
impl TcpStream {
    /// Connects to `address`, from an address that the system chooses, and sets `TCP_NODELAY`.
    ///
    /// A name is looked up, as by [`lookup_host`]. Of several addresses, the first that answers is taken: the next attempt
    /// begins when the one before has had 250 ms, or at once when one fails, and the two families take turns (RFC 8305,
    /// "Happy Eyeballs").
    ///
    /// It waits for as long as the system does, which is some two minutes for an address that does not answer:
    /// [`connect_timeout`](Self::connect_timeout) sets a limit.
    ///
    /// # Errors
    ///
    /// Those of connect(2), such as [`ConnectionRefused`](io::ErrorKind::ConnectionRefused), and those of [`lookup_host`]. If
    /// all of several addresses fail, the error names each with its reason, and its kind is that of the last to fail.
    ///
    /// # Panics
    ///
    /// If it has to wait outside a runtime, which a connection nearly always does.
    ///
    /// # Cancel safety
    ///
    /// Safe, in that a dropped future gives the connection up and leaves nothing behind, but a lookup that has begun.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// # async fn connect() -> std::io::Result<()> {
    /// use wakeful::net::TcpStream;
    ///
    /// let mut stream = TcpStream::connect("example.com:80").await?;
    /// stream.write_all(b"HEAD / HTTP/1.0\r\n\r\n").await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// [`lookup_host`]: crate::net::lookup_host
    pub fn connect(address: impl ToSocketAddrs) -> impl Future<Output = io::Result<Self>> {
        let target = address.target();
        async move { connect::connect(target?, Self::attempt).await }
    }

    /// [`connect`](Self::connect), for `limit` at most, the lookup of a name included.
    ///
    /// # Errors
    ///
    /// [`TimedOut`](io::ErrorKind::TimedOut) if nobody has answered by then, with the address; otherwise as for `connect`.
    ///
    /// # Panics
    ///
    /// If it has to wait outside a runtime, which a connection nearly always does, and when the runtime has shut down.
    ///
    /// # Cancel safety
    ///
    /// As for `connect`.
    ///
    /// # Examples
    ///
    /// ```
    /// # wakeful::block_on(async {
    /// use std::time::Duration;
    /// use wakeful::net::{TcpListener, TcpStream};
    ///
    /// let listener = TcpListener::bind("127.0.0.1:0")?;
    /// let limit = Duration::from_secs(10);
    /// let stream = TcpStream::connect_timeout(listener.local_addr()?, limit).await?;
    /// # drop(stream);
    /// # std::io::Result::Ok(())
    /// # }).unwrap();
    /// ```
    pub fn connect_timeout(
        address: impl ToSocketAddrs,
        limit: Duration,
    ) -> impl Future<Output = io::Result<Self>> {
        let target = address.target();
        async move { connect::connect_within(limit, target?, Self::attempt).await }
    }

    async fn attempt(address: SocketAddr) -> io::Result<Self> {
        let connected = socket::connect_anew(address).await;
        connected.map(Self::from_connected)
    }

    pub(super) fn from_connected(io: AsyncFd<Socket>) -> Self {
        Self { bytes: io.into() }
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
}

stream_operations!(TcpStream);
buffer_options!(TcpStream);

/// Addresses and options.
///
/// The options fail only where the system refuses a value or does not know the option; see tcp(7), socket(7) and ip(7).
impl TcpStream {
    /// The address of this end.
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
    /// Those of getpeername(2); [`NotConnected`](io::ErrorKind::NotConnected) if the connection is gone.
    pub fn peer_addr(&self) -> io::Result<SocketAddr> {
        self.socket().peer_addr()
    }

    /// Whether small writes are sent at once (`TCP_NODELAY`).
    pub fn nodelay(&self) -> io::Result<bool> {
        self.socket().nodelay()
    }

    /// Sets [`nodelay`](Self::nodelay), which is on by default.
    pub fn set_nodelay(&self, on: bool) -> io::Result<()> {
        self.socket().set_nodelay(on)
    }

    /// How many hops a packet may take.
    pub fn ttl(&self) -> io::Result<u32> {
        self.socket().ttl()
    }

    /// Sets [`ttl`](Self::ttl).
    pub fn set_ttl(&self, hops: u32) -> io::Result<()> {
        self.socket().set_ttl(hops)
    }

    /// When a silent connection is probed; `None` if never.
    pub fn keepalive(&self) -> io::Result<Option<Keepalive>> {
        Keepalive::of(self.socket())
    }

    /// Sets [`keepalive`](Self::keepalive).
    pub fn set_keepalive(&self, keepalive: Option<Keepalive>) -> io::Result<()> {
        Keepalive::apply(keepalive, self.socket())
    }

    /// Whether closing the socket throws away what is unsent and resets the connection.
    #[inline]
    pub fn zero_linger(&self) -> io::Result<bool> {
        self.socket().zero_linger()
    }

    /// Sets [`zero_linger`](Self::zero_linger). There is no linger other than zero: it would make closing wait.
    pub fn set_zero_linger(&self, on: bool) -> io::Result<()> {
        self.socket().set_zero_linger(on)
    }

    /// Whether acknowledgements are sent at once (`TCP_QUICKACK`).
    pub fn quickack(&self) -> io::Result<bool> {
        self.socket().quickack()
    }

    /// Sets [`quickack`](Self::quickack), until the system decides otherwise.
    pub fn set_quickack(&self, on: bool) -> io::Result<()> {
        self.socket().set_quickack(on)
    }

    /// How long sent data may stay unacknowledged before the connection fails; `None` is the system's default
    /// (`TCP_USER_TIMEOUT`).
    pub fn user_timeout(&self) -> io::Result<Option<Duration>> {
        self.socket().user_timeout()
    }

    /// Sets [`user_timeout`](Self::user_timeout). Rounded up to milliseconds.
    pub fn set_user_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
        self.socket().set_user_timeout(timeout)
    }
}

impl StreamSocket for TcpStream {
    type Address = SocketAddr;

    const READ_TO_END: bool = true;

    fn from_accepted(bytes: ByteStream<Self>) -> Self {
        // A system that refuses gets a slower stream, which is better than none.
        let _ = bytes.socket().set_nodelay(true);
        Self { bytes }
    }

    fn bytes(&self) -> &ByteStream<Self> {
        &self.bytes
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::TcpStream;

    #[test]
    fn a_stream_and_its_futures_are_small() {
        fn print_size<T>(what: &str, _: impl FnOnce(&'static TcpStream) -> T, most: usize) {
            println!("{what}: {} bytes", size_of::<T>());
            assert!(size_of::<T>() <= most, "{what}: {} bytes", size_of::<T>());
        }
        print_size("TcpStream", |_| -> TcpStream { unreachable!() }, 56);
        print_size("readable()", |stream| stream.readable(), 48);
        print_size("read()", |stream| stream.read(&mut []), 64);
        print_size("write()", |stream| stream.write(&[]), 64);
    }
}
