//! A socket: making, naming and connecting it, and moving the bytes of a stream.
//!
//! Every operation is tried once and answers at once; `WouldBlock` means that the kernel would have waited. Sending
//! never raises `SIGPIPE`, in a host that has not ignored it either (`MSG_NOSIGNAL`, which `write` does not have). The
//! options, and what datagrams and descriptors need, are in the neighbouring files.
#![expect(unsafe_code, reason = "calls the socket functions of libc")]

use std::io::{self, IoSlice, IoSliceMut};
use std::mem;
use std::net::{Shutdown, SocketAddr};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use super::address::{Address, RawAddress};
use super::call::{Call, begin, is_interrupted, retry, transfer};

/// A socket of the kernel, non-blocking if made here; closed when dropped.
#[derive(Debug)]
pub(crate) struct Socket(OwnedFd);

impl Socket {
    /// A socket for a stream, neither bound nor connected.
    pub(crate) fn stream(domain: Domain) -> io::Result<Self> {
        Self::new(domain, Type::Stream)
    }

    /// A socket, neither bound nor connected.
    pub(crate) fn new(domain: Domain, ty: Type) -> io::Result<Self> {
        let fd = retry(Call::Socket, || {
            // SAFETY: the call touches no memory of ours.
            unsafe { libc::socket(domain.number(), ty.number() | NEW_FLAGS, 0) }
        })?;
        // SAFETY: the kernel just made this descriptor, and nobody else knows it.
        Ok(Self(unsafe { OwnedFd::from_raw_fd(fd) }))
    }

    /// Two Unix sockets that are connected to each other.
    pub(crate) fn pair(ty: Type) -> io::Result<(Self, Self)> {
        let mut fds = [-1; 2];
        retry(Call::Socket, || {
            // SAFETY: `fds` is writable for two descriptors.
            unsafe { libc::socketpair(libc::AF_UNIX, ty.number() | NEW_FLAGS, 0, fds.as_mut_ptr()) }
        })?;
        // SAFETY: the kernel just made these descriptors, and nobody else knows them.
        Ok(unsafe { fds.map(|fd| Self(OwnedFd::from_raw_fd(fd))) }.into())
    }

    pub(crate) fn bind(&self, address: &impl Address) -> io::Result<()> {
        let raw = address.to_raw();
        retry(Call::Bind, || {
            // SAFETY: `raw` is readable for as many bytes as its length says.
            unsafe { libc::bind(self.as_raw_fd(), raw.as_ptr(), raw.len()) }
        })?;
        Ok(())
    }

    /// Lets peers connect. The kernel caps `backlog` at `net.core.somaxconn`.
    pub(crate) fn listen(&self, backlog: u32) -> io::Result<()> {
        let backlog = libc::c_int::try_from(backlog).unwrap_or(libc::c_int::MAX);
        retry(Call::Listen, || {
            // SAFETY: the call touches no memory of ours.
            unsafe { libc::listen(self.as_raw_fd(), backlog) }
        })?;
        Ok(())
    }

    /// Takes a connection from the backlog.
    ///
    /// # Errors
    ///
    /// Many, and few of them concern the listener: errors pending on the connection come out here too (`ECONNABORTED`,
    /// `EHOSTUNREACH` and others), as do a lack of descriptors or memory.
    pub(crate) fn accept<A: Address>(&self) -> io::Result<(Self, A)> {
        let mut raw = RawAddress::room();
        let fd = transfer(Call::Accept, self.as_fd(), 1, |_| {
            let (address, len) = raw.as_mut_ptrs();
            // SAFETY: the room at `address` is as long as `len` says, and both live through the call.
            unsafe { libc::accept4(self.as_raw_fd(), address, len, NEW_FLAGS) }
        })?;
        // SAFETY: the kernel just made this descriptor, and nobody else knows it.
        let socket = Self(unsafe { OwnedFd::from_raw_fd(fd) });
        Ok((socket, A::from_raw(&raw)?))
    }

    /// Begins to connect to `address`.
    ///
    /// Once a connection that was in progress makes the socket writable, [`take_error`](Self::take_error) says how it
    /// ended. A TCP socket that failed to connect is in no state to be used again.
    pub(crate) fn connect(&self, address: &impl Address) -> io::Result<Connect> {
        let raw = address.to_raw();
        let result = begin(Call::Connect, || {
            // SAFETY: `raw` is readable for as many bytes as its length says.
            unsafe { libc::connect(self.as_raw_fd(), raw.as_ptr(), raw.len()) }
        });
        match result {
            Ok(_) => Ok(Connect::Done),
            // Interrupted, the kernel goes on by itself; to call again would be answered with EALREADY.
            Err(error) if is_interrupted(&error) => Ok(Connect::InProgress),
            Err(error) if error.raw_os_error() == Some(libc::EINPROGRESS) => {
                Ok(Connect::InProgress)
            }
            Err(error) => Err(error),
        }
    }

    /// Reads into `buffer`; 0 means that the peer sends no more, unless `buffer` is empty.
    #[inline]
    pub(crate) fn recv(&self, buffer: &mut [u8]) -> io::Result<usize> {
        self.recv_with(buffer, 0)
    }

    /// Reads without taking: the next read begins with the same bytes.
    #[inline]
    pub(crate) fn peek(&self, buffer: &mut [u8]) -> io::Result<usize> {
        self.recv_with(buffer, libc::MSG_PEEK)
    }

    #[inline]
    fn recv_with(&self, buffer: &mut [u8], flags: libc::c_int) -> io::Result<usize> {
        let count = transfer(Call::Recv, self.as_fd(), buffer.len(), |len| {
            // SAFETY: `buffer` is writable for `len` bytes, which is no more than its length.
            unsafe { libc::recv(self.as_raw_fd(), buffer.as_mut_ptr().cast(), len, flags) }
        })?;
        Ok(count as usize)
    }

    /// Reads into `buffers`, one after the other; those past the first [`VECTOR_MAX`] are left alone.
    #[inline]
    pub(crate) fn recv_vectored(&self, buffers: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        let most = buffers.len().min(VECTOR_MAX);
        let count = transfer(Call::Recv, self.as_fd(), most, |len| {
            let mut message = message(buffers.as_mut_ptr().cast(), len);
            // SAFETY: `message` names the first `len` of `buffers`, all writable (IoSliceMut is an iovec), no more.
            unsafe { libc::recvmsg(self.as_raw_fd(), &raw mut message, 0) }
        })?;
        Ok(count as usize)
    }

    /// Writes what there is room for of `buffer`.
    #[inline]
    pub(crate) fn send(&self, buffer: &[u8]) -> io::Result<usize> {
        let count = transfer(Call::Send, self.as_fd(), buffer.len(), |len| {
            // SAFETY: `buffer` is readable for `len` bytes, which is no more than its length.
            unsafe {
                libc::send(
                    self.as_raw_fd(),
                    buffer.as_ptr().cast(),
                    len,
                    libc::MSG_NOSIGNAL,
                )
            }
        })?;
        Ok(count as usize)
    }

    /// Writes what there is room for of `buffers`, one after the other, of the first [`VECTOR_MAX`] at most.
    #[inline]
    pub(crate) fn send_vectored(&self, buffers: &[IoSlice<'_>]) -> io::Result<usize> {
        let most = buffers.len().min(VECTOR_MAX);
        let count = transfer(Call::Send, self.as_fd(), most, |len| {
            let message = message(buffers.as_ptr().cast_mut().cast(), len);
            // SAFETY: `message` names the first `len` of `buffers`, all readable (IoSlice is an iovec), and sendmsg
            // only reads.
            unsafe { libc::sendmsg(self.as_raw_fd(), &raw const message, libc::MSG_NOSIGNAL) }
        })?;
        Ok(count as usize)
    }

    /// Writes what there is room for of the `most` bytes that are at `offset` in `file`; 0 means that `file` ends there.
    ///
    /// The kernel reads what is not in its page cache from the disk, and the thread waits. `file` keeps its position. There
    /// is no flag against `SIGPIPE`.
    ///
    /// # Errors
    ///
    /// Also [those](super::pipe::is_refusal) that mean that it cannot be done for this kind of file.
    #[inline]
    pub(crate) fn send_file(
        &self,
        file: BorrowedFd<'_>,
        offset: u64,
        most: usize,
    ) -> io::Result<usize> {
        let offset = libc::off64_t::try_from(offset).map_err(|_| io::ErrorKind::InvalidInput)?;
        let count = transfer(Call::SendFile, self.as_fd(), most, |len| {
            let mut offset = offset;
            // SAFETY: `offset` is readable and writable, and lives through the call.
            unsafe { libc::sendfile64(self.as_raw_fd(), file.as_raw_fd(), &raw mut offset, len) }
        })?;
        Ok(count as usize)
    }

    /// Ends one direction or both, for everyone who shares the socket.
    #[inline]
    pub(crate) fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        let how = match how {
            Shutdown::Read => libc::SHUT_RD,
            Shutdown::Write => libc::SHUT_WR,
            Shutdown::Both => libc::SHUT_RDWR,
        };
        retry(Call::Shutdown, || {
            // SAFETY: the call touches no memory of ours.
            unsafe { libc::shutdown(self.as_raw_fd(), how) }
        })?;
        Ok(())
    }

    pub(crate) fn local_addr<A: Address>(&self) -> io::Result<A> {
        let mut raw = RawAddress::room();
        retry(Call::SocketName, || {
            let (address, len) = raw.as_mut_ptrs();
            // SAFETY: the room at `address` is as long as `len` says, and both live through the call.
            unsafe { libc::getsockname(self.as_raw_fd(), address, len) }
        })?;
        A::from_raw(&raw)
    }

    pub(crate) fn peer_addr<A: Address>(&self) -> io::Result<A> {
        let mut raw = RawAddress::room();
        retry(Call::SocketName, || {
            let (address, len) = raw.as_mut_ptrs();
            // SAFETY: the room at `address` is as long as `len` says, and both live through the call.
            unsafe { libc::getpeername(self.as_raw_fd(), address, len) }
        })?;
        A::from_raw(&raw)
    }
}

impl AsFd for Socket {
    #[inline]
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl AsRawFd for Socket {
    #[inline]
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }
}

/// Takes the descriptor as it is; whether it blocks is the caller's concern.
impl From<OwnedFd> for Socket {
    fn from(fd: OwnedFd) -> Self {
        Self(fd)
    }
}

impl From<Socket> for OwnedFd {
    fn from(socket: Socket) -> Self {
        socket.0
    }
}

/// The address family of a socket.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub(crate) enum Domain {
    V4,
    V6,
    Unix,
}

impl Domain {
    /// The family that an IP `address` belongs to.
    pub(crate) fn of(address: &SocketAddr) -> Self {
        if address.is_ipv4() {
            Self::V4
        } else {
            Self::V6
        }
    }

    fn number(self) -> libc::c_int {
        match self {
            Self::V4 => libc::AF_INET,
            Self::V6 => libc::AF_INET6,
            Self::Unix => libc::AF_UNIX,
        }
    }
}

/// What a socket moves.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub(crate) enum Type {
    /// Bytes, on a connection.
    Stream,
    /// Messages, each whole or not at all.
    Datagram,
}

impl Type {
    fn number(self) -> libc::c_int {
        match self {
            Self::Stream => libc::SOCK_STREAM,
            Self::Datagram => libc::SOCK_DGRAM,
        }
    }
}

/// How far a connection is after [`Socket::connect`].
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
#[must_use = "a connection in progress may still fail"]
pub(crate) enum Connect {
    Done,
    /// Becomes writable when done or failed.
    InProgress,
}

/// A message of `len` buffers and nothing else.
pub(super) fn message(buffers: *mut libc::iovec, len: usize) -> libc::msghdr {
    // SAFETY: integers and pointers, for which zero is a value.
    let mut message: libc::msghdr = unsafe { mem::zeroed() };
    message.msg_iov = buffers;
    message.msg_iovlen = len as _; // usize or int, as the libc has it; `VECTOR_MAX` fits both
    message
}

/// Whether an error of [`Socket::accept`] concerns one connection, or a network that it came through, and not the
/// listener: those that accept(2) says to treat like `EAGAIN`, by trying again, and a firewall's refusal.
pub(crate) fn is_transient_accept_error(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error(),
        Some(
            libc::ECONNABORTED
                | libc::EPROTO
                | libc::ENETDOWN
                | libc::ENOPROTOOPT
                | libc::EHOSTDOWN
                | libc::ENONET
                | libc::EHOSTUNREACH
                | libc::EOPNOTSUPP
                | libc::ENETUNREACH
                | libc::EPERM
        )
    )
}

/// Whether an error says that the process or the system has run out of something, which passes.
pub(crate) fn is_shortage(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error(),
        Some(libc::EMFILE | libc::ENFILE | libc::ENOBUFS | libc::ENOMEM)
    )
}

/// How many buffers the kernel takes in one call (`UIO_MAXIOV`).
pub(crate) const VECTOR_MAX: usize = 1024;

/// What every new socket is from the start.
const NEW_FLAGS: libc::c_int = libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC;

#[cfg(all(test, not(loom)))]
mod tests {
    use std::io::{self, IoSlice, IoSliceMut};
    use std::net::{Shutdown, SocketAddr};
    use std::os::fd::{AsFd, OwnedFd};
    use std::time::Duration;

    use super::{Connect, Domain, Socket, VECTOR_MAX};
    use crate::sys::epoll::{Epoll, EventBuffer, Events};
    use crate::sys::fd;

    #[test]
    fn both_ends_of_a_connection_agree_on_its_addresses() {
        for address in ["127.0.0.1:0", "[::1]:0"] {
            let (client, server, accepted_from) = connected(address);
            assert_eq!(server.peer_addr::<SocketAddr>().unwrap(), accepted_from);
            assert_eq!(client.local_addr::<SocketAddr>().unwrap(), accepted_from);
            let server_address: SocketAddr = server.local_addr().unwrap();
            assert_eq!(client.peer_addr::<SocketAddr>().unwrap(), server_address);
        }
    }

    #[test]
    fn every_socket_is_made_close_on_exec_and_nonblocking() {
        let (client, server, _) = connected("127.0.0.1:0");
        for socket in [&client, &server] {
            assert!(fd::is_close_on_exec(socket.as_fd()));
            assert!(fd::is_nonblocking(socket.as_fd()).unwrap());
        }
    }

    #[test]
    fn bytes_arrive_and_a_peek_does_not_take_them() {
        let (client, server, _) = connected("127.0.0.1:0");
        let mut buffer = [0; 16];
        let empty = server.recv(&mut buffer).unwrap_err();
        assert_eq!(empty.kind(), io::ErrorKind::WouldBlock);

        assert_eq!(client.send(b"hello").unwrap(), 5);
        wait_for(&server, Events::READABLE);
        assert_eq!(server.peek(&mut buffer).unwrap(), 5);
        assert_eq!(server.recv(&mut buffer).unwrap(), 5);
        assert_eq!(&buffer[..5], b"hello");

        client.shutdown(Shutdown::Write).unwrap();
        wait_for(&server, Events::READ_HANG_UP);
        assert_eq!(server.recv(&mut buffer).unwrap(), 0);
    }

    #[test]
    fn vectored_io_fills_one_buffer_after_the_other() {
        let (client, server, _) = connected("127.0.0.1:0");
        let parts = [
            IoSlice::new(b"ab"),
            IoSlice::new(b""),
            IoSlice::new(b"cdef"),
        ];
        assert_eq!(client.send_vectored(&parts).unwrap(), 6);
        wait_for(&server, Events::READABLE);
        let (mut first, mut second) = ([0; 3], [0; 8]);
        let mut buffers = [IoSliceMut::new(&mut first), IoSliceMut::new(&mut second)];
        assert_eq!(server.recv_vectored(&mut buffers).unwrap(), 6);
        assert_eq!((&first, &second[..3]), (b"abc", &b"def"[..]));
    }

    #[test]
    fn more_buffers_than_the_kernel_takes_are_a_short_write_and_no_error() {
        let (client, server, _) = connected("127.0.0.1:0");
        let parts = vec![IoSlice::new(b"x"); VECTOR_MAX + 10];
        assert_eq!(client.send_vectored(&parts).unwrap(), VECTOR_MAX);
        wait_for(&server, Events::READABLE);
        let mut bytes = vec![[0; 1]; VECTOR_MAX + 10];
        let mut buffers: Vec<_> = bytes.iter_mut().map(|byte| IoSliceMut::new(byte)).collect();
        assert_eq!(server.recv_vectored(&mut buffers).unwrap(), VECTOR_MAX);
    }

    #[test]
    fn a_write_to_a_closed_peer_is_an_error_and_no_signal() {
        // In a child process that has not ignored SIGPIPE this is a test of the whole runtime; here, of the error.
        let (client, server, _) = connected("127.0.0.1:0");
        drop(server);
        wait_for(&client, Events::READ_HANG_UP);
        let failed = (0..100).find_map(|_| client.send(b"x").err()).unwrap();
        assert!(matches!(
            failed.raw_os_error(),
            Some(libc::EPIPE | libc::ECONNRESET)
        ));
    }

    #[test]
    fn a_refused_connection_is_told_by_the_pending_error() {
        let unused = Socket::stream(Domain::V4).unwrap();
        unused.bind(&anywhere()).unwrap();
        let address: SocketAddr = unused.local_addr().unwrap(); // bound, but nobody listens

        let socket = Socket::stream(Domain::V4).unwrap();
        assert_eq!(socket.connect(&address).unwrap(), Connect::InProgress);
        wait_for(&socket, Events::WRITABLE);
        let error = socket.take_error().unwrap().unwrap();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
        assert!(socket.take_error().unwrap().is_none(), "it is taken once");
    }

    #[test]
    fn an_address_of_another_family_is_an_error_not_a_panic() {
        let (unix, _peer) = std::os::unix::net::UnixStream::pair().unwrap();
        let socket = Socket::from(OwnedFd::from(unix));
        assert_eq!(
            socket.local_addr::<SocketAddr>().unwrap_err().kind(),
            io::ErrorKind::InvalidInput
        );
    }

    #[test]
    fn any_backlog_is_accepted() {
        let socket = Socket::stream(Domain::V4).unwrap();
        socket.bind(&anywhere()).unwrap();
        socket.listen(u32::MAX).unwrap();
    }

    /// Client, server, and the client's address as `accept` told it.
    fn connected(address: &str) -> (Socket, Socket, SocketAddr) {
        let address: SocketAddr = address.parse().unwrap();
        let domain = Domain::of(&address);
        let listener = Socket::stream(domain).unwrap();
        listener.bind(&address).unwrap();
        listener.listen(8).unwrap();
        let nobody = listener.accept::<SocketAddr>().unwrap_err();
        assert_eq!(nobody.kind(), io::ErrorKind::WouldBlock);

        let client = Socket::stream(domain).unwrap();
        let address: SocketAddr = listener.local_addr().unwrap();
        if client.connect(&address).unwrap() == Connect::InProgress {
            wait_for(&client, Events::WRITABLE);
        }
        assert!(client.take_error().unwrap().is_none());
        wait_for(&listener, Events::READABLE);
        let (server, from) = listener.accept().unwrap();
        (client, server, from)
    }

    fn anywhere() -> SocketAddr {
        "127.0.0.1:0".parse().unwrap()
    }

    fn wait_for(socket: &Socket, wanted: Events) {
        let (epoll, mut events) = (Epoll::new().unwrap(), EventBuffer::with_capacity(1));
        epoll.add(socket.as_fd(), wanted, 0).unwrap();
        epoll
            .wait(&mut events, 1, Some(Duration::from_secs(5)))
            .unwrap();
        assert!(
            events.iter().any(|(seen, _)| seen.contains(wanted)),
            "{events:?}"
        );
    }
}
