//! A number for the running thread that is cheap to read and never given twice.

use std::cell::Cell;
use std::num::NonZeroU64;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// The running thread's number.
///
/// Unlike `std::thread::current().id()` it works in destructors of thread-locals and costs one load.
#[inline]
pub(crate) fn current() -> NonZeroU64 {
    THREAD_NUMBER.with(|number| match number.get() {
        Some(number) => number,
        None => assign(number),
    })
}

#[cold]
fn assign(number: &Cell<Option<NonZeroU64>>) -> NonZeroU64 {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    let fresh = NonZeroU64::new(NEXT.fetch_add(1, Relaxed)).expect("fewer than 2^64 threads");
    number.set(Some(fresh));
    fresh
}

thread_local! {
    static THREAD_NUMBER: Cell<Option<NonZeroU64>> = const { Cell::new(None) };
}
