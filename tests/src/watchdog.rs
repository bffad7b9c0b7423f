//! Bounds in time, so that a lost wake-up is a failure and not a hang.

use std::panic::{self, Location};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

/// What an ordinary test may take. A thousand times what it does take: a loaded machine must not fail it.
pub const LIMIT: Duration = Duration::from_secs(30);

/// Runs `body` on a thread of its own and returns what it returns, or panics as it does.
///
/// # Panics
///
/// Also when `body` takes longer than `limit`. Its thread is left behind.
#[track_caller]
pub fn within<R: Send + 'static>(limit: Duration, body: impl FnOnce() -> R + Send + 'static) -> R {
    let (done, ended) = mpsc::channel();
    let location = Location::caller();
    let thread = thread::Builder::new()
        .name("test body".to_owned())
        .spawn(move || {
            let result = body();
            let _ = done.send(()); // nobody waits any more
            result
        })
        .expect("a thread for the test");
    if let Err(RecvTimeoutError::Timeout) = ended.recv_timeout(limit) {
        panic!("hung: what began at {location} has not ended after {limit:?}");
    }
    thread
        .join()
        .unwrap_or_else(|payload| panic::resume_unwind(payload))
}

/// Waits for a condition of which no event tells.
///
/// # Panics
///
/// When it does not come true in time, with `what`.
#[track_caller]
pub fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let began = Instant::now();
    while !condition() {
        assert!(
            began.elapsed() < LIMIT / 4,
            "still not true after {:?}: {what}",
            LIMIT / 4
        );
        thread::sleep(Duration::from_micros(100));
    }
}
