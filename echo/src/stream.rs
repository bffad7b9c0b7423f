//! What the connections of all families have in common, as far as an echo needs it.

use std::fmt;
use std::io;
use std::net::{Shutdown, SocketAddr};

use futures_lite::{AsyncRead, AsyncWrite};
use wakeful::io::CopyError;
use wakeful::net::{Connection, Copying, TcpStream, UnixStream};

/// A connection. Its methods are those of the same name of [`TcpStream`], but for two.
pub(crate) trait Stream: AsyncRead + AsyncWrite + Unpin + Send + Sync + 'static {
    fn readable(&self) -> impl Future<Output = io::Result<()>> + Send;
    fn read(&self, buffer: &mut [u8]) -> impl Future<Output = io::Result<usize>> + Send;
    fn write_all(&mut self, bytes: &[u8]) -> impl Future<Output = io::Result<()>> + Send;
    fn try_read(&self, buffer: &mut [u8]) -> io::Result<usize>;
    fn try_write(&self, bytes: &[u8]) -> io::Result<usize>;
    /// Sends back what comes until the peer ends, with [`Copying::run`].
    fn copy_back(
        &self,
        copying: &mut Copying,
    ) -> impl Future<Output = Result<u64, CopyError>> + Send;
    /// [`Copying::write_rest`].
    fn write_rest(
        &self,
        copying: &mut Copying,
    ) -> impl Future<Output = Result<u64, CopyError>> + Send;
    fn shutdown(&self, how: Shutdown) -> io::Result<()>;
    fn recv_buffer_size(&self) -> io::Result<usize>;
}

/// Whose connection it is, for people.
pub(crate) struct PeerName(Option<SocketAddr>);

impl PeerName {
    pub(crate) fn of(connection: &Connection) -> Self {
        Self(connection.peer_addr())
    }
}

impl fmt::Display for PeerName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(address) => write!(f, "the peer {address}"),
            None => f.write_str("a peer on a Unix socket"),
        }
    }
}

macro_rules! streams {
    ($($Stream:ident),+) => {$(
        impl Stream for $Stream {
            #[inline]
            fn readable(&self) -> impl Future<Output = io::Result<()>> + Send {
                self.readable()
            }

            fn read(&self, buffer: &mut [u8]) -> impl Future<Output = io::Result<usize>> + Send {
                self.read(buffer)
            }

            fn write_all(&mut self, bytes: &[u8]) -> impl Future<Output = io::Result<()>> + Send {
                self.write_all(bytes)
            }

            #[inline]
            fn try_read(&self, buffer: &mut [u8]) -> io::Result<usize> {
                self.try_read(buffer)
            }

            #[inline]
            fn try_write(&self, bytes: &[u8]) -> io::Result<usize> {
                self.try_write(bytes)
            }

            fn copy_back(
                &self,
                copying: &mut Copying,
            ) -> impl Future<Output = Result<u64, CopyError>> + Send {
                copying.run(self, self)
            }

            fn write_rest(
                &self,
                copying: &mut Copying,
            ) -> impl Future<Output = Result<u64, CopyError>> + Send {
                copying.write_rest(self)
            }

            fn shutdown(&self, how: Shutdown) -> io::Result<()> {
                self.shutdown(how)
            }

            fn recv_buffer_size(&self) -> io::Result<usize> {
                self.recv_buffer_size()
            }
        }
    )+};
}

streams!(TcpStream, UnixStream);
