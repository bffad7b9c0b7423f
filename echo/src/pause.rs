//! Waiting for a while, where the server has run out of descriptors and where it ends: both rare, so a thread each may do.

use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::{
    AtomicBool,
    Ordering::{Acquire, Release},
};
use std::task::Poll;
use std::thread;
use std::time::Duration;

/// Resolves after `duration`, which a thread of its own sleeps away.
pub(crate) async fn pause(duration: Duration) {
    let over = Arc::new(AtomicBool::new(false));
    let mut sleeper = None;
    poll_fn(|cx| {
        if over.load(Acquire) {
            return Poll::Ready(());
        }
        if sleeper.is_none() {
            let (over, waker) = (over.clone(), cx.waker().clone());
            sleeper = Some(thread::spawn(move || {
                thread::sleep(duration);
                over.store(true, Release);
                waker.wake();
            }));
        }
        Poll::Pending
    })
    .await;
}
