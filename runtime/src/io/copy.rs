//! Copying from any reader to any writer.
//!
//! ```text
//!            ┌──────────── all was taken ───────────┐
//!            ▼                                      │
//!   read into the thread's buffer ──▶ write what was read ──▶ keep a copy of the rest, wait for the writer
//!            │ end of stream                ▲                       │
//!            ▼                              └───────────────────────┘
//!   flush or close the writer ──▶ done
//! ```
//!
//! * **Who waits for a reader owns no buffer.** It reads into the thread's scratch buffer, and has memory of its own only
//!   while a writer has not taken all, exactly as much as that is: nothing at 10 000 idle connections, 64 KiB at most for a
//!   peer that does not read.
//! * **Before it waits for the reader it flushes** what it has written, or a writer with a buffer would keep it.
//! * Each turn of the loop takes a unit of the task's budget, so a reader that is always ready does not keep its worker.
//! * What was copied is what the writer has taken. It is known however the copying ends.
//!
//! Rejected: a buffer per connection that grows while data flows and is given back when it rests. It saves the copy of the
//! rest, which only a connection with a full send buffer makes, and costs an allocation each time data flows again.

use std::error::Error;
use std::fmt;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures_io::{AsyncRead, AsyncWrite};

use super::with_scratch;
use crate::executor::{poll_proceed, spend_on_copied};

/// Copies what `reader` has, until its end, to `writer`, and flushes that. Returns how many bytes that were.
///
/// Both may be references: `copy(&mut reader, &mut writer)`. Nothing is closed. While it waits for the reader it needs no
/// memory; what a slow writer has not taken is 64 KiB at most.
///
/// The reader is handed memory in which old data of other readers may stand, as [`with_scratch`] lends it. So it must not
/// claim to have filled more than it has.
///
/// Between two sockets, [`net::copy`](crate::net::copy) costs less.
///
/// # Errors
///
/// The first one of reading or of writing, with the number of bytes that were copied by then.
/// [`WriteZero`](io::ErrorKind::WriteZero) if the writer takes nothing.
///
/// # Cancel safety
///
/// Not safe: bytes that were read and not yet written when the future was dropped are lost.
///
/// # Examples
///
/// ```
/// # fn main() -> std::io::Result<()> {
/// use std::net::Shutdown;
/// use wakeful::io::copy;
/// use wakeful::net::{TcpListener, TcpStream};
///
/// wakeful::block_on(async {
///     let listener = TcpListener::bind("127.0.0.1:0")?;
///     let mut client = TcpStream::connect(listener.local_addr()?).await?;
///     let (mut server, _) = listener.accept().await?;
///     client.write_all(b"hello").await?;
///     client.shutdown(Shutdown::Write)?;
///
///     let mut received = Vec::new(); // a writer too
///     assert_eq!(copy(&mut server, &mut received).await?, 5);
///     assert_eq!(received, b"hello");
///     Ok(())
/// })
/// # }
/// ```
pub fn copy<R, W>(mut reader: R, mut writer: W) -> impl Future<Output = Result<u64, CopyError>>
where
    R: AsyncRead + Unpin,
    W: AsyncWrite + Unpin,
{
    let mut transfer = Transfer::new(AtEnd::Flush);
    poll_fn(move |cx| {
        let result = ready!(transfer.poll(cx, &mut reader, &mut writer));
        Poll::Ready(CopyError::or_count(result, transfer.copied))
    })
}

/// Copies from `a` to `b` and from `b` to `a`, until both have ended, and returns how many bytes went each way.
///
/// When one has ended, the writing side of the other is closed ([`poll_close`](AsyncWrite::poll_close), which shuts it
/// down if it is a socket), and the opposite direction goes on: a half-closed connection stays half-closed. As with
/// [`copy`], a pair that is idle needs no memory for data.
///
/// Between two sockets, [`net::copy_bidirectional`](crate::net::copy_bidirectional) costs less.
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
/// A proxy in a line, for anything that reads and writes:
///
/// ```no_run
/// # use futures_io::{AsyncRead, AsyncWrite};
/// # async fn serve(mut client: impl AsyncRead + AsyncWrite + Unpin) -> std::io::Result<()> {
/// let mut server = wakeful::net::TcpStream::connect("127.0.0.1:8080").await?;
/// let (sent, received) = wakeful::io::copy_bidirectional(&mut client, &mut server).await?;
/// # Ok(())
/// # }
/// ```
pub fn copy_bidirectional<A, B>(
    mut a: A,
    mut b: B,
) -> impl Future<Output = Result<(u64, u64), CopyError<(u64, u64)>>>
where
    A: AsyncRead + AsyncWrite + Unpin,
    B: AsyncRead + AsyncWrite + Unpin,
{
    let mut there = Transfer::new(AtEnd::Close);
    let mut back = Transfer::new(AtEnd::Close);
    poll_fn(move |cx| {
        let there_ended = there.poll(cx, &mut a, &mut b);
        let back_ended = back.poll(cx, &mut b, &mut a);
        let result = ready!(both(there_ended, back_ended));
        Poll::Ready(CopyError::or_count(result, (there.copied, back.copied)))
    })
}

/// Copying failed. Says how much was copied by then, in the form in which success would have returned it.
///
/// Becomes an [`io::Error`] of the same kind by `?`.
///
/// # Examples
///
/// ```
/// # async fn relay(mut a: wakeful::net::TcpStream, mut b: wakeful::net::TcpStream) {
/// match wakeful::io::copy(&mut a, &mut b).await {
///     Ok(count) => println!("{count} bytes, and the end of the stream"),
///     Err(error) => println!("{} bytes, then: {}", error.copied, error.source),
/// }
/// # }
/// ```
#[derive(Debug)]
pub struct CopyError<Copied = u64> {
    /// How many bytes the writer had taken; of two directions, both.
    pub copied: Copied,
    /// What went wrong.
    pub source: io::Error,
}

impl<Copied> CopyError<Copied> {
    pub(crate) fn or_count(result: io::Result<()>, copied: Copied) -> Result<Copied, Self> {
        match result {
            Ok(()) => Ok(copied),
            Err(source) => Err(Self { copied, source }),
        }
    }
}

impl<Copied: fmt::Debug> fmt::Display for CopyError<Copied> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { copied, source } = self;
        write!(f, "copying failed after {copied:?} bytes: {source}")
    }
}

impl<Copied: fmt::Debug> Error for CopyError<Copied> {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&self.source)
    }
}

impl<Copied: fmt::Debug + Send + Sync + 'static> From<CopyError<Copied>> for io::Error {
    fn from(error: CopyError<Copied>) -> Self {
        Self::new(error.source.kind(), error)
    }
}

/// One direction of copying, between two polls.
#[derive(Debug)]
pub(crate) struct Transfer {
    copied: u64,
    /// What was read and the writer has not taken.
    rest: Option<Box<Rest>>,
    /// Whether the last read filled the buffer.
    is_bulk: bool,
    /// Whether something was written since the writer was flushed.
    is_unflushed: bool,
    stage: Stage,
}

/// What becomes of the writer when the reader has ended.
#[derive(Copy, Clone, Debug)]
pub(crate) enum AtEnd {
    Flush,
    Close,
}

#[derive(Copy, Clone, Debug)]
enum Stage {
    Copying(AtEnd),
    Ending(AtEnd),
    Done,
}

#[derive(Debug)]
struct Rest {
    bytes: Box<[u8]>,
    written: usize,
}

impl Transfer {
    pub(crate) fn new(at_end: AtEnd) -> Self {
        Self {
            copied: 0,
            rest: None,
            is_bulk: false,
            is_unflushed: false,
            stage: Stage::Copying(at_end),
        }
    }

    /// How many bytes the writer has taken.
    pub(crate) fn copied(&self) -> u64 {
        self.copied
    }

    /// Counts bytes that came by another way.
    pub(crate) fn add_copied(&mut self, count: usize) {
        spend_on_copied(count);
        self.copied += count as u64;
    }

    pub(crate) fn is_copying(&self) -> bool {
        matches!(self.stage, Stage::Copying(_))
    }

    /// Whether the last read filled the buffer, so there is probably more.
    pub(crate) fn is_bulk(&self) -> bool {
        self.is_bulk
    }

    /// Copies to the end. Once it has returned `Ok` it always does.
    pub(crate) fn poll(
        &mut self,
        cx: &mut Context<'_>,
        mut reader: impl AsyncRead + Unpin,
        mut writer: impl AsyncWrite + Unpin,
    ) -> Poll<io::Result<()>> {
        while self.is_copying() {
            ready!(self.poll_round(cx, &mut reader, &mut writer))?;
            // Afterwards: with a budget of one it would leave nothing for the round.
            ready!(poll_proceed(cx));
        }
        self.poll_end(cx, writer)
    }

    /// Writes what is left, or else reads one time and writes all of that. To be called while it
    /// [is copying](Self::is_copying).
    #[inline]
    pub(crate) fn poll_round(
        &mut self,
        cx: &mut Context<'_>,
        reader: impl AsyncRead + Unpin,
        writer: impl AsyncWrite + Unpin,
    ) -> Poll<io::Result<()>> {
        match self.rest {
            None => with_scratch(|buffer| self.poll_through(cx, reader, writer, buffer)),
            Some(_) => self.poll_rest(cx, writer),
        }
    }

    /// Writes what was read and not taken, if there is something.
    pub(crate) fn poll_rest(
        &mut self,
        cx: &mut Context<'_>,
        writer: impl AsyncWrite + Unpin,
    ) -> Poll<io::Result<()>> {
        let Some(mut rest) = self.rest.take() else {
            return Poll::Ready(Ok(()));
        };
        let result = self.poll_write(cx, writer, &rest.bytes, &mut rest.written);
        if result.is_pending() {
            self.rest = Some(rest);
        }
        result
    }

    /// A round through `buffer`, which is empty again afterwards.
    fn poll_through(
        &mut self,
        cx: &mut Context<'_>,
        mut reader: impl AsyncRead + Unpin,
        mut writer: impl AsyncWrite + Unpin,
        buffer: &mut [u8],
    ) -> Poll<io::Result<()>> {
        let Poll::Ready(count) = Pin::new(&mut reader).poll_read(cx, buffer)? else {
            if self.is_unflushed {
                ready!(Pin::new(&mut writer).poll_flush(cx))?;
                self.is_unflushed = false;
            }
            return Poll::Pending; // for the reader
        };
        if count == 0 {
            self.end();
            return Poll::Ready(Ok(()));
        }
        self.is_bulk = count == buffer.len();
        let mut written = 0;
        let result = self.poll_write(cx, &mut writer, &buffer[..count], &mut written);
        if result.is_pending() {
            self.rest = Some(Box::new(Rest {
                bytes: buffer[written..count].into(),
                written: 0,
            }));
        }
        result
    }

    fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        mut writer: impl AsyncWrite + Unpin,
        bytes: &[u8],
        written: &mut usize,
    ) -> Poll<io::Result<()>> {
        while *written < bytes.len() {
            self.is_unflushed = true;
            match ready!(Pin::new(&mut writer).poll_write(cx, &bytes[*written..]))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                count => {
                    *written += count;
                    self.add_copied(count);
                }
            }
        }
        Poll::Ready(Ok(()))
    }

    /// The reader has ended.
    pub(crate) fn end(&mut self) {
        if let Stage::Copying(at_end) = self.stage {
            self.stage = Stage::Ending(at_end);
        }
    }

    /// Flushes or closes the writer, once the reader has ended.
    pub(crate) fn poll_end(
        &mut self,
        cx: &mut Context<'_>,
        mut writer: impl AsyncWrite + Unpin,
    ) -> Poll<io::Result<()>> {
        let writer = Pin::new(&mut writer);
        match self.stage {
            Stage::Ending(AtEnd::Flush) => ready!(writer.poll_flush(cx))?,
            Stage::Ending(AtEnd::Close) => ready!(writer.poll_close(cx))?,
            Stage::Copying(_) | Stage::Done => {}
        }
        self.stage = Stage::Done;
        Poll::Ready(Ok(()))
    }
}

/// Two directions as one: the first failure ends both, success takes both.
#[inline]
pub(crate) fn both(
    there: Poll<io::Result<()>>,
    back: Poll<io::Result<()>>,
) -> Poll<io::Result<()>> {
    match (there?, back?) {
        (Poll::Ready(()), Poll::Ready(())) => Poll::Ready(Ok(())),
        _ => Poll::Pending,
    }
}
