//! A connection in memory: what one end writes, the other reads.
//!
//! ```text
//!   end A ──write──▶ [ pipe, bounded ] ──read──▶ end B
//!   end A ◀──read─── [ pipe, bounded ] ◀─write── end B
//! ```
//!
//! For tests, above all in virtual time: nothing is ever on its way, so time does not jump while a message is. Each pipe is
//! behind a lock of its own, which is held for a copy and no longer; wakers are called after it. Of the tasks that poll one
//! direction of one end the last is woken, as for every `poll_*` method.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::io::{self, Read};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};

use futures_io::{AsyncRead, AsyncWrite};

use crate::executor::poll_proceed;
use crate::util::sync::Mutex;

/// Two connected ends, each of which can be up to `capacity` bytes ahead of the other's reading.
///
/// An end that is dropped, or closed by `poll_close`, is read to the end of the stream by the other. A write to an end that
/// is gone fails with [`BrokenPipe`](io::ErrorKind::BrokenPipe).
///
/// # Panics
///
/// If `capacity` is zero.
///
/// # Examples
///
/// ```
/// use wakeful::io::duplex;
///
/// wakeful::block_on(async {
///     let (mut client, mut server) = duplex(64);
///     client.write_all(b"ping").await?;
///     drop(client);
///     let mut buffer = [0; 64];
///     assert_eq!(server.read(&mut buffer).await?, 4);
///     assert_eq!(&buffer[..4], b"ping");
///     assert_eq!(server.read(&mut buffer).await?, 0); // the end of the stream
///     std::io::Result::Ok(())
/// })?;
/// # std::io::Result::Ok(())
/// ```
#[track_caller]
#[inline]
pub fn duplex(capacity: usize) -> (Duplex, Duplex) {
    assert!(
        capacity > 0,
        "a connection that holds no byte would never carry one"
    );
    let [there, back] = [(); 2].map(|()| Arc::new(Pipe::new(capacity)));
    let first = Duplex {
        incoming: back.clone(),
        outgoing: there.clone(),
    };
    let second = Duplex {
        incoming: there,
        outgoing: back,
    };
    (first, second)
}

/// One end of a connection in memory; made by [`duplex`].
#[derive(Debug)]
pub struct Duplex {
    incoming: Arc<Pipe>,
    outgoing: Arc<Pipe>,
}

impl Duplex {
    /// Reads what is there, once there is something; 0 bytes at the end of the stream.
    ///
    /// # Errors
    ///
    /// None.
    ///
    /// # Cancel safety
    ///
    /// Safe: bytes are taken in the same poll that returns their count.
    pub async fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        poll_fn(|cx| Pin::new(&mut *self).poll_read(cx, buffer)).await
    }

    /// Writes all of `bytes`.
    ///
    /// # Errors
    ///
    /// [`BrokenPipe`](io::ErrorKind::BrokenPipe) when the other end is gone.
    ///
    /// # Cancel safety
    ///
    /// Not safe: a part may have been written when the future was dropped, and nobody knows how much.
    pub async fn write_all(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            let count = poll_fn(|cx| Pin::new(&mut *self).poll_write(cx, bytes)).await?;
            bytes = &bytes[count..];
        }
        Ok(())
    }
}

impl AsyncRead for Duplex {
    #[inline]
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        if buffer.is_empty() {
            return Poll::Ready(Ok(0));
        }
        ready!(poll_proceed(cx));
        self.incoming.poll(cx, Side::Reader, |state| {
            if state.bytes.is_empty() {
                return state.is_closed.then_some(Ok(0));
            }
            Some(state.bytes.read(buffer))
        })
    }
}

impl AsyncWrite for Duplex {
    #[inline]
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        if bytes.is_empty() {
            return Poll::Ready(Ok(0));
        }
        ready!(poll_proceed(cx));
        let capacity = self.outgoing.capacity;
        self.outgoing.poll(cx, Side::Writer, |state| {
            if state.is_closed {
                return Some(Err(io::ErrorKind::BrokenPipe.into()));
            }
            let count = bytes.len().min(capacity - state.bytes.len());
            state.bytes.extend(&bytes[..count]);
            (count > 0).then_some(Ok(count))
        })
    }

    /// What is written is there at once.
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    /// The other end reads what was written, and then the end of the stream.
    fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.outgoing.close();
        Poll::Ready(Ok(()))
    }
}

impl Drop for Duplex {
    fn drop(&mut self) {
        self.outgoing.close();
        self.incoming.close();
    }
}

/// One direction.
#[derive(Debug)]
struct Pipe {
    capacity: usize,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    bytes: VecDeque<u8>,
    /// One of its ends is gone.
    is_closed: bool,
    waiting: [Option<Waker>; 2],
}

#[derive(Copy, Clone)]
enum Side {
    Reader,
    Writer,
}

impl Side {
    fn other(self) -> Self {
        match self {
            Self::Reader => Self::Writer,
            Self::Writer => Self::Reader,
        }
    }
}

impl Pipe {
    #[inline]
    fn new(capacity: usize) -> Self {
        Self {
            capacity,
            state: Mutex::default(),
        }
    }

    /// Does `operation`, and wakes the other side; if it has no answer yet, this side waits.
    fn poll<R>(
        &self,
        cx: &mut Context<'_>,
        side: Side,
        operation: impl FnOnce(&mut State) -> Option<R>,
    ) -> Poll<R> {
        let fresh = cx.waker().clone(); // anybody's code: not under the lock
        let (polled, woken, unused) = {
            let mut state = self.state.lock();
            match operation(&mut state) {
                Some(answer) => {
                    let other = state.waiting[side.other() as usize].take();
                    (Poll::Ready(answer), other, Some(fresh))
                }
                None => {
                    let replaced = state.waiting[side as usize].replace(fresh);
                    (Poll::Pending, None, replaced)
                }
            }
        };
        drop(unused);
        if let Some(waker) = woken {
            waker.wake();
        }
        polled
    }

    fn close(&self) {
        let waiting = {
            let mut state = self.state.lock();
            state.is_closed = true;
            std::mem::take(&mut state.waiting)
        };
        waiting.into_iter().flatten().for_each(Waker::wake);
    }
}
