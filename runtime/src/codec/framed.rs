//! A connection as a stream of frames, in and out.
//!
//! Reading, the states of [`Incoming`]:
//!
//! ```text
//!                 no frame in the input
//!      ┌────────────────────────────────────┐
//!      │                                    ▼
//!   Buffered ◀──── bytes arrived ───── NeedsMore ──── end of the stream ────▶ Ended
//!      │                                    │                                   │
//!      └─────────── malformed ──────────────┴─────────▶ Done ◀── no frame ──────┘
//! ```
//!
//! Bytes are read into the thread's scratch buffer. If none are left from before, they are decoded there, and only what is
//! left is copied into the connection's own buffer; so the connection owns memory for an incomplete frame, or for frames
//! that have not been asked for yet, and for nothing else. Decoders see only bytes that are new to them: `NeedsMore` never
//! asks twice for the same.
//!
//! Writing has no states: frames are appended to a buffer, and the front of the buffer is written. A frame is appended in the
//! poll in which it is encoded, which is what makes `feed` cancel safe.

use std::fmt;
use std::future::poll_fn;
use std::io::{self, ErrorKind};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures_core::{FusedStream, Stream};
use futures_io::{AsyncRead, AsyncWrite};

use super::buffer::Buffer;
use super::{Decoder, Encoder, encode_whole};
use crate::util::scratch::with_scratch;

/// Frames from, and to, the stream `S`, as the codec `C` understands them.
///
/// As a futures [`Stream`] it is the frames that arrive. It reads if `S` does and `C` is a [`Decoder`], and writes if `S`
/// does and `C` is an [`Encoder`]; one direction is enough, so a half, or a `&TcpStream`, may be framed.
///
/// Dropping it drops what has been read and not asked for, and what has been fed and not flushed;
/// [`into_parts`](Self::into_parts) keeps it.
///
/// # Examples
///
/// An echo of lines:
///
/// ```
/// use wakeful::codec::{Framed, Lines};
/// use wakeful::net::{TcpListener, TcpStream};
///
/// async fn echo(stream: TcpStream) -> std::io::Result<()> {
///     let mut lines = Framed::new(stream, Lines::new());
///     while let Some(line) = lines.next().await {
///         lines.send(&line?).await?;
///     }
///     Ok(())
/// }
///
/// wakeful::block_on(async {
///     let listener = TcpListener::bind("127.0.0.1:0")?;
///     let mut client = Framed::new(TcpStream::connect(listener.local_addr()?).await?, Lines::new());
///     let (server, _) = listener.accept().await?;
///     let server = wakeful::spawn(echo(server));
///
///     client.send("hello").await?;
///     assert_eq!(client.next().await.unwrap()?, "hello");
///     client.close().await?;
///     assert!(client.next().await.is_none());
///     server.await?
/// })?;
/// # std::io::Result::Ok(())
/// ```
pub struct Framed<S, C> {
    stream: S,
    codec: C,
    incoming: Incoming,
    input: Buffer,
    output: Buffer,
    high_water_bytes: usize,
}

/// Making one, and looking inside.
impl<S, C> Framed<S, C> {
    /// Frames `stream`. Nothing is allocated, read or written.
    pub fn new(stream: S, codec: C) -> Self {
        Self::from_parts(Parts {
            stream,
            codec,
            unread: Vec::new(),
            unwritten: Vec::new(),
        })
    }

    /// Frames a stream of which bytes have been read, or to which some are still to be written.
    pub fn from_parts(parts: Parts<S, C>) -> Self {
        Self {
            stream: parts.stream,
            codec: parts.codec,
            incoming: match parts.unread.is_empty() {
                true => Incoming::NeedsMore,
                false => Incoming::Buffered,
            },
            input: parts.unread.into(),
            output: parts.unwritten.into(),
            high_water_bytes: HIGH_WATER_BYTES,
        }
    }

    /// Takes it apart. What has been read and not asked for, and what has been fed and not written, is among the parts.
    ///
    /// So a connection can go on with another codec.
    pub fn into_parts(self) -> Parts<S, C> {
        Parts {
            stream: self.stream,
            codec: self.codec,
            unread: self.input.into_bytes(),
            unwritten: self.output.into_bytes(),
        }
    }

    /// Sets how many bytes may wait to be written before [`feed`](Self::feed) waits for the peer: 64 KiB at first.
    ///
    /// A frame is fed as a whole, so there can be as many bytes more as one frame has.
    pub fn with_high_water(self, bytes: usize) -> Self {
        Self {
            high_water_bytes: bytes,
            ..self
        }
    }

    /// The stream. Reading from it, or writing to it, past this type tears frames apart.
    pub fn get_ref(&self) -> &S {
        &self.stream
    }

    /// The stream, for changing it. See [`get_ref`](Self::get_ref).
    pub fn get_mut(&mut self) -> &mut S {
        &mut self.stream
    }

    /// The codec.
    pub fn codec(&self) -> &C {
        &self.codec
    }

    /// The codec, for changing it between two frames.
    pub fn codec_mut(&mut self) -> &mut C {
        &mut self.codec
    }

    /// How many bytes have been fed and not written yet.
    pub fn unwritten_bytes(&self) -> usize {
        self.output.len()
    }
}

/// Frames that arrive.
impl<S: AsyncRead + Unpin, C: Decoder> Framed<S, C> {
    /// Waits for the next frame; `None` at the end of the stream.
    ///
    /// # Errors
    ///
    /// Those of the decoder, those of reading, and [`UnexpectedEof`](ErrorKind::UnexpectedEof) for a stream that ends within
    /// a frame, with a sentence that says after how many bytes. After an error comes `None`: nobody knows where the next frame
    /// begins. One is different, [`TimedOut`](ErrorKind::TimedOut) from the stream: a deadline has passed, nothing is lost, and
    /// the next call waits again. What could not be decoded is among the [parts](Self::into_parts).
    ///
    /// # Cancel safety
    ///
    /// Safe: what has been read of a frame is kept for the next call.
    #[expect(
        clippy::should_implement_trait,
        reason = "the name that streams have for it"
    )]
    pub fn next(&mut self) -> impl Future<Output = Option<io::Result<C::Frame>>> {
        poll_fn(move |cx| self.poll_frame(cx))
    }

    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<io::Result<C::Frame>>> {
        loop {
            let decoded = match self.incoming {
                Incoming::Buffered => {
                    let decoded = self.decode_input(C::decode);
                    if self.input.is_empty() || matches!(decoded, Ok(None)) {
                        self.incoming = Incoming::NeedsMore;
                    }
                    decoded
                }
                Incoming::NeedsMore => ready!(self.poll_read(cx))?,
                Incoming::Ended => {
                    let decoded = self.decode_input(C::decode_end);
                    if matches!(decoded, Ok(None)) {
                        self.incoming = Incoming::Done;
                    }
                    decoded
                }
                Incoming::Done => return Poll::Ready(None),
            };
            match decoded {
                Ok(Some(frame)) => return Poll::Ready(Some(Ok(frame))),
                Ok(None) => {}
                Err(error) => {
                    self.incoming = Incoming::Done;
                    return Poll::Ready(Some(Err(error)));
                }
            }
        }
    }

    /// Reads once. The outer error is of reading, the inner result what was decoded.
    fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<io::Result<Option<C::Frame>>>> {
        with_scratch(|scratch| {
            let count = match Pin::new(&mut self.stream).poll_read(cx, scratch) {
                Poll::Ready(Ok(count)) => count,
                Poll::Ready(Err(error)) => {
                    match error.kind() {
                        ErrorKind::Interrupted => return Poll::Ready(Ok(Ok(None))),
                        ErrorKind::TimedOut => {}
                        _ => self.incoming = Incoming::Done,
                    }
                    return Poll::Ready(Err(error));
                }
                Poll::Pending => {
                    self.input.rest();
                    return Poll::Pending;
                }
            };
            if count == 0 {
                self.incoming = Incoming::Ended;
                return Poll::Ready(Ok(Ok(None)));
            }
            let mut arrived = &scratch[..count];
            if !self.input.is_empty() {
                self.input.end().extend_from_slice(arrived);
                self.incoming = Incoming::Buffered;
                return Poll::Ready(Ok(Ok(None)));
            }
            let decoded = self.codec.decode(&mut arrived);
            self.input.end().extend_from_slice(arrived);
            if !arrived.is_empty() && matches!(decoded, Ok(Some(_))) {
                self.incoming = Incoming::Buffered;
            }
            Poll::Ready(Ok(decoded))
        })
    }

    fn decode_input(
        &mut self,
        decode: impl FnOnce(&mut C, &mut &[u8]) -> io::Result<Option<C::Frame>>,
    ) -> io::Result<Option<C::Frame>> {
        let mut rest = self.input.bytes();
        let decoded = decode(&mut self.codec, &mut rest);
        let consumed = self.input.len().checked_sub(rest.len());
        self.input
            .consume(consumed.expect("a decoder leaves a part of what it got"));
        decoded
    }
}

/// Frames that are sent.
impl<S: AsyncWrite + Unpin, C> Framed<S, C> {
    /// Sends a frame: [`feed`](Self::feed), then [`flush`](Self::flush).
    ///
    /// # Errors
    ///
    /// As for both.
    ///
    /// # Cancel safety
    ///
    /// Frames stay whole: it is sent as by a `feed`, or not at all. A part of its bytes may have been written when the future
    /// was dropped; the others go with the next flush.
    pub fn send<F: ?Sized>(&mut self, frame: &F) -> impl Future<Output = io::Result<()>>
    where
        C: Encoder<F>,
    {
        let mut is_fed = false;
        poll_fn(move |cx| {
            if !is_fed {
                ready!(self.poll_feed(cx, frame))?;
                is_fed = true;
            }
            self.poll_flush(cx)
        })
    }

    /// Puts a frame into the buffer, from which the next [`flush`](Self::flush), or a later call of this, writes it.
    ///
    /// Many small frames that are fed and then flushed cost one system call. It waits for the peer while as much is in the
    /// buffer as [the high-water mark](Self::with_high_water) says, so what the buffer takes is bounded.
    ///
    /// # Errors
    ///
    /// Those of the encoder, after which the buffer is what it was; and those of writing.
    ///
    /// # Cancel safety
    ///
    /// Safe: the frame is in the buffer if this has returned, and no byte of it otherwise.
    pub fn feed<F: ?Sized>(&mut self, frame: &F) -> impl Future<Output = io::Result<()>>
    where
        C: Encoder<F>,
    {
        poll_fn(move |cx| self.poll_feed(cx, frame))
    }

    /// Writes what is in the buffer, and flushes the stream.
    ///
    /// # Errors
    ///
    /// Those of writing. What has not been written is still in the buffer.
    ///
    /// # Cancel safety
    ///
    /// Safe: what has not been written is still in the buffer.
    pub fn flush(&mut self) -> impl Future<Output = io::Result<()>> {
        poll_fn(move |cx| self.poll_flush(cx))
    }

    /// Flushes, and closes the writing side: the peer reads the end of the stream. Reading goes on.
    ///
    /// # Errors
    ///
    /// Those of writing and closing.
    ///
    /// # Cancel safety
    ///
    /// Safe: what has not been written is still in the buffer, and it can be called again.
    pub fn close(&mut self) -> impl Future<Output = io::Result<()>> {
        poll_fn(move |cx| {
            ready!(self.poll_write_below(cx, 1))?;
            Pin::new(&mut self.stream).poll_close(cx)
        })
    }

    fn poll_feed<F: ?Sized>(&mut self, cx: &mut Context<'_>, frame: &F) -> Poll<io::Result<()>>
    where
        C: Encoder<F>,
    {
        ready!(self.poll_write_below(cx, self.high_water_bytes.max(1)))?;
        Poll::Ready(encode_whole(&self.codec, frame, self.output.end()))
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_write_below(cx, 1))?;
        self.output.rest();
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    /// Writes until less than `bytes` are left.
    fn poll_write_below(&mut self, cx: &mut Context<'_>, bytes: usize) -> Poll<io::Result<()>> {
        while self.output.len() >= bytes {
            ready!(self.output.poll_write(cx, &mut self.stream))?;
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncRead + Unpin, C: Decoder> Stream for Framed<S, C> {
    type Item = io::Result<C::Frame>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.get_mut().poll_frame(cx)
    }
}

impl<S: AsyncRead + Unpin, C: Decoder> FusedStream for Framed<S, C> {
    fn is_terminated(&self) -> bool {
        matches!(self.incoming, Incoming::Done)
    }
}

/// A codec is never pinned.
impl<S: Unpin, C> Unpin for Framed<S, C> {}

impl<S: fmt::Debug, C: fmt::Debug> fmt::Debug for Framed<S, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Framed")
            .field("stream", &self.stream)
            .field("codec", &self.codec)
            .field("incoming", &self.incoming)
            .field("unread_bytes", &self.input.len())
            .field("unwritten_bytes", &self.output.len())
            .finish_non_exhaustive()
    }
}

/// What a [`Framed`] consists of.
#[derive(Debug)]
pub struct Parts<S, C> {
    /// The stream.
    pub stream: S,
    /// The codec.
    pub codec: C,
    /// What has been read from the stream, and of which no frame has been made.
    pub unread: Vec<u8>,
    /// What has been made of frames, and has not been written to the stream.
    pub unwritten: Vec<u8>,
}

/// Where the reading is.
#[derive(Copy, Clone, Debug)]
enum Incoming {
    /// There may be a frame in the input, which is not empty.
    Buffered,
    /// The decoder has seen the input, if there is any.
    NeedsMore,
    /// The stream has ended; the input is the last.
    Ended,
    /// There are no frames any more.
    Done,
}

/// As much as one read brings.
const HIGH_WATER_BYTES: usize = 64 << 10;
