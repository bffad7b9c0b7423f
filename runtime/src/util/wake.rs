//! Calling wakers that were collected under a lock, and what to do with what such foreign code panics with.

use std::any::Any;
use std::mem;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::task::Waker;

/// Calls every waker in `wakers` and leaves the vector empty, its memory kept for the next time.
///
/// A waker may be anybody's code. One that panics loses its own wake-up only: the others are still called, and the
/// thread that delivered the event lives on.
pub(crate) fn wake_all(wakers: &mut Vec<Waker>) {
    let mut rest = wakers.drain(..);
    while rest.len() > 0 {
        let called = catch_unwind(AssertUnwindSafe(|| rest.by_ref().for_each(Waker::wake)));
        if let Err(payload) = called {
            discard(payload);
        }
    }
}

/// Drops what somebody has panicked with. A payload that panics in turn as it is dropped is leaked.
#[cold]
pub(crate) fn discard(payload: Box<dyn Any + Send>) {
    if let Err(worse) = catch_unwind(AssertUnwindSafe(|| drop(payload))) {
        mem::forget(worse);
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use std::panic::panic_any;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
    use std::task::{Wake, Waker};

    use super::wake_all;

    struct PanicsThenCounts(AtomicUsize);

    /// A payload that panics as it is dropped.
    struct Worse;

    impl Drop for Worse {
        fn drop(&mut self) {
            panic_any(()); // no bytes: it is leaked, and the leak checker has nothing to complain of
        }
    }

    impl Wake for PanicsThenCounts {
        fn wake(self: Arc<Self>) {
            if self.0.fetch_add(1, Relaxed) == 0 {
                panic_any(Worse);
            }
        }
    }

    #[test]
    fn a_waker_that_panics_keeps_no_other_from_being_called() {
        let counter = Arc::new(PanicsThenCounts(AtomicUsize::new(0)));
        let mut wakers: Vec<Waker> = (0..3).map(|_| counter.clone().into()).collect();
        wake_all(&mut wakers);
        assert_eq!(counter.0.load(Relaxed), 3);
        assert!(wakers.is_empty());
    }
}
