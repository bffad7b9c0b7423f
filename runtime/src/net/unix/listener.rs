//! A Unix listener. Accepting is the same for all listeners, and in `accept.rs`.

use std::io;
use std::os::unix::net::SocketAddr;
use std::path::Path;
use std::task::{Context, Poll};

use std::os::fd::AsFd;

use super::path::BoundPath;
use super::{Named, UnixStream};
use crate::net::accept::{Acceptor, Incoming, accept_operations};
use crate::net::error::cannot;
use crate::sys::fd;
use crate::sys::socket::{Domain, Socket, Type};

/// A socket that waits for connections of other processes of this host.
///
/// Several tasks may accept from one listener. Connections arrive while nobody accepts, as many as its backlog has room
/// for.
///
/// Its name in the file system is removed when it is dropped, if it still leads to this listener.
///
/// # Examples
///
/// ```no_run
/// # fn main() -> std::io::Result<()> {
/// use wakeful::net::UnixListener;
///
/// wakeful::block_on(async {
///     let listener = UnixListener::bind("/run/greeter.socket")?;
///     loop {
///         let (mut stream, _) = listener.accept().await?;
///         wakeful::spawn(async move {
///             let user = stream.peer_credentials().map(|peer| peer.uid());
///             let greeted = stream.write_all(format!("hello, {user:?}\n").as_bytes()).await;
///             drop(greeted); // the peer may have gone
///         });
///     }
/// })
/// # }
/// ```
pub struct UnixListener {
    path: Option<BoundPath>, // before the socket: it is dropped first
    acceptor: Acceptor<UnixStream>,
}

/// Making one. There is nothing to wait for, so these are plain functions, and work outside a runtime.
impl UnixListener {
    /// How many connections wait for `accept`, if the system allows so many (`net.core.somaxconn`). To connect to a listener
    /// with a full backlog fails.
    pub const DEFAULT_BACKLOG: u32 = 4096;

    /// Listens under the name `path`, with the permissions that the umask leaves. To connect takes the permission to write.
    ///
    /// A socket that a process has left behind when it died is replaced; one that is in use is not, nor is anything else.
    /// Of several processes that do this at the same time, one succeeds. They take turns by a lock on the directory,
    /// which has to be readable for that; in one that is not, nothing is replaced. A foreign lock on the directory makes
    /// this wait, and fail after a fifth of a second.
    ///
    /// # Errors
    ///
    /// Those of bind(2), such as [`AddrInUse`](io::ErrorKind::AddrInUse); a lack of descriptors;
    /// [`InvalidInput`](io::ErrorKind::InvalidInput) if `path` is empty or longer than 107 bytes;
    /// [`ResourceBusy`](io::ErrorKind::ResourceBusy) if another process keeps the directory locked.
    pub fn bind(path: impl AsRef<Path>) -> io::Result<Self> {
        Self::bind_path(path.as_ref(), None)
    }

    /// [`bind`](Self::bind), with the permissions `mode`, as far as the umask allows them: 0o600 is for this user only.
    /// There is no moment at which it has others.
    ///
    /// # Errors
    ///
    /// As for `bind`.
    pub fn bind_with_mode(path: impl AsRef<Path>, mode: u32) -> io::Result<Self> {
        Self::bind_path(path.as_ref(), Some(mode))
    }

    /// Listens under any kind of name: as [`bind`](Self::bind) does, or under an abstract name, which is gone with the
    /// socket and which every user may connect to.
    ///
    /// # Errors
    ///
    /// As for `bind`.
    ///
    /// # Examples
    ///
    /// ```
    /// # fn main() -> std::io::Result<()> {
    /// use std::os::linux::net::SocketAddrExt;
    /// use std::os::unix::net::SocketAddr;
    /// use wakeful::net::UnixListener;
    ///
    /// let name = format!("greeter of {}", std::process::id());
    /// let listener = UnixListener::bind_addr(&SocketAddr::from_abstract_name(name)?)?;
    /// # drop(listener);
    /// # Ok(())
    /// # }
    /// ```
    #[inline]
    pub fn bind_addr(address: &SocketAddr) -> io::Result<Self> {
        if let Some(path) = address.as_pathname() {
            return Self::bind(path);
        }
        let socket = Socket::stream(Domain::Unix)?;
        let bound = socket.bind(address).and_then(|()| listen(&socket));
        bound.map_err(cannot("bind", Named(address.clone())))?;
        Ok(Self::from_socket(socket))
    }

    #[inline]
    fn bind_path(path: &Path, mode: Option<u32>) -> io::Result<Self> {
        let socket = Socket::new(Domain::Unix, Type::Stream)?;
        if let Some(mode) = mode {
            fd::set_mode(socket.as_fd(), mode)?;
        }
        let bound = BoundPath::bind(&socket, path, listen);
        let path = bound.map_err(cannot("bind", path.display().to_string()))?;
        Ok(Self {
            path: Some(path),
            ..Self::from_socket(socket)
        })
    }

    /// Its name is somebody else's to remove.
    pub(super) fn from_socket(socket: Socket) -> Self {
        Self {
            path: None,
            acceptor: Acceptor::new(socket),
        }
    }

    /// It takes its name along.
    pub(super) fn into_socket(self) -> Socket {
        if let Some(path) = self.path {
            path.keep();
        }
        self.acceptor.into_socket()
    }
}

accept_operations!(UnixListener, UnixStream, SocketAddr);

fn listen(socket: &Socket) -> io::Result<()> {
    socket.listen(UnixListener::DEFAULT_BACKLOG)
}
