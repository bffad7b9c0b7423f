//! Waiting until a moment.
//!
//! A [`Sleep`] arms its timer at the first poll that has to wait. A deadline that moves later leaves the timer where it is: it
//! fires too soon, the sleep sees that, and arms it again. So an idle deadline that is put off with every message costs a
//! store per message, and a timer operation per duration. One that is dropped leaves its timer to whoever arms the next in the
//! same turn of the worker.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use super::Instant;
use crate::executor::{Timer, poll_proceed};

/// Waits for `duration`, counted from the call.
///
/// Its timer belongs to the runtime in which it was first polled and had to wait, and fires only while that is driven: one
/// with a single worker only inside `block_on`.
///
/// # Panics
///
/// When polled outside a runtime, and when the runtime has shut down.
///
/// # Cancel safety
///
/// Safe: dropping the future takes the timer back.
///
/// # Examples
///
/// ```
/// # wakeful::block_on(async {
/// use std::time::Duration;
/// use wakeful::time::{Instant, sleep};
///
/// let begun = Instant::now();
/// sleep(Duration::from_millis(5)).await;
/// assert!(begun.elapsed() >= Duration::from_millis(5));
/// # });
/// ```
pub fn sleep(duration: Duration) -> Sleep {
    sleep_until(Instant::now() + duration)
}

/// Waits until `deadline`. One that has passed is over at once.
///
/// In its panics and its cancel safety like [`sleep`].
pub fn sleep_until(deadline: Instant) -> Sleep {
    Sleep {
        deadline,
        timer: None,
    }
}

/// The future of [`sleep`] and [`sleep_until`].
#[must_use = "futures do nothing unless awaited"]
pub struct Sleep {
    deadline: Instant,
    /// Armed for a moment that is not after the deadline.
    timer: Option<Timer>,
}

impl Sleep {
    /// When it is over.
    pub fn deadline(&self) -> Instant {
        self.deadline
    }

    /// Whether its time has come.
    pub fn is_elapsed(&self) -> bool {
        Instant::now() >= self.deadline
    }

    /// Gives it another deadline, also after it was over. To move it later costs nothing now.
    ///
    /// A task that is waiting for it is woken at the new deadline.
    ///
    /// # Examples
    ///
    /// ```
    /// # wakeful::block_on(async {
    /// use std::time::Duration;
    /// use wakeful::time::{Instant, sleep};
    ///
    /// let mut idle = sleep(Duration::from_millis(1));
    /// idle.reset(Instant::now() + Duration::from_millis(5)); // there was a sign of life
    /// (&mut idle).await;
    /// assert!(idle.is_elapsed());
    /// # });
    /// ```
    pub fn reset(&mut self, deadline: Instant) {
        if deadline < self.deadline
            && let Some(timer) = &self.timer
        {
            timer.reset(deadline.since_zero(), timer.now());
        }
        self.deadline = deadline;
    }

    /// The poll at the time `now`.
    #[inline]
    pub(super) fn poll_at(&mut self, now: Instant, waker: &Waker) -> Poll<()> {
        if now >= self.deadline {
            self.timer = None;
            return Poll::Ready(());
        }
        let is_armed = match &self.timer {
            Some(timer) => timer.set_waker(waker),
            None => false,
        };
        if !is_armed {
            self.arm(now, waker);
        }
        Poll::Pending
    }

    fn arm(&mut self, now: Instant, waker: &Waker) {
        let timer = Timer::arm(
            self.deadline.since_zero(),
            now.since_zero(),
            waker,
            "a timer",
        );
        self.timer = Some(timer.unwrap_or_else(|| {
            panic!("a timer was awaited after its wakeful runtime had shut down")
        }));
    }
}

impl Future for Sleep {
    type Output = ();

    #[inline]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let now = Instant::now_before(self.deadline);
        ready!(self.poll_at(now, cx.waker()));
        poll_proceed(cx) // a loop of sleeps that are over must not keep its worker
    }
}

/// What was armed serves the next, or is taken back.
impl Drop for Sleep {
    #[inline]
    fn drop(&mut self) {
        Timer::retire(&mut self.timer);
    }
}

impl fmt::Debug for Sleep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sleep")
            .field("deadline", &self.deadline)
            .field("is_armed", &self.timer.is_some())
            .finish()
    }
}
