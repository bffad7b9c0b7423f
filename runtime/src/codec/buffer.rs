//! What has been read and not decoded, and what has been encoded and not written.
//!
//! Both are a vector and a number: bytes are added at the end and leave at the front. The ones that have left are removed when
//! more are added and they are as many as those that stay, so that no byte is moved more than once or twice. An empty buffer
//! that rests owns no memory.
//!
//! A ring was rejected: decoders, and the system call, want the bytes in one piece.

use std::io::{self, ErrorKind};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures_io::AsyncWrite;

/// Bytes that come and go.
#[derive(Debug, Default)]
pub(super) struct Buffer {
    bytes: Vec<u8>,
    /// So many bytes at the front have left.
    gone: usize,
}

impl Buffer {
    pub(super) fn len(&self) -> usize {
        self.bytes.len() - self.gone
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes[self.gone..]
    }

    /// The vector, for adding to its end.
    pub(super) fn end(&mut self) -> &mut Vec<u8> {
        if self.gone >= self.len() {
            self.bytes.drain(..self.gone);
            self.gone = 0;
        }
        &mut self.bytes
    }

    /// The bytes at the front leave.
    pub(super) fn consume(&mut self, count: usize) {
        self.gone += count;
        debug_assert!(self.gone <= self.bytes.len());
    }

    /// Gives back the memory that is not needed while nothing happens.
    #[inline]
    pub(super) fn rest(&mut self) {
        if self.is_empty() {
            *self = Self::default();
        } else if self.bytes.capacity() / 4 > self.len().max(SMALL_BYTES) {
            self.bytes.drain(..self.gone);
            self.gone = 0;
            self.bytes.shrink_to_fit();
        }
    }

    pub(super) fn into_bytes(mut self) -> Vec<u8> {
        self.bytes.drain(..self.gone);
        self.bytes
    }

    /// Exchanges what stands in `bytes` with this, which is empty; so the memory goes back and forth, too.
    pub(super) fn swap(&mut self, bytes: &mut Vec<u8>) {
        debug_assert!(self.is_empty());
        self.bytes.clear();
        self.gone = 0;
        std::mem::swap(&mut self.bytes, bytes);
    }

    /// Writes once from the front, and returns how many bytes have left.
    pub(super) fn poll_write<S: AsyncWrite + Unpin>(
        &mut self,
        cx: &mut Context<'_>,
        stream: &mut S,
    ) -> Poll<io::Result<usize>> {
        let count = loop {
            match ready!(Pin::new(&mut *stream).poll_write(cx, self.bytes())) {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                written => break written?,
            }
        };
        if count == 0 {
            return Poll::Ready(Err(ErrorKind::WriteZero.into()));
        }
        self.consume(count);
        Poll::Ready(Ok(count))
    }
}

impl From<Vec<u8>> for Buffer {
    fn from(bytes: Vec<u8>) -> Self {
        Self { bytes, gone: 0 }
    }
}

/// Memory that is not worth the effort of giving a part of it back.
const SMALL_BYTES: usize = 256;
