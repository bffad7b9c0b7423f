//! The one who writes.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use futures_io::AsyncWrite;

use super::shared::{Shared, Taken};
use crate::codec::buffer::Buffer;

/// The writing end of an [`Outbox`](super::Outbox), for the task that owns the connection.
///
/// Dropping it, or the future of [`run`](Self::run), closes the outbox.
#[derive(Debug)]
#[must_use = "nothing is sent unless it runs"]
pub struct OutboxWriter {
    shared: Arc<Shared>,
    unwritten: Buffer,
}

impl OutboxWriter {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self {
            shared,
            unwritten: Buffer::default(),
        }
    }

    /// Writes what is sent, until the last handle is dropped or the outbox [closed](super::Outbox::close). Then it writes what
    /// was accepted, and closes the writing side of `stream`: the peer reads the end.
    ///
    /// `stream` is a half of the connection, or a reference to it. Run it as a task of its own, or beside the reading.
    ///
    /// It waits for frames as well as for the peer, and does not notice by itself that the peer has gone: the next write
    /// does, and whoever reads from the connection, who may then [`close`](super::Outbox::close) the outbox.
    ///
    /// # Errors
    ///
    /// Those of writing, also a deadline of the stream. The outbox is closed then, and what was accepted is lost.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future closes the outbox. What was accepted and not written is lost, and the last frame may be cut off.
    pub fn run<S: AsyncWrite + Unpin>(
        mut self,
        mut stream: S,
    ) -> impl Future<Output = io::Result<()>> {
        poll_fn(move |cx| {
            let ended = ready!(self.poll_run(cx, &mut stream));
            self.shared.abandon();
            Poll::Ready(ended)
        })
    }

    fn poll_run<S: AsyncWrite + Unpin>(
        &mut self,
        cx: &mut Context<'_>,
        stream: &mut S,
    ) -> Poll<io::Result<()>> {
        loop {
            while !self.unwritten.is_empty() {
                let count = ready!(self.unwritten.poll_write(cx, stream))?;
                self.shared.wrote(count);
            }
            match self.shared.take(&mut self.unwritten, cx.waker()) {
                Taken::Frames => {}
                Taken::Nothing => {
                    self.unwritten.rest();
                    ready!(Pin::new(stream).poll_flush(cx))?;
                    return Poll::Pending;
                }
                Taken::End => return Pin::new(stream).poll_close(cx),
            }
        }
    }
}

impl Drop for OutboxWriter {
    #[inline]
    fn drop(&mut self) {
        self.shared.abandon();
    }
}
