//! Futures that do one odd thing.

use std::pin::Pin;
use std::sync::mpsc::Sender;
use std::task::{Context, Poll, Waker};

/// Never ready. Sends its task's waker at each poll, so that the receiver knows that the task was polled.
#[derive(Debug)]
pub struct Parked(Sender<Waker>);

impl Parked {
    /// Sends to `polled`.
    pub fn new(polled: Sender<Waker>) -> Self {
        Self(polled)
    }
}

impl Future for Parked {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let _ = self.0.send(cx.waker().clone()); // nobody wants to know any more
        Poll::Pending
    }
}

/// Yields so many times.
pub async fn yields(count: usize) {
    for _ in 0..count {
        wakeful::yield_now().await;
    }
}

/// Panics with this text when it is dropped, unless its thread panics already.
#[derive(Debug)]
pub struct PanicOnDrop(pub &'static str);

impl Drop for PanicOnDrop {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            std::panic::panic_any(self.0);
        }
    }
}
