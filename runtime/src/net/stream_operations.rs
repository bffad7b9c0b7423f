//! The operations of a connected stream socket as users see them, with their documentation.
//!
//! They are methods of each public type rather than of a trait, so that nobody has to import one, and documented once; what
//! they do is in [`ByteStream`](super::byte_stream::ByteStream), to which each is one call.

/// Gives `$Stream`, which has a `ByteStream` in its field `bytes`, the operations of one.
macro_rules! stream_operations {
    ($Stream:ty) => {
        /// Moving bytes.
        ///
        /// Every operation that waits panics if it has to wait for the first time outside a runtime, and fails if the
        /// runtime in which it first waited has shut down.
        impl $Stream {
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

            /// Waits until the peer has ended its stream: closed it, or shut down its writing side. Which of the two is not
            /// told. Data that it sent before may still be unread.
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
            /// On a Unix socket, a peer that closed its socket has hung up. On TCP that is seen as the end of its stream
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
            pub fn read_exact(
                &mut self,
                buffer: &mut [u8],
            ) -> impl Future<Output = io::Result<()>> {
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
            #[inline]
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
            #[inline]
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
            #[inline]
            pub fn set_read_deadline(&self, deadline: Option<crate::time::Instant>) {
                self.bytes.io().set_read_deadline(deadline);
            }

            /// Limits how long writes and [`writable`](Self::writable) may wait; otherwise as
            /// [`set_read_deadline`](Self::set_read_deadline).
            #[inline]
            pub fn set_write_deadline(&self, deadline: Option<crate::time::Instant>) {
                self.bytes.io().set_write_deadline(deadline);
            }

            /// Limits how long nothing may happen: an operation fails that has waited for so long without an event in its
            /// direction, which is data for those that read, and room for those that write.
            ///
            /// Counted from when it begins to wait; one that waits anew goes on counting, unless there was an event between.
            /// So a peer that sends now and then is not idle. There is nothing to put off, and what need not wait costs nothing.
            /// Whoever sends without ever having to wait is not concerned, but who reads meanwhile is.
            ///
            /// It fails with [`TimedOut`](io::ErrorKind::TimedOut), and nothing is lost. Deadlines hold beside it. Who waits now
            /// is not given a limit; [`read_closed`](Self::read_closed) and [`hung_up`](Self::hung_up) have none.
            ///
            /// # Examples
            ///
            /// ```
            /// # fn main() -> std::io::Result<()> {
            /// use std::io::ErrorKind;
            /// use std::time::Duration;
            /// use wakeful::net::UnixStream;
            ///
            /// wakeful::block_on(async {
            ///     let (stream, _peer) = UnixStream::pair()?;
            ///     stream.set_idle_timeout(Some(Duration::from_millis(5)));
            ///     let late = stream.read(&mut [0; 8]).await;
            ///     assert_eq!(late.unwrap_err().kind(), ErrorKind::TimedOut);
            ///     Ok(())
            /// })
            /// # }
            /// ```
            #[inline]
            pub fn set_idle_timeout(&self, limit: Option<std::time::Duration>) {
                self.bytes.io().set_idle_timeout(limit);
            }

            /// What [`set_idle_timeout`](Self::set_idle_timeout) has set.
            pub fn idle_timeout(&self) -> Option<std::time::Duration> {
                self.bytes.io().idle_timeout()
            }

            /// What [`set_read_deadline`](Self::set_read_deadline) has set.
            pub fn read_deadline(&self) -> Option<crate::time::Instant> {
                self.bytes.io().read_deadline()
            }

            /// What [`set_write_deadline`](Self::set_write_deadline) has set.
            pub fn write_deadline(&self) -> Option<crate::time::Instant> {
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
            /// stream and puts a lock around it: name the type of the stream, as in `TcpStream::split(&mut stream)`.
            pub fn split(&mut self) -> (ReadHalf<'_, Self>, WriteHalf<'_, Self>) {
                crate::net::half::split(self)
            }

            /// Gives the two directions away, to two tasks say.
            ///
            /// Dropping the half that writes shuts the writing side down. The socket is closed when both halves are dropped.
            pub fn into_split(self) -> (OwnedReadHalf<Self>, OwnedWriteHalf<Self>) {
                crate::net::half::into_split(self)
            }
        }
    };
}
pub(super) use stream_operations;
