//! Futures that do one odd thing.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::mpsc::Sender;
use std::task::{Context, Poll, Wake, Waker};

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

/// Polls `future` until it resolves, or drops it at this of its awaits: 1 is the first.
pub async fn given_up_at<F: Future>(at: usize, future: F) -> Option<F::Output> {
    let mut future = pin!(future);
    let mut awaits_left = at;
    poll_fn(|cx| match future.as_mut().poll(cx) {
        Poll::Ready(output) => Poll::Ready(Some(output)),
        Poll::Pending => {
            awaits_left -= 1;
            match awaits_left {
                0 => Poll::Ready(None),
                _ => Poll::Pending,
            }
        }
    })
    .await
}

/// Makes a future anew each time, and drops it at its first, second or third await, until one resolves.
#[macro_export]
macro_rules! impatiently {
    ($future:expr) => {{
        let mut round = 0;
        loop {
            if let Some(output) = $crate::futures::given_up_at(1 + round % 3, $future).await {
                break output;
            }
            round += 1;
            ::wakeful::yield_now().await;
        }
    }};
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

/// A waker that calls `on_wake`.
pub fn waker(on_wake: impl Fn() + Send + Sync + 'static) -> Waker {
    struct Calls<F>(F);
    impl<F: Fn() + Send + Sync> Wake for Calls<F> {
        fn wake(self: Arc<Self>) {
            (self.0)();
        }
    }
    Arc::new(Calls(on_wake)).into()
}
