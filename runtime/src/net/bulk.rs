//! Much data: exact reads and writes that can be resumed, files, and the way to [`copy`](super::copy()).
//!
//! The same for all streams, and for halves of any. The documentation is in [`bulk_operations`], which gives them to a
//! public type as [`stream_operations`](super::stream_operations) does.

use std::fs::File;
use std::io::{self, Cursor};
use std::ops::{Deref, RangeBounds};

use super::byte_stream::StreamSocket;
use super::copy::sealed::{HasSocket, SocketIo};
use super::copy::{SocketRead, SocketWrite};
use super::send_file::send_file;
use super::{StreamReader, StreamWriter, TcpStream, UnixStream};
use crate::io::CopyError;

/// Gives `$Stream` the operations on much data.
macro_rules! bulk_operations {
    ($Stream:ty) => {
        /// Moving much.
        impl $Stream {
            /// Fills the rest of `buffer`, from its [position](Cursor::position) on, which moves with every byte that is
            /// taken.
            ///
            /// [`read_exact`](Self::read_exact) for those who may stop waiting: the cursor knows how far it came, and a later
            /// call goes on there. What may be filled is the whole of the cursor's array, slice or `Vec`; a `Vec` does not
            /// grow.
            ///
            /// # Errors
            ///
            /// As for `read_exact`. The position is right then, too.
            ///
            /// # Cancel safety
            ///
            /// Safe: the position moves in the same poll in which bytes are taken, so the next call goes on where this one
            /// was dropped.
            ///
            /// # Examples
            ///
            /// ```
            /// # fn main() -> std::io::Result<()> {
            /// use std::io::Cursor;
            /// use std::time::Duration;
            /// use wakeful::net::{TcpListener, TcpStream};
            /// use wakeful::time::timeout;
            ///
            /// wakeful::block_on(async {
            ///     let listener = TcpListener::bind("127.0.0.1:0")?;
            ///     let mut client = TcpStream::connect(listener.local_addr()?).await?;
            ///     let (mut server, _) = listener.accept().await?;
            ///
            ///     client.write_all(b"he").await?;
            ///     let mut word = Cursor::new([0; 5]);
            ///     let late = timeout(Duration::from_millis(5), server.read_exact_into(&mut word)).await;
            ///     assert!(late.is_err());
            ///
            ///     client.write_all(b"llo").await?;
            ///     server.read_exact_into(&mut word).await?; // nothing was lost
            ///     assert_eq!(word.get_ref(), b"hello");
            ///     Ok(())
            /// })
            /// # }
            /// ```
            pub fn read_exact_into<B: AsMut<[u8]>>(
                &mut self,
                buffer: &mut Cursor<B>,
            ) -> impl Future<Output = io::Result<()>> {
                self.bytes().read_exact_into(buffer)
            }

            /// Writes the rest of `bytes`, from its [position](Cursor::position) on, which moves with every byte that is
            /// written.
            ///
            /// [`write_all`](Self::write_all) for those who may stop waiting: the cursor knows how far it came, and a later
            /// call goes on there.
            ///
            /// # Errors
            ///
            /// As for `write_all`. The position is right then, too.
            ///
            /// # Cancel safety
            ///
            /// Safe: the position moves in the same poll in which bytes are written, so the next call goes on where this one
            /// was dropped.
            pub fn write_all_from<B: AsRef<[u8]>>(
                &mut self,
                bytes: &mut Cursor<B>,
            ) -> impl Future<Output = io::Result<()>> {
                self.bytes().write_all_from(bytes)
            }

            /// Sends the bytes of `file` that are in `range`, up to its end: `..` is the whole file. Returns how many those
            /// were.
            ///
            /// The kernel sends them from its page cache (sendfile(2)). What is not in it **is read from the disk, and this
            /// thread waits**, as for any read of a file: with files that are large and cold, read on a thread that may
            /// block, with [`spawn_blocking`](crate::spawn_blocking). The position of `file` is neither used nor moved, so
            /// one open file can be sent on many connections at a time. What is written to the file while it is sent may be
            /// sent or not.
            ///
            /// # Errors
            ///
            /// Those of [`write`](Self::write) and of reading the file, with the number of bytes that were sent by then. A
            /// range that goes past the end of the file is no error.
            ///
            /// # Cancel safety
            ///
            /// Not safe: a part may have been sent when the future was dropped, and nobody knows how much.
            ///
            /// # Examples
            ///
            /// ```no_run
            /// # async fn answer(mut stream: wakeful::net::TcpStream) -> std::io::Result<()> {
            /// let file = std::fs::File::open("index.html")?;
            /// let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", file.metadata()?.len());
            /// stream.write_all(head.as_bytes()).await?;
            /// stream.send_file(&file, ..).await?;
            /// # Ok(())
            /// # }
            /// ```
            pub fn send_file(
                &mut self,
                file: &File,
                range: impl RangeBounds<u64>,
            ) -> impl Future<Output = Result<u64, CopyError>> {
                send_file(self.bytes().io(), file, range)
            }
        }

        impl HasSocket for $Stream {
            fn socket_io(&self) -> SocketIo<'_> {
                self.bytes().into()
            }
        }

        impl HasSocket for &$Stream {
            fn socket_io(&self) -> SocketIo<'_> {
                self.bytes().into()
            }
        }

        impl SocketRead for $Stream {}
        impl SocketRead for &$Stream {}
        impl SocketWrite for $Stream {}
        impl SocketWrite for &$Stream {}
    };
}

bulk_operations!(TcpStream);
bulk_operations!(UnixStream);

impl<S: Deref<Target: StreamSocket>> StreamReader<S> {
    /// See [`TcpStream::read_exact_into`]. Cancel safe.
    pub fn read_exact_into<B: AsMut<[u8]>>(
        &mut self,
        buffer: &mut Cursor<B>,
    ) -> impl Future<Output = io::Result<()>> {
        self.stream().bytes().read_exact_into(buffer)
    }
}

impl<S: Deref<Target: StreamSocket>> StreamWriter<S> {
    /// See [`TcpStream::write_all_from`]. Cancel safe.
    pub fn write_all_from<B: AsRef<[u8]>>(
        &mut self,
        bytes: &mut Cursor<B>,
    ) -> impl Future<Output = io::Result<()>> {
        self.stream().bytes().write_all_from(bytes)
    }

    /// See [`TcpStream::send_file`]. Not cancel safe.
    pub fn send_file(
        &mut self,
        file: &File,
        range: impl RangeBounds<u64>,
    ) -> impl Future<Output = Result<u64, CopyError>> {
        send_file(self.stream().bytes().io(), file, range)
    }
}

impl<S: Deref<Target: StreamSocket>> HasSocket for StreamReader<S> {
    fn socket_io(&self) -> SocketIo<'_> {
        self.stream().bytes().into()
    }
}

impl<S: Deref<Target: StreamSocket>> HasSocket for StreamWriter<S> {
    fn socket_io(&self) -> SocketIo<'_> {
        self.stream().bytes().into()
    }
}

impl<S: Deref<Target: StreamSocket> + Unpin> SocketRead for StreamReader<S> {}
impl<S: Deref<Target: StreamSocket> + Unpin> SocketWrite for StreamWriter<S> {}
