//! The future that waits for a descriptor.
//!
//! It stands in the task of every idle connection, so it is small and holds nothing that can be had from elsewhere. It
//! has a waker of its own in the reactor, unlike the `poll_*` methods: any number of tasks can wait for one descriptor.
//! Dropped, it takes the waker away.

use std::fmt;
use std::io;
use std::os::fd::AsFd;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use super::async_fd::{AsyncFd, Try};
use crate::executor::poll_proceed;
use crate::reactor::{Interest, WaitKey};

/// Waits for one kind of readiness, and can do so again after it has resolved.
#[must_use = "futures do nothing unless awaited"]
pub(crate) struct Wait<'a, T: AsFd> {
    io: &'a AsyncFd<T>,
    interest: Interest,
    key: Option<WaitKey>,
}

impl<'a, T: AsFd> Wait<'a, T> {
    pub(super) fn new(io: &'a AsyncFd<T>, interest: Interest) -> Self {
        Self {
            io,
            interest,
            key: None,
        }
    }

    /// Tries `op` whenever the descriptor may be ready, until it does not answer `WouldBlock`.
    #[inline]
    pub(crate) fn poll_io<R>(
        &mut self,
        cx: &mut Context<'_>,
        op: impl FnMut(&T) -> Try<R>,
    ) -> Poll<io::Result<R>> {
        self.io.poll_io(self.interest, Some(&mut self.key), cx, op)
    }
}

impl<T: AsFd> Future for Wait<'_, T> {
    type Output = io::Result<()>;

    #[inline(always)] // a call of its own would cost an echo 29 instructions
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        ready!(this.io.poll_ready(this.interest, Some(&mut this.key), cx))?;
        poll_proceed(cx).map(Ok)
    }
}

impl<T: AsFd> Drop for Wait<'_, T> {
    #[inline]
    fn drop(&mut self) {
        if let Some(key) = &self.key {
            self.io.forget(key);
        }
    }
}

impl<T: AsFd> fmt::Debug for Wait<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Wait")
            .field("interest", &self.interest)
            .field("waiting", &self.key.is_some())
            .finish_non_exhaustive()
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::Wait;
    use crate::sys::socket::Socket;

    #[test]
    fn a_wait_is_small() {
        let bytes = size_of::<Wait<'_, Socket>>();
        println!("a future that waits: {bytes} bytes");
        assert!(bytes <= 32, "{bytes} bytes");
    }
}
