//! Copying between sockets: through the kernel what flows in bulk, through the thread's buffer the rest.
//!
//! ```text
//!                    a read filled the buffer
//!   ┌──▶ through memory ─────────────────────────▶ through a pipe ──┐ the pipe is drained:
//!   │      recv, send   ◀───────────────────────── splice, splice ◀─┘ fill it again
//!   │                  little came, or no pipe is to be had
//!   └── for good if the system does not allow splice(2)
//! ```
//!
//! * Each way has two system calls for a piece; for a small one those of the pipe cost more, for a large one they save two
//!   copies. Measured on loopback with 64 KiB and more at a time: 20 to 30 % less CPU time than `recv` and `send`, at the same
//!   throughput. A pipe larger than the usual 64 KiB brought nothing.
//! * A direction holds a pipe while that has something in it, and gives it back when it waits for its reader: idle
//!   connections have neither pipe nor buffer.
//! * The bytes in a pipe are counted when they have left it. If the copying ends before, they are lost with the pipe, as
//!   those in a buffer would be.

use std::future::poll_fn;
use std::io;
use std::task::{Context, Poll, ready};

use futures_io::{AsyncRead, AsyncWrite};

use super::byte_stream::{ByteStream, StreamSocket};
use crate::io::{AsyncFd, AtEnd, CopyError, LentPipe, Transfer, Try, both};
use crate::reactor::Interest;
use crate::sys::pipe::is_refusal;
use crate::sys::socket::Socket;

/// Copies what `from` has, until its end, to `to`. Returns how many bytes that were.
///
/// Does what [`io::copy`](crate::io::copy) does and is used like it, for sockets of this crate: streams and their halves,
/// by value or by reference. What flows in bulk is not copied to user space and back (splice(2)), where the system allows
/// it and the program ignores `SIGPIPE`, as Rust programs do; the rest goes the ordinary way.
///
/// # Errors
///
/// The first one of reading or of writing, with the number of bytes that were copied by then.
///
/// # Cancel safety
///
/// Not safe: bytes that were read and not yet written when the future was dropped are lost.
///
/// # Examples
///
/// An echo server's connection. Sockets may be shared, so one can be both ends:
///
/// ```
/// # fn main() -> std::io::Result<()> {
/// use std::net::Shutdown;
/// use wakeful::net::{TcpListener, TcpStream};
///
/// wakeful::block_on(async {
///     let listener = TcpListener::bind("127.0.0.1:0")?;
///     let mut client = TcpStream::connect(listener.local_addr()?).await?;
///     let (server, _) = listener.accept().await?;
///     client.write_all(b"hello").await?;
///     client.shutdown(Shutdown::Write)?;
///
///     assert_eq!(wakeful::net::copy(&server, &server).await?, 5);
///     let mut received = [0; 5];
///     client.read_exact(&mut received).await?;
///     assert_eq!(&received, b"hello");
///     Ok(())
/// })
/// # }
/// ```
pub fn copy<R, W>(mut from: R, mut to: W) -> impl Future<Output = Result<u64, CopyError>>
where
    R: SocketRead,
    W: SocketWrite,
{
    let mut direction = Direction::new(AtEnd::Flush);
    poll_fn(move |cx| {
        let result = ready!(direction.poll(cx, &mut from, &mut to));
        Poll::Ready(CopyError::or_count(result, direction.copied()))
    })
}

/// Copies from `a` to `b` and from `b` to `a`, until both have ended, and returns how many bytes went each way.
///
/// Does what [`io::copy_bidirectional`](crate::io::copy_bidirectional) does and is used like it, for sockets of this crate,
/// between which [it need not copy](copy). When one has ended, the writing side of the other is shut down, and the opposite
/// direction goes on.
///
/// # Errors
///
/// The first one of either direction, which ends both, with the numbers of bytes that were copied by then.
///
/// # Cancel safety
///
/// Not safe: bytes that were read and not yet written when the future was dropped are lost.
///
/// # Examples
///
/// A proxy:
///
/// ```no_run
/// use wakeful::net::{TcpListener, TcpStream, copy_bidirectional};
///
/// #[wakeful::main]
/// async fn main() -> std::io::Result<()> {
///     let listener = TcpListener::bind("127.0.0.1:7007")?;
///     loop {
///         let (mut client, _) = listener.accept().await?;
///         wakeful::spawn(async move {
///             let mut server = TcpStream::connect("127.0.0.1:8080").await?;
///             copy_bidirectional(&mut client, &mut server).await?;
///             std::io::Result::Ok(())
///         });
///     }
/// }
/// ```
pub fn copy_bidirectional<A, B>(
    mut a: A,
    mut b: B,
) -> impl Future<Output = Result<(u64, u64), CopyError<(u64, u64)>>>
where
    A: SocketRead + SocketWrite,
    B: SocketRead + SocketWrite,
{
    let mut there = Direction::new(AtEnd::Close);
    let mut back = Direction::new(AtEnd::Close);
    poll_fn(move |cx| {
        let there_ended = there.poll(cx, &mut a, &mut b);
        let back_ended = back.poll(cx, &mut b, &mut a);
        let result = ready!(both(there_ended, back_ended));
        Poll::Ready(CopyError::or_count(result, (there.copied(), back.copied())))
    })
}

/// What is read from a stream socket of this crate: a stream, the half that reads, or a reference to one.
///
/// For [`copy`] and [`copy_bidirectional`]. It cannot be implemented elsewhere.
pub trait SocketRead: AsyncRead + Unpin + sealed::HasSocket {}

/// What is written to a stream socket of this crate: a stream, the half that writes, or a reference to one.
///
/// For [`copy`] and [`copy_bidirectional`]. It cannot be implemented elsewhere.
pub trait SocketWrite: AsyncWrite + Unpin + sealed::HasSocket {}

impl<T: SocketRead + ?Sized> SocketRead for &mut T {}
impl<T: SocketWrite + ?Sized> SocketWrite for &mut T {}

pub(super) mod sealed {
    use super::{AsyncFd, ByteStream, Socket, StreamSocket};

    /// Leads to a socket.
    pub trait HasSocket {
        #[doc(hidden)]
        fn socket_io(&self) -> SocketIo<'_>;
    }

    impl<T: HasSocket + ?Sized> HasSocket for &mut T {
        fn socket_io(&self) -> SocketIo<'_> {
            (**self).socket_io()
        }
    }

    /// A socket that waits, in a form that a public trait may mention.
    #[derive(Debug)]
    pub struct SocketIo<'a>(pub(in crate::net) &'a AsyncFd<Socket>);

    impl<'a, T: StreamSocket> From<&'a ByteStream<T>> for SocketIo<'a> {
        fn from(bytes: &'a ByteStream<T>) -> Self {
            Self(bytes.io())
        }
    }
}

/// One direction, between two polls.
#[derive(Debug)]
struct Direction {
    transfer: Transfer,
    way: Way,
    /// Has something in it, except while this is being polled.
    pipe: Option<LentPipe>,
}

#[derive(Copy, Clone, Debug, PartialEq, Eq)]
enum Way {
    Memory,
    Pipe,
    /// The system does not allow the other one.
    MemoryForGood,
}

impl Direction {
    fn new(at_end: AtEnd) -> Self {
        Self {
            transfer: Transfer::new(at_end),
            way: Way::Memory,
            pipe: None,
        }
    }

    fn copied(&self) -> u64 {
        self.transfer.copied()
    }

    /// Copies to the end. Once it has returned `Ok` it always does.
    fn poll(
        &mut self,
        cx: &mut Context<'_>,
        mut from: impl SocketRead,
        mut to: impl SocketWrite,
    ) -> Poll<io::Result<()>> {
        while self.transfer.is_copying() {
            if self.way == Way::Pipe || self.pipe.is_some() {
                ready!(self.poll_through_pipe(cx, from.socket_io().0, to.socket_io().0))?;
            } else {
                ready!(self.transfer.poll_round(cx, &mut from, &mut to))?;
                if self.transfer.is_bulk() && self.way == Way::Memory {
                    self.way = Way::Pipe;
                }
            }
        }
        self.transfer.poll_end(cx, to)
    }

    /// Fills a pipe, unless it is on its way already, and drains it.
    fn poll_through_pipe(
        &mut self,
        cx: &mut Context<'_>,
        from: &AsyncFd<Socket>,
        to: &AsyncFd<Socket>,
    ) -> Poll<io::Result<()>> {
        let Some(mut pipe) = self.pipe.take().or_else(LentPipe::take) else {
            self.way = Way::Memory; // until the next large read
            return Poll::Ready(Ok(()));
        };
        if pipe.is_empty() {
            let fill = |socket: &Socket| Try::of(pipe.fill(socket));
            match ready!(from.poll_io(Interest::Readable, None, cx, fill)) {
                Ok(0) => {
                    self.transfer.end();
                    return Poll::Ready(Ok(()));
                }
                Ok(count) if count < LITTLE => self.way = Way::Memory,
                Ok(_) => {}
                Err(error) if is_refusal(&error) => {
                    self.way = Way::MemoryForGood;
                    return Poll::Ready(Ok(()));
                }
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
        while !pipe.is_empty() {
            let drain = |socket: &Socket| Try::of(pipe.drain(socket));
            match to.poll_io(Interest::Writable, None, cx, drain)? {
                Poll::Ready(0) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                Poll::Ready(count) => self.transfer.add_copied(count),
                Poll::Pending => {
                    self.pipe = Some(pipe);
                    return Poll::Pending;
                }
            }
        }
        if self.way == Way::Pipe {
            self.pipe = Some(pipe); // for the next round, or to be given back by that
        }
        Poll::Ready(Ok(()))
    }
}

/// Below this the next round goes through memory.
const LITTLE: usize = 16 << 10;
