//! A way to one connection's writing side for everybody.
//!
//! ```text
//!   threads, tasks                                            the task that owns the socket
//!   ──────────────                                            ─────────────────────────────
//!   Outbox ──encode──┐   room?     ┌─────────── one lock ───────────┐
//!   Outbox ──encode──┼───────────▶ │ queued bytes                   │ ──takes all──▶ OutboxWriter ──write──▶ peer
//!   Outbox ──encode──┘   no:       │ waiting frames, in order       │ ◀──"n bytes written"──┘
//!              └──── waits ──────▶ │                                │
//!                                  └────────────────────────────────┘
//! ```
//!
//! A frame is encoded by who sends it, before the lock is taken: the work is spread over the senders, and no code of a user
//! runs under the lock. Under it bytes are moved, and nothing waits. The writer takes all that is queued at a time, so many
//! small frames cost one system call. The details are in [`shared`].
//!
//! A queue of frames instead of bytes was rejected: frames would be encoded by the writer alone, and bounded by their number,
//! which says nothing of memory.

mod shared;
mod writer;

#[cfg(all(test, loom))]
mod models;

use std::error::Error;
use std::fmt;
use std::io::{self, ErrorKind};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};

pub use self::writer::OutboxWriter;

use self::shared::Shared;
use super::{Encoder, encode_whole};
use crate::util::sync::thread::{self, Thread};

/// A handle to the writing side of a connection, for any thread and any number of tasks.
///
/// [`new`](Self::new) makes it together with an [`OutboxWriter`], which the task that owns the socket
/// [runs](OutboxWriter::run). Clones share it.
///
/// * Frames are never mixed, and those of one sender keep their order.
/// * It is bounded. At most [64 KiB](Self::with_capacity) wait to be written; a single frame may be larger when nothing else
///   waits. Beyond that [`send`](Self::send) waits, and [`try_send`](Self::try_send) says so. Who waits gets in by the
///   order of asking.
/// * It says when the connection is gone: sending fails, and [`closed`](Self::closed) resolves. What was accepted before may
///   have been lost with the connection.
///
/// The writer ends when the last `Outbox` is dropped, or after [`close`](Self::close), when it has written what was accepted.
///
/// # Examples
///
/// A connection that echoes, and to which an ordinary thread makes announcements:
///
/// ```
/// use wakeful::codec::{Framed, Lines, Outbox};
/// use wakeful::net::{TcpListener, TcpStream};
///
/// wakeful::block_on(async {
///     let listener = TcpListener::bind("127.0.0.1:0")?;
///     let mut client = Framed::new(TcpStream::connect(listener.local_addr()?).await?, Lines::new());
///     let (server, _) = listener.accept().await?;
///
///     let (outbox, writer) = Outbox::new(Lines::new());
///     let (read_half, write_half) = server.into_split();
///     let writing = wakeful::spawn(writer.run(write_half));
///
///     let announcer = std::thread::spawn({
///         let outbox = outbox.clone();
///         move || outbox.send_blocking("the doors open").unwrap()
///     });
///     announcer.join().unwrap();
///     assert_eq!(client.next().await.unwrap()?, "the doors open");
///
///     client.send("hello").await?;
///     client.close().await?;
///     let mut lines = Framed::new(read_half, Lines::new());
///     while let Some(line) = lines.next().await {
///         outbox.send(&line?).await?;
///     }
///     drop(outbox);
///     writing.await??;
///     assert_eq!(client.next().await.unwrap()?, "hello");
///     assert!(client.next().await.is_none());
///     std::io::Result::Ok(())
/// })?;
/// # std::io::Result::Ok(())
/// ```
pub struct Outbox<E> {
    shared: Arc<Shared>,
    encoder: E,
}

impl<E> Outbox<E> {
    /// An outbox, and the writer that must be [run](OutboxWriter::run) on the connection.
    pub fn new(encoder: E) -> (Self, OutboxWriter) {
        Self::with_capacity(encoder, CAPACITY_BYTES)
    }

    /// The same with another bound of the bytes that wait.
    pub fn with_capacity(encoder: E, bytes: usize) -> (Self, OutboxWriter) {
        let shared = Arc::new(Shared::new(bytes));
        let writer = OutboxWriter::new(shared.clone());
        (Self { shared, encoder }, writer)
    }

    /// Sends a frame, once there is room for it.
    ///
    /// It does not wait until the frame is written.
    ///
    /// # Errors
    ///
    /// [`Closed`](SendError::Closed) if the connection is gone or the outbox [closed](Self::close), also while it waits;
    /// [`Encode`](SendError::Encode) if the encoder refuses the frame. In both cases no byte of it is sent.
    ///
    /// # Cancel safety
    ///
    /// Frames stay whole: it is sent, or not. If the future was dropped while it waited, it may have been sent just then;
    /// otherwise it gives up its place, and the frame is not sent.
    pub async fn send<F: ?Sized>(&self, frame: &F) -> Result<(), SendError>
    where
        E: Encoder<F>,
    {
        match self.shared.push_or_wait(self.encode(frame)?)? {
            Some(ticket) => self.sending(ticket).await,
            None => Ok(()),
        }
    }

    /// Sends a frame if there is room for it now.
    ///
    /// # Errors
    ///
    /// [`Full`](SendError::Full) if there is not, or others wait for room; otherwise as for [`send`](Self::send).
    pub fn try_send<F: ?Sized>(&self, frame: &F) -> Result<(), SendError>
    where
        E: Encoder<F>,
    {
        self.shared.push(&self.encode(frame)?)
    }

    /// [`send`](Self::send) for threads that run no tasks: the thread sleeps until there is room.
    ///
    /// In a task it would keep the worker from other tasks, perhaps from the one that makes room.
    ///
    /// # Errors
    ///
    /// As for `send`.
    pub fn send_blocking<F: ?Sized>(&self, frame: &F) -> Result<(), SendError>
    where
        E: Encoder<F>,
    {
        match self.shared.push_or_wait(self.encode(frame)?)? {
            Some(ticket) => block_on(self.sending(ticket)),
            None => Ok(()),
        }
    }

    /// Waits until the outbox takes no frames any more: it has been [closed](Self::close), or the connection is gone.
    ///
    /// # Cancel safety
    ///
    /// Safe: it changes nothing.
    pub fn closed(&self) -> impl Future<Output = ()> {
        Closed {
            shared: &self.shared,
            key: None,
        }
    }

    /// Whether it takes no frames any more.
    pub fn is_closed(&self) -> bool {
        self.shared.is_closed()
    }

    /// Takes no frames any more, for all handles. Who waits gets an error; what was accepted is still written, and then the
    /// writer ends.
    pub fn close(&self) {
        self.shared.close();
    }

    fn encode<F: ?Sized>(&self, frame: &F) -> Result<Vec<u8>, SendError>
    where
        E: Encoder<F>,
    {
        let mut bytes = Vec::new();
        encode_whole(&self.encoder, frame, &mut bytes).map_err(SendError::Encode)?;
        Ok(bytes)
    }

    fn sending(&self, ticket: u64) -> Sending<'_> {
        Sending {
            shared: &self.shared,
            ticket,
        }
    }
}

impl<E: Clone> Clone for Outbox<E> {
    fn clone(&self) -> Self {
        let encoder = self.encoder.clone();
        self.shared.add_handle();
        Self {
            shared: self.shared.clone(),
            encoder,
        }
    }
}

impl<E> Drop for Outbox<E> {
    fn drop(&mut self) {
        self.shared.drop_handle();
    }
}

impl<E: fmt::Debug> fmt::Debug for Outbox<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Outbox")
            .field("encoder", &self.encoder)
            .field("is_closed", &self.is_closed())
            .finish_non_exhaustive()
    }
}

/// Why a frame was not sent. No byte of it was.
#[derive(Debug)]
pub enum SendError {
    /// There is no room for it now. Only of [`Outbox::try_send`].
    Full,
    /// The connection is gone, or the outbox was closed.
    Closed,
    /// The encoder refused it.
    Encode(io::Error),
}

impl fmt::Display for SendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Full => f.write_str("the connection's peer reads too slowly for another frame"),
            Self::Closed => f.write_str("the connection takes no frames any more"),
            Self::Encode(error) => error.fmt(f),
        }
    }
}

impl Error for SendError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Full | Self::Closed => None,
            Self::Encode(error) => error.source(),
        }
    }
}

/// `Full` is a [`WouldBlock`](ErrorKind::WouldBlock), `Closed` a [`BrokenPipe`](ErrorKind::BrokenPipe).
impl From<SendError> for io::Error {
    fn from(error: SendError) -> Self {
        match error {
            SendError::Full => Self::new(ErrorKind::WouldBlock, error),
            SendError::Closed => Self::new(ErrorKind::BrokenPipe, error),
            SendError::Encode(error) => error,
        }
    }
}

/// A frame that waits for room. Dropped before there is, it is not sent.
struct Sending<'a> {
    shared: &'a Shared,
    ticket: u64,
}

impl Future for Sending<'_> {
    type Output = Result<(), SendError>;

    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.shared.poll_ticket(self.ticket, cx.waker())
    }
}

impl Drop for Sending<'_> {
    #[inline]
    fn drop(&mut self) {
        self.shared.give_up(self.ticket);
    }
}

/// The future of [`Outbox::closed`].
struct Closed<'a> {
    shared: &'a Shared,
    key: Option<usize>,
}

impl Future for Closed<'_> {
    type Output = ();

    #[inline]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        self.shared.poll_closed(&mut self.key, cx.waker())
    }
}

impl Drop for Closed<'_> {
    #[inline]
    fn drop(&mut self) {
        if let Some(key) = self.key {
            self.shared.forget_watcher(key);
        }
    }
}

/// Runs a future that is woken by other threads only.
fn block_on<F: Future>(future: F) -> F::Output {
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut future = pin!(future);
    loop {
        match future.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(output) => return output,
            Poll::Pending => thread::park(),
        }
    }
}

struct Unpark(Thread);

impl Wake for Unpark {
    #[inline]
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// As much as a write takes at a time.
const CAPACITY_BYTES: usize = 64 << 10;
