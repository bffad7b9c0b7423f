//! A TCP connection.
//!
//! The documentation of the operations is here; what they do is in [`ByteStream`].

use std::fmt;
use std::io::{self, IoSlice, IoSliceMut};
use std::net::{Shutdown, SocketAddr};
use std::time::Duration;

use super::half::{self, OwnedReadHalf, OwnedWriteHalf, ReadHalf, WriteHalf};
use super::{Keepalive, socket};
use crate::io::AsyncFd;
use crate::net::byte_stream::ByteStream;
use crate::net::connect;
use crate::net::resolve::ToSocketAddrs;
use crate::reactor::Interest;
use crate::sys::socket::Socket;
use crate::time::Instant;

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
    bytes: ByteStream,
}

/// Making one, and moving bytes.
///
/// Every operation that waits panics if it has to wait for the first time outside a runtime, and fails if the runtime in
/// which it first waited has shut down.
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

    /// Waits until a read will probably not block: there is data, or the stream has ended.
    ///
    /// It may resolve when there is nothing yet, and on a fresh stream does so the first time. Follow it by
    /// [`try_read`](Self::try_read) in a loop, as [`with_scratch`](crate::io::with_scratch) shows.
    ///
    /// # Errors
    ///
    /// Only if waiting fails. An error of the connection makes it readable.
    ///
    /// # Cancel safety
    ///
    /// Safe: nothing is taken.
    pub fn readable(&self) -> impl Future<Output = io::Result<()>> {
        self.bytes.wait(Interest::Readable)
    }

    /// Waits until a write will probably not block.
    ///
    /// # Errors
    ///
    /// Only if waiting fails. An error of the connection makes it writable.
    ///
    /// # Cancel safety
    ///
    /// Safe: nothing is written.
    pub fn writable(&self) -> impl Future<Output = io::Result<()>> {
        self.bytes.wait(Interest::Writable)
    }

    /// Waits until the peer has ended its stream: closed it, or shut down its writing side. Which of the two, TCP does not
    /// tell. Data that it sent before may still be unread.
    ///
    /// # Errors
    ///
    /// Only if waiting fails.
    ///
    /// # Cancel safety
    ///
    /// Safe: once the stream has ended, every call resolves.
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
    ///     client.write_all(b"bye").await?;
    ///     drop(client);
    ///
    ///     server.read_closed().await?; // although three bytes are unread
    ///     assert_eq!(server.read(&mut [0; 16]).await?, 3);
    ///     Ok(())
    /// })
    /// # }
    /// ```
    pub fn read_closed(&self) -> impl Future<Output = io::Result<()>> {
        self.bytes.wait(Interest::ReadClosed)
    }

    /// Waits until the connection is over in both directions or has failed, as by a reset. Data may still be unread.
    ///
    /// A peer that closed its socket without further ado is seen as the end of its stream
    /// ([`read_closed`](Self::read_closed)) and no more.
    ///
    /// # Errors
    ///
    /// Only if waiting fails. The error of the connection is what the next operation returns.
    ///
    /// # Cancel safety
    ///
    /// Safe: once the connection is over, every call resolves.
    pub fn hung_up(&self) -> impl Future<Output = io::Result<()>> {
        self.bytes.wait(Interest::HungUp)
    }

    /// Reads what there is, at least a byte. 0 means that the peer has ended its stream, or that `buffer` is empty.
    ///
    /// # Errors
    ///
    /// Those of the connection, such as [`ConnectionReset`](io::ErrorKind::ConnectionReset).
    ///
    /// # Cancel safety
    ///
    /// Safe: bytes are taken in the same poll that returns their count.
    pub fn read(&self, buffer: &mut [u8]) -> impl Future<Output = io::Result<usize>> {
        self.bytes.read(buffer)
    }

    /// [`read`](Self::read) into several buffers, one after the other.
    ///
    /// # Errors
    ///
    /// As for `read`.
    ///
    /// # Cancel safety
    ///
    /// Safe: bytes are taken in the same poll that returns their count.
    pub fn read_vectored(
        &self,
        buffers: &mut [IoSliceMut<'_>],
    ) -> impl Future<Output = io::Result<usize>> {
        self.bytes.read_vectored(buffers)
    }

    /// Reads like [`read`](Self::read), but leaves the bytes to be read again.
    ///
    /// # Errors
    ///
    /// As for `read`.
    ///
    /// # Cancel safety
    ///
    /// Safe: nothing is taken.
    pub fn peek(&self, buffer: &mut [u8]) -> impl Future<Output = io::Result<usize>> {
        self.bytes.peek(buffer)
    }

    /// Fills `buffer`.
    ///
    /// # Errors
    ///
    /// [`UnexpectedEof`](io::ErrorKind::UnexpectedEof) if the stream ends before; otherwise as for [`read`](Self::read).
    /// How many bytes were taken by then is not known.
    ///
    /// # Cancel safety
    ///
    /// Not safe: bytes that were taken before the future was dropped are in `buffer`, and nobody knows how many.
    pub fn read_exact(&mut self, buffer: &mut [u8]) -> impl Future<Output = io::Result<()>> {
        self.bytes.read_exact(buffer)
    }

    /// Writes what there is room for, at least a byte, unless `bytes` is empty.
    ///
    /// # Errors
    ///
    /// Those of the connection, such as [`BrokenPipe`](io::ErrorKind::BrokenPipe). There is no `SIGPIPE`.
    ///
    /// # Cancel safety
    ///
    /// Safe: bytes are written in the same poll that returns their count.
    pub fn write(&self, bytes: &[u8]) -> impl Future<Output = io::Result<usize>> {
        self.bytes.write(bytes)
    }

    /// [`write`](Self::write) of several buffers, one after the other.
    ///
    /// # Errors
    ///
    /// As for `write`.
    ///
    /// # Cancel safety
    ///
    /// Safe: bytes are written in the same poll that returns their count.
    pub fn write_vectored(
        &self,
        buffers: &[IoSlice<'_>],
    ) -> impl Future<Output = io::Result<usize>> {
        self.bytes.write_vectored(buffers)
    }

    /// Writes all of `bytes`.
    ///
    /// # Errors
    ///
    /// As for [`write`](Self::write). How many bytes were written by then is not known.
    ///
    /// # Cancel safety
    ///
    /// Not safe: a part may have been written when the future was dropped, and nobody knows how much.
    pub fn write_all(&mut self, bytes: &[u8]) -> impl Future<Output = io::Result<()>> {
        self.bytes.write_all(bytes)
    }

    /// [`read`](Self::read) without waiting.
    ///
    /// # Errors
    ///
    /// [`WouldBlock`](io::ErrorKind::WouldBlock) if there is nothing yet; otherwise as for `read`.
    #[inline]
    pub fn try_read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        self.bytes.try_read(buffer)
    }

    /// [`read_vectored`](Self::read_vectored) without waiting.
    ///
    /// # Errors
    ///
    /// As for [`try_read`](Self::try_read).
    pub fn try_read_vectored(&self, buffers: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        self.bytes.try_read_vectored(buffers)
    }

    /// [`write`](Self::write) without waiting.
    ///
    /// # Errors
    ///
    /// [`WouldBlock`](io::ErrorKind::WouldBlock) if there is no room; otherwise as for `write`.
    #[inline]
    pub fn try_write(&self, bytes: &[u8]) -> io::Result<usize> {
        self.bytes.try_write(bytes)
    }

    /// [`write_vectored`](Self::write_vectored) without waiting.
    ///
    /// # Errors
    ///
    /// As for [`try_write`](Self::try_write).
    pub fn try_write_vectored(&self, buffers: &[IoSlice<'_>]) -> io::Result<usize> {
        self.bytes.try_write_vectored(buffers)
    }

    /// Limits how long reads, peeks and [`readable`](Self::readable) may wait: until `deadline`, or without end.
    ///
    /// It holds for those that wait now and for all that follow, until another is set. What need not wait succeeds also
    /// later. To put the deadline off with every message costs next to nothing: the timer is moved when it fires.
    ///
    /// What waits past it fails with [`TimedOut`](io::ErrorKind::TimedOut), and nothing is lost: with another deadline the
    /// next operation may succeed. [`read_closed`](Self::read_closed) and [`hung_up`](Self::hung_up) have no deadline.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// # async fn serve(stream: wakeful::net::TcpStream) -> std::io::Result<()> {
    /// use std::time::Duration;
    /// use wakeful::time::Instant;
    ///
    /// const IDLE: Duration = Duration::from_secs(30);
    /// let mut buffer = [0; 1024];
    /// loop {
    ///     stream.set_read_deadline(Some(Instant::now() + IDLE));
    ///     match stream.read(&mut buffer).await? {
    ///         0 => return Ok(()),
    ///         count => println!("{count} bytes"),
    ///     }
    /// }
    /// # }
    /// ```
    pub fn set_read_deadline(&self, deadline: Option<Instant>) {
        self.bytes.io().set_read_deadline(deadline);
    }

    /// Limits how long writes and [`writable`](Self::writable) may wait; otherwise as
    /// [`set_read_deadline`](Self::set_read_deadline).
    pub fn set_write_deadline(&self, deadline: Option<Instant>) {
        self.bytes.io().set_write_deadline(deadline);
    }

    /// What [`set_read_deadline`](Self::set_read_deadline) has set.
    pub fn read_deadline(&self) -> Option<Instant> {
        self.bytes.io().read_deadline()
    }

    /// What [`set_write_deadline`](Self::set_write_deadline) has set.
    pub fn write_deadline(&self) -> Option<Instant> {
        self.bytes.io().write_deadline()
    }

    /// Ends one direction or both. What was written before is still sent; the peer then reads the end of stream.
    ///
    /// There is nothing to wait for. On a connection that is gone already it does nothing.
    ///
    /// # Errors
    ///
    /// Those of shutdown(2), of which none is known on a connection.
    pub fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        self.bytes.shutdown(how)
    }

    /// Lends the two directions, to be used independently of each other in one task.
    ///
    /// With `AsyncReadExt` of the crate `futures` in scope, `stream.split()` means that trait's method, which takes the
    /// stream and puts a lock around it: write `TcpStream::split(&mut stream)`.
    pub fn split(&mut self) -> (ReadHalf<'_>, WriteHalf<'_>) {
        half::split(self)
    }

    /// Gives the two directions away, to two tasks say.
    ///
    /// Dropping the half that writes shuts the writing side down. The socket is closed when both halves are dropped.
    pub fn into_split(self) -> (OwnedReadHalf, OwnedWriteHalf) {
        half::into_split(self)
    }

    pub(super) fn bytes(&self) -> &ByteStream {
        &self.bytes
    }
}

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

    /// Bytes of the send buffer, as the system counts them: twice what was set (`SO_SNDBUF`).
    pub fn send_buffer_size(&self) -> io::Result<usize> {
        self.socket().send_buffer_size()
    }

    /// Sets [`send_buffer_size`](Self::send_buffer_size), which the system otherwise adapts.
    pub fn set_send_buffer_size(&self, bytes: usize) -> io::Result<()> {
        self.socket().set_send_buffer_size(bytes)
    }

    /// Bytes of the receive buffer, as the system counts them: twice what was set (`SO_RCVBUF`).
    pub fn recv_buffer_size(&self) -> io::Result<usize> {
        self.socket().recv_buffer_size()
    }

    /// Sets [`recv_buffer_size`](Self::recv_buffer_size), which the system otherwise adapts.
    pub fn set_recv_buffer_size(&self, bytes: usize) -> io::Result<()> {
        self.socket().set_recv_buffer_size(bytes)
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

impl fmt::Debug for TcpStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        super::convert::debug("TcpStream", self.socket(), f)
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
