//! Waiting for a moment, and limiting how long something may take.
//!
//! * [`sleep`] and [`sleep_until`] wait, [`timeout`] and [`timeout_at`] limit how long a future may take, [`interval`] ticks.
//! * Nothing is ever early. A wait is late by what the system takes to wake a thread, and by the slack that lets many timers
//!   share one wake-up: less than 0.8 % of the duration and at most a millisecond, none below 262 µs. Where a thread would wake
//!   for timers more than four thousand times a second, it wakes for several at once, up to a quarter of a millisecond later.
//! * A timer is armed when its future is first polled and has to wait, and is taken back when it is dropped. Both cost some
//!   tens of nanoseconds, whatever the number of timers.
//! * [`Duration::MAX`], and what is so far away that it cannot be counted, means never.
//! * The clock is `CLOCK_MONOTONIC`: it never goes back, and does not count the time a machine is suspended.
//!
//! # Tests that take no time
//!
//! In a runtime built with [`Builder::virtual_time`](crate::Builder::virtual_time), time stands still while anything can be
//! done, and jumps to the next deadline when nothing can:
//!
//! ```
//! use std::time::Duration;
//! use wakeful::time::{Instant, sleep, timeout};
//!
//! let runtime = wakeful::Builder::new().virtual_time(true).build()?;
//! runtime.block_on(async {
//!     let begun = Instant::now();
//!     let day = Duration::from_secs(24 * 60 * 60);
//!     assert!(timeout(day, std::future::pending::<()>()).await.is_err());
//!     assert!(begun.elapsed() >= day);
//! });
//! # std::io::Result::Ok(())
//! ```

mod instant;
mod interval;
mod sleep;
mod timeout;

use std::time::Duration;

pub use self::instant::Instant;
pub use self::interval::{Interval, MissedTick, interval, interval_at};
pub use self::sleep::{Sleep, sleep, sleep_until};
pub use self::timeout::{Elapsed, Timeout, timeout, timeout_at};
use crate::executor::{Handle, advance_virtual_time, yield_now};

/// Moves a virtual time on by `duration`, step by step: at each deadline on the way the timers fire, and every task that is
/// due has a turn.
///
/// Not needed to make a test fast, since time jumps by itself; but to move it while tasks are busy, or to just before a
/// deadline.
///
/// # Panics
///
/// Outside a runtime, and in one that was not built with [`Builder::virtual_time`](crate::Builder::virtual_time).
///
/// # Cancel safety
///
/// When the future is dropped, the time stays where it has come to.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use wakeful::time::{advance, sleep};
///
/// let runtime = wakeful::Builder::new().virtual_time(true).build()?;
/// runtime.block_on(async {
///     let task = wakeful::spawn(sleep(Duration::from_secs(60)));
///     wakeful::yield_now().await; // it begins to sleep
///     advance(Duration::from_secs(59)).await;
///     assert!(!task.is_finished());
///     advance(Duration::from_secs(2)).await;
///     assert!(task.is_finished());
/// });
/// # std::io::Result::Ok(())
/// ```
pub async fn advance(duration: Duration) {
    let target = (Instant::now() + duration).since_zero();
    loop {
        let is_there = advance_virtual_time(target);
        // The main future gets its next turn after one task, so as many turns as there are tasks let each have one.
        for _ in 0..=Handle::current().metrics().tasks {
            yield_now().await;
        }
        if is_there {
            return;
        }
    }
}
