//! Sockets that wait without blocking the thread.
//!
//! * [`TcpListener`] accepts connections, [`TcpStream`] is one, and [`TcpSocket`] sets options before there is either.
//! * [`Server`] accepts for them, gives each connection a task, keeps limits and ends gracefully.
//! * They take [addresses](ToSocketAddrs) as text, as values and in lists. [`TcpStream::connect`] also looks names up, and tries
//!   several addresses as RFC 8305 says; [`lookup_host`] does the first alone. Binding, and connecting a socket for datagrams,
//!   waits for nothing, and takes no names.
//! * [`inherited`] has the sockets that a service manager, or an earlier instance of the program, has passed on.
//! * [`UdpSocket`] receives and sends datagrams, one by one, in batches, or as segments of one buffer. None is cut
//!   silently.
//! * [`UnixListener`], [`UnixStream`] and [`UnixDatagram`] do the same within the host. They tell who is at the other end
//!   and pass descriptors, and a name in the file system is taken over from a process that has died, and removed at the
//!   end.
//! * Operations of one system call take `&self`, so that several tasks can share a socket. Composed ones
//!   ([`read_exact`](TcpStream::read_exact), [`write_all`](TcpStream::write_all)), which must not interleave, take
//!   `&mut self`; [`split`](TcpStream::split) and [`into_split`](TcpStream::into_split) give each direction its own.
//! * Streams implement `AsyncRead` and `AsyncWrite` of the crate `futures-io`, by value and by reference, so the
//!   libraries of that ecosystem work on them. For everyday use no trait has to be imported.
//! * [`copy()`] and [`copy_bidirectional`] move all there is from one socket to another, without carrying bulk data through
//!   user space; [`send_file`](TcpStream::send_file) does the same with a file.
//! * `TCP_NODELAY` is on for every stream: what is written is sent. [`set_nodelay`](TcpStream::set_nodelay) switches it
//!   off.
//! * A listener may take a port whose last connections have not timed out yet (`SO_REUSEADDR`), but never shares one with
//!   another listener (`SO_REUSEPORT`) unless [asked to](TcpSocket::set_reuse_port).
//! * Nothing raises `SIGPIPE`, and closing a socket never waits.
//! * Errors of binding and connecting say which operation failed on which address. The error of the system is their
//!   source:
//!
//! ```
//! # fn main() -> std::io::Result<()> {
//! use std::error::Error;
//! use wakeful::net::TcpListener;
//!
//! let first = TcpListener::bind("127.0.0.1:0")?;
//! let error = TcpListener::bind(first.local_addr()?).unwrap_err();
//! assert_eq!(error.kind(), std::io::ErrorKind::AddrInUse);
//! assert!(error.to_string().starts_with("cannot bind 127.0.0.1:"));
//! let source = error.source().unwrap().downcast_ref::<std::io::Error>().unwrap();
//! assert!(source.raw_os_error().is_some());
//! # Ok(())
//! # }
//! ```

mod accept;
mod bulk;
mod byte_stream;
mod connect;
mod convert;
mod copy;
mod datagram;
mod error;
mod half;
pub mod inherited;
mod options;
mod permits;
mod resolve;
mod send_file;
mod serve;
mod stream_operations;
mod tcp;
mod traits;
mod udp;
mod unix;

pub use self::accept::Incoming;
pub use self::copy::{Copying, SocketRead, SocketWrite, copy, copy_bidirectional};
pub use self::datagram::Received;
pub use self::half::{
    OwnedReadHalf, OwnedWriteHalf, ReadHalf, ReuniteError, StreamReader, StreamWriter, WriteHalf,
};
pub use self::resolve::{Addresses, ToSocketAddrs, lookup_host};
pub use self::serve::{
    Connection, Listener, Outcome, Server, ServerReport, ServerStats, UnlessServerEnds,
};
pub use self::tcp::{Keepalive, TcpListener, TcpSocket, TcpStream};
pub use self::udp::{Datagram, RecvBatch, SentSegments, UdpSocket};
pub use self::unix::{PeerCredentials, UnixDatagram, UnixListener, UnixStream, WithFds};
