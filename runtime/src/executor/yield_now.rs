//! Giving others a turn.

use std::pin::Pin;
use std::task::{Context, Poll};

use crate::task::run_again;

/// Lets other tasks, and events, have their turn before the caller goes on.
///
/// For a task that computes for long between two awaits: until it yields, its worker serves nobody else.
///
/// # Cancel safety
///
/// Dropping the future has no effect.
///
/// # Examples
///
/// ```
/// # wakeful::block_on(async {
/// for chunk in (0..1_000_000).collect::<Vec<u64>>().chunks(100_000) {
///     let _sum: u64 = chunk.iter().sum();
///     wakeful::yield_now().await;
/// }
/// # });
/// ```
pub fn yield_now() -> YieldNow {
    YieldNow { yielded: false }
}

/// The future of [`yield_now`].
#[derive(Debug)]
#[must_use = "futures do nothing unless awaited"]
pub struct YieldNow {
    yielded: bool,
}

impl Future for YieldNow {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if std::mem::replace(&mut self.yielded, true) {
            return Poll::Ready(());
        }
        run_again(cx.waker()); // during its own poll: the task goes to the back of the queue
        Poll::Pending
    }
}
