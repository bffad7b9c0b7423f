//! Whom the client and the load generator talk to, by TCP or through a Unix socket.

use std::fmt;
use std::io;
use std::net::Shutdown;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use clap::Args;
use futures_lite::{AsyncRead, AsyncWrite};
use wakeful::net::{TcpStream, UnixStream};
use wakeful::time::{sleep, timeout};

/// Where the server is.
#[derive(Args, Clone)]
pub(crate) struct Peer {
    /// The server: a name or an address, and a port
    #[arg(value_name = "HOST:PORT", required_unless_present = "unix")]
    address: Option<String>,

    /// The server's Unix socket, instead of a host and a port
    #[arg(long, value_name = "PATH", conflicts_with = "address")]
    unix: Option<PathBuf>,
}

impl Peer {
    /// Connects, for `limit` at most.
    pub(crate) async fn connect(&self, limit: Option<Duration>) -> io::Result<Stream> {
        let limit = limit.unwrap_or(Duration::MAX); // which never ends
        match (&self.unix, &self.address) {
            (Some(path), _) => match timeout(limit, connect_unix(path)).await {
                Ok(connected) => Ok(Stream::Unix(connected?)),
                Err(_) => Err(io::Error::new(
                    io::ErrorKind::TimedOut,
                    format!("nobody accepts at {self} within {limit:?}"),
                )),
            },
            (None, address) => {
                let address = address.as_deref().unwrap_or_default();
                let connected = TcpStream::connect_timeout(address, limit).await;
                Ok(Stream::Tcp(connected?))
            }
        }
    }

    /// The host and the port, if it is no Unix socket.
    pub(crate) fn address(&self) -> Option<&str> {
        self.address.as_deref()
    }
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.unix, &self.address) {
            (Some(path), _) => path.display().fmt(f),
            (None, address) => f.write_str(address.as_deref().unwrap_or_default()),
        }
    }
}

/// The system does not say when a full backlog has room again, so it is asked now and then.
async fn connect_unix(path: &Path) -> io::Result<UnixStream> {
    loop {
        match UnixStream::connect(path).await {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                sleep(Duration::from_millis(1)).await;
            }
            connected => return connected,
        }
    }
}

/// A connection. At most one task at a time may wait in each direction.
pub(crate) enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl Stream {
    /// Reads what there is; zero bytes at the end.
    pub(crate) fn poll_read(
        &self,
        cx: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        match self {
            Self::Tcp(stream) => Pin::new(&mut &*stream).poll_read(cx, buffer),
            Self::Unix(stream) => Pin::new(&mut &*stream).poll_read(cx, buffer),
        }
    }

    /// Writes as much as the system takes now.
    pub(crate) fn poll_write(&self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self {
            Self::Tcp(stream) => Pin::new(&mut &*stream).poll_write(cx, bytes),
            Self::Unix(stream) => Pin::new(&mut &*stream).poll_write(cx, bytes),
        }
    }

    /// Says that nothing more will be sent.
    pub(crate) fn finish(&self) -> io::Result<()> {
        match self {
            Self::Tcp(stream) => stream.shutdown(Shutdown::Write),
            Self::Unix(stream) => stream.shutdown(Shutdown::Write),
        }
    }
}
