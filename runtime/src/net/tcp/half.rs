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

/// The reading direction of a [`TcpStream`]: see [`ReadHalf`] and [`OwnedReadHalf`].
///
/// What a half does not offer itself, such as addresses and options, the stream does: [`as_ref`](AsRef::as_ref) leads
/// to it.
pub struct TcpReader<S>(S);

/// The reading direction of a stream that is borrowed; made by [`TcpStream::split`].
pub type ReadHalf<'a> = TcpReader<&'a TcpStream>;

/// The reading direction of a stream that two tasks share; made by [`TcpStream::into_split`].
pub type OwnedReadHalf = TcpReader<Arc<TcpStream>>;

/// Each operation is the stream's of the same name, and so are its errors, panics and cancel safety.
impl<S: Deref<Target = TcpStream>> TcpReader<S> {
    /// See [`TcpStream::readable`]. Cancel safe.
    pub fn readable(&self) -> impl Future<Output = io::Result<()>> {
        self.0.readable()
    }

    /// See [`TcpStream::read_closed`]. Cancel safe.
    pub fn read_closed(&self) -> impl Future<Output = io::Result<()>> {
        self.0.read_closed()
    }

    /// See [`TcpStream::read`]. Cancel safe.
    pub fn read(&self, buffer: &mut [u8]) -> impl Future<Output = io::Result<usize>> {
        self.0.read(buffer)
    }

    /// See [`TcpStream::read_vectored`]. Cancel safe.
    pub fn read_vectored(
        &self,
        buffers: &mut [IoSliceMut<'_>],
    ) -> impl Future<Output = io::Result<usize>> {
        self.0.read_vectored(buffers)
    }

    /// See [`TcpStream::peek`]. Cancel safe.
    pub fn peek(&self, buffer: &mut [u8]) -> impl Future<Output = io::Result<usize>> {
        self.0.peek(buffer)
    }

    /// See [`TcpStream::read_exact`]. Not cancel safe.
    pub fn read_exact(&mut self, buffer: &mut [u8]) -> impl Future<Output = io::Result<()>> {
        self.0.bytes().read_exact(buffer)
    }

    /// See [`TcpStream::try_read`].
    pub fn try_read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.try_read(buffer)
    }

    /// See [`TcpStream::try_read_vectored`].
    pub fn try_read_vectored(&self, buffers: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        self.0.try_read_vectored(buffers)
    }

    pub(super) fn stream(&self) -> &TcpStream {
        &self.0
    }
}

impl OwnedReadHalf {
    /// Puts the two halves of one stream together again.
    ///
    /// # Errors
    ///
    /// If they are not of the same stream. The error contains both.
    pub fn reunite(self, writer: OwnedWriteHalf) -> Result<TcpStream, ReuniteError> {
        reunite(self, writer)
    }
}

/// The writing direction of a [`TcpStream`]: see [`WriteHalf`] and [`OwnedWriteHalf`].
///
/// What a half does not offer itself, such as addresses and options, the stream does: [`as_ref`](AsRef::as_ref) leads
/// to it.
pub struct TcpWriter<S>(S);

/// The writing direction of a stream that is borrowed; made by [`TcpStream::split`].
pub type WriteHalf<'a> = TcpWriter<&'a TcpStream>;

/// The writing direction of a stream that two tasks share; made by [`TcpStream::into_split`].
///
/// Dropping it shuts the writing side of the connection down: the peer reads the end of stream.
pub type OwnedWriteHalf = TcpWriter<ShutDownOnDrop>;

/// Each operation is the stream's of the same name, and so are its errors, panics and cancel safety.
impl<S: Deref<Target = TcpStream>> TcpWriter<S> {
    /// See [`TcpStream::writable`]. Cancel safe.
    pub fn writable(&self) -> impl Future<Output = io::Result<()>> {
        self.0.writable()
    }

    /// See [`TcpStream::hung_up`]. Cancel safe.
    pub fn hung_up(&self) -> impl Future<Output = io::Result<()>> {
        self.0.hung_up()
    }

    /// See [`TcpStream::write`]. Cancel safe.
    pub fn write(&self, bytes: &[u8]) -> impl Future<Output = io::Result<usize>> {
        self.0.write(bytes)
    }

    /// See [`TcpStream::write_vectored`]. Cancel safe.
    pub fn write_vectored(
        &self,
        buffers: &[IoSlice<'_>],
    ) -> impl Future<Output = io::Result<usize>> {
        self.0.write_vectored(buffers)
    }

    /// See [`TcpStream::write_all`]. Not cancel safe.
    pub fn write_all(&mut self, bytes: &[u8]) -> impl Future<Output = io::Result<()>> {
        self.0.bytes().write_all(bytes)
    }

    /// See [`TcpStream::try_write`].
    pub fn try_write(&self, bytes: &[u8]) -> io::Result<usize> {
        self.0.try_write(bytes)
    }

    /// See [`TcpStream::try_write_vectored`].
    pub fn try_write_vectored(&self, buffers: &[IoSlice<'_>]) -> io::Result<usize> {
        self.0.try_write_vectored(buffers)
    }

    /// See [`TcpStream::shutdown`], of the writing side.
    pub fn shutdown(&self) -> io::Result<()> {
        self.0.shutdown(Shutdown::Write)
    }

    pub(super) fn stream(&self) -> &TcpStream {
        &self.0
    }
}

impl OwnedWriteHalf {
    /// Puts the two halves of one stream together again.
    ///
    /// # Errors
    ///
    /// If they are not of the same stream. The error contains both.
    pub fn reunite(self, reader: OwnedReadHalf) -> Result<TcpStream, ReuniteError> {
        reunite(reader, self)
    }
}

pub(super) fn split(stream: &mut TcpStream) -> (ReadHalf<'_>, WriteHalf<'_>) {
    (TcpReader(stream), TcpWriter(stream))
}

pub(super) fn into_split(stream: TcpStream) -> (OwnedReadHalf, OwnedWriteHalf) {
    let stream = Arc::new(stream);
    (
        TcpReader(stream.clone()),
        TcpWriter(ShutDownOnDrop(Some(stream))),
    )
}

fn reunite(reader: OwnedReadHalf, mut writer: OwnedWriteHalf) -> Result<TcpStream, ReuniteError> {
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
pub struct ShutDownOnDrop(Option<Arc<TcpStream>>);

impl Deref for ShutDownOnDrop {
    type Target = TcpStream;

    fn deref(&self) -> &TcpStream {
        self.0.as_ref().expect("it is taken by value only")
    }
}

impl Drop for ShutDownOnDrop {
    fn drop(&mut self) {
        if let Some(stream) = &self.0 {
            let _ = stream.shutdown(Shutdown::Write); // fails only where there is nothing to shut down
        }
    }
}

/// Two halves that are not of the same stream, given back.
#[derive(Debug)]
pub struct ReuniteError(pub OwnedReadHalf, pub OwnedWriteHalf);

impl fmt::Display for ReuniteError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the two halves do not belong to the same stream")
    }
}

impl Error for ReuniteError {}

impl<S: Deref<Target = TcpStream>> AsRef<TcpStream> for TcpReader<S> {
    fn as_ref(&self) -> &TcpStream {
        self.stream()
    }
}

impl<S: Deref<Target = TcpStream>> AsRef<TcpStream> for TcpWriter<S> {
    fn as_ref(&self) -> &TcpStream {
        self.stream()
    }
}

impl<S: Deref<Target = TcpStream>> fmt::Debug for TcpReader<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("TcpReader").field(self.stream()).finish()
    }
}

impl<S: Deref<Target = TcpStream>> fmt::Debug for TcpWriter<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("TcpWriter").field(self.stream()).finish()
    }
}
