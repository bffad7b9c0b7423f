//! The two directions of a stream apart, borrowed or owned.
//!
//! A half is a way to a stream ([`Deref`]) with the operations of one direction. Borrowed halves hold a reference; owned
//! halves share the stream, and dropping the one that writes ends the direction.

use std::error::Error;
use std::fmt;
use std::io::{self, IoSlice, IoSliceMut};
use std::net::Shutdown;
use std::ops::Deref;
use std::sync::Arc;

use super::TcpStream;
use super::byte_stream::StreamSocket;
use crate::reactor::Interest;

/// The reading direction of a [`TcpStream`] or a [`UnixStream`](super::UnixStream): see [`ReadHalf`] and
/// [`OwnedReadHalf`].
///
/// What a half does not offer itself, such as addresses and options, the stream does: [`as_ref`](AsRef::as_ref) leads
/// to it.
pub struct StreamReader<S>(S);

/// The reading direction of a stream that is borrowed; made by [`TcpStream::split`].
pub type ReadHalf<'a, T = TcpStream> = StreamReader<&'a T>;

/// The reading direction of a stream that two tasks share; made by [`TcpStream::into_split`].
pub type OwnedReadHalf<T = TcpStream> = StreamReader<Arc<T>>;

/// Each operation is the stream's of the same name, and so are its errors, panics and cancel safety.
impl<S: Deref<Target: StreamSocket>> StreamReader<S> {
    /// See [`TcpStream::readable`]. Cancel safe.
    pub fn readable(&self) -> impl Future<Output = io::Result<()>> {
        self.0.bytes().wait(Interest::Readable)
    }

    /// See [`TcpStream::read_closed`]. Cancel safe.
    pub fn read_closed(&self) -> impl Future<Output = io::Result<()>> {
        self.0.bytes().wait(Interest::ReadClosed)
    }

    /// See [`TcpStream::read`]. Cancel safe.
    pub fn read(&self, buffer: &mut [u8]) -> impl Future<Output = io::Result<usize>> {
        self.0.bytes().read(buffer)
    }

    /// See [`TcpStream::read_vectored`]. Cancel safe.
    pub fn read_vectored(
        &self,
        buffers: &mut [IoSliceMut<'_>],
    ) -> impl Future<Output = io::Result<usize>> {
        self.0.bytes().read_vectored(buffers)
    }

    /// See [`TcpStream::peek`]. Cancel safe.
    pub fn peek(&self, buffer: &mut [u8]) -> impl Future<Output = io::Result<usize>> {
        self.0.bytes().peek(buffer)
    }

    /// See [`TcpStream::read_exact`]. Not cancel safe.
    pub fn read_exact(&mut self, buffer: &mut [u8]) -> impl Future<Output = io::Result<()>> {
        self.0.bytes().read_exact(buffer)
    }

    /// See [`TcpStream::try_read`].
    pub fn try_read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.bytes().try_read(buffer)
    }

    /// See [`TcpStream::try_read_vectored`].
    pub fn try_read_vectored(&self, buffers: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        self.0.bytes().try_read_vectored(buffers)
    }

    pub(super) fn stream(&self) -> &S::Target {
        &self.0
    }
}

impl<T: StreamSocket> OwnedReadHalf<T> {
    /// Puts the two halves of one stream together again.
    ///
    /// # Errors
    ///
    /// If they are not of the same stream. The error contains both.
    pub fn reunite(self, writer: OwnedWriteHalf<T>) -> Result<T, ReuniteError<T>> {
        reunite(self, writer)
    }
}

/// The writing direction of a [`TcpStream`] or a [`UnixStream`](super::UnixStream): see [`WriteHalf`] and
/// [`OwnedWriteHalf`].
///
/// What a half does not offer itself, such as addresses and options, the stream does: [`as_ref`](AsRef::as_ref) leads
/// to it.
pub struct StreamWriter<S>(S);

/// The writing direction of a stream that is borrowed; made by [`TcpStream::split`].
pub type WriteHalf<'a, T = TcpStream> = StreamWriter<&'a T>;

/// The writing direction of a stream that two tasks share; made by [`TcpStream::into_split`].
///
/// Dropping it shuts the writing side of the connection down: the peer reads the end of stream.
pub type OwnedWriteHalf<T = TcpStream> = StreamWriter<ShutDownOnDrop<T>>;

/// Each operation is the stream's of the same name, and so are its errors, panics and cancel safety.
impl<S: Deref<Target: StreamSocket>> StreamWriter<S> {
    /// See [`TcpStream::writable`]. Cancel safe.
    pub fn writable(&self) -> impl Future<Output = io::Result<()>> {
        self.0.bytes().wait(Interest::Writable)
    }

    /// See [`TcpStream::hung_up`]. Cancel safe.
    pub fn hung_up(&self) -> impl Future<Output = io::Result<()>> {
        self.0.bytes().wait(Interest::HungUp)
    }

    /// See [`TcpStream::write`]. Cancel safe.
    pub fn write(&self, bytes: &[u8]) -> impl Future<Output = io::Result<usize>> {
        self.0.bytes().write(bytes)
    }

    /// See [`TcpStream::write_vectored`]. Cancel safe.
    pub fn write_vectored(
        &self,
        buffers: &[IoSlice<'_>],
    ) -> impl Future<Output = io::Result<usize>> {
        self.0.bytes().write_vectored(buffers)
    }

    /// See [`TcpStream::write_all`]. Not cancel safe.
    pub fn write_all(&mut self, bytes: &[u8]) -> impl Future<Output = io::Result<()>> {
        self.0.bytes().write_all(bytes)
    }

    /// See [`TcpStream::try_write`].
    pub fn try_write(&self, bytes: &[u8]) -> io::Result<usize> {
        self.0.bytes().try_write(bytes)
    }

    /// See [`TcpStream::try_write_vectored`].
    pub fn try_write_vectored(&self, buffers: &[IoSlice<'_>]) -> io::Result<usize> {
        self.0.bytes().try_write_vectored(buffers)
    }

    /// See [`TcpStream::shutdown`], of the writing side.
    pub fn shutdown(&self) -> io::Result<()> {
        self.0.bytes().shutdown(Shutdown::Write)
    }

    pub(super) fn stream(&self) -> &S::Target {
        &self.0
    }
}

impl<T: StreamSocket> OwnedWriteHalf<T> {
    /// Puts the two halves of one stream together again.
    ///
    /// # Errors
    ///
    /// If they are not of the same stream. The error contains both.
    pub fn reunite(self, reader: OwnedReadHalf<T>) -> Result<T, ReuniteError<T>> {
        reunite(reader, self)
    }
}

pub(super) fn split<T: StreamSocket>(stream: &mut T) -> (ReadHalf<'_, T>, WriteHalf<'_, T>) {
    (StreamReader(stream), StreamWriter(stream))
}

pub(super) fn into_split<T: StreamSocket>(stream: T) -> (OwnedReadHalf<T>, OwnedWriteHalf<T>) {
    let stream = Arc::new(stream);
    (
        StreamReader(stream.clone()),
        StreamWriter(ShutDownOnDrop(Some(stream))),
    )
}

fn reunite<T: StreamSocket>(
    reader: OwnedReadHalf<T>,
    mut writer: OwnedWriteHalf<T>,
) -> Result<T, ReuniteError<T>> {
    match writer.0.0.take_if(|stream| Arc::ptr_eq(stream, &reader.0)) {
        Some(stream) => {
            drop(reader);
            Ok(Arc::into_inner(stream).expect("a stream is shared by its two halves"))
        }
        None => Err(ReuniteError(reader, writer)),
    }
}

/// The way from an [`OwnedWriteHalf`] to its stream. Its end is the end of what is written.
#[derive(Debug)]
pub struct ShutDownOnDrop<T: StreamSocket>(Option<Arc<T>>);

impl<T: StreamSocket> Deref for ShutDownOnDrop<T> {
    type Target = T;

    fn deref(&self) -> &T {
        self.0.as_ref().expect("it is taken by value only")
    }
}

impl<T: StreamSocket> Drop for ShutDownOnDrop<T> {
    fn drop(&mut self) {
        if let Some(stream) = &self.0 {
            let _ = stream.bytes().shutdown(Shutdown::Write); // fails only where there is nothing to shut down
        }
    }
}

/// Two halves that are not of the same stream, given back.
#[derive(Debug)]
pub struct ReuniteError<T: StreamSocket = TcpStream>(pub OwnedReadHalf<T>, pub OwnedWriteHalf<T>);

impl<T: StreamSocket> fmt::Display for ReuniteError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the two halves do not belong to the same stream")
    }
}

impl<T: StreamSocket> Error for ReuniteError<T> {}

impl<T: StreamSocket, S: Deref<Target = T>> AsRef<T> for StreamReader<S> {
    fn as_ref(&self) -> &T {
        self.stream()
    }
}

impl<T: StreamSocket, S: Deref<Target = T>> AsRef<T> for StreamWriter<S> {
    fn as_ref(&self) -> &T {
        self.stream()
    }
}

impl<S: Deref<Target: StreamSocket>> fmt::Debug for StreamReader<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("StreamReader").field(self.stream()).finish()
    }
}

impl<S: Deref<Target: StreamSocket>> fmt::Debug for StreamWriter<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("StreamWriter").field(self.stream()).finish()
    }
}
