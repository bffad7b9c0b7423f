//! Ticking.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use futures_core::Stream;

use super::{Instant, Sleep, sleep_until};
use crate::executor::poll_proceed;

/// Ticks at once, and every `period` from then on.
///
/// # Panics
///
/// If the period is zero.
///
/// # Examples
///
/// ```
/// # wakeful::block_on(async {
/// use std::time::Duration;
/// use wakeful::time::interval;
///
/// let mut heartbeat = interval(Duration::from_millis(1));
/// for _ in 0..3 {
///     heartbeat.tick().await;
/// }
/// # });
/// ```
#[track_caller]
pub fn interval(period: Duration) -> Interval {
    interval_at(Instant::now(), period)
}

/// Ticks at `start`, and every `period` from then on.
///
/// # Panics
///
/// If the period is zero.
#[track_caller]
pub fn interval_at(start: Instant, period: Duration) -> Interval {
    assert!(
        period > Duration::ZERO,
        "an interval of zero would tick without end: use `yield_now` to give others a turn"
    );
    Interval {
        next: sleep_until(start),
        period,
        missed_tick: MissedTick::default(),
    }
}

/// Ticks again and again; made by [`interval`]. Also a stream of the moments at which it was to tick.
#[derive(Debug)]
#[must_use = "an interval ticks only while it is awaited"]
pub struct Interval {
    next: Sleep,
    period: Duration,
    missed_tick: MissedTick,
}

/// What an [`Interval`] does when nobody asked for a tick until after the next one was due.
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq)]
pub enum MissedTick {
    /// The next tick is a period after the late one: two ticks are never closer to each other than a period.
    #[default]
    Delay,
    /// The next tick is the first one of the original timetable that lies ahead.
    Skip,
    /// What was missed is made up for, without a pause, until the timetable is met.
    Burst,
}

impl Interval {
    /// Waits for the next tick, and says when it was due.
    ///
    /// # Panics
    ///
    /// Outside a runtime, and when the runtime has shut down.
    ///
    /// # Cancel safety
    ///
    /// Safe: a tick that was not returned is returned by the next call.
    pub async fn tick(&mut self) -> Instant {
        poll_fn(|cx| self.poll_tick(cx)).await
    }

    /// [`tick`](Self::tick) for hand-written futures.
    #[inline]
    pub fn poll_tick(&mut self, cx: &mut Context<'_>) -> Poll<Instant> {
        let now = Instant::now();
        ready!(self.next.poll_at(now, cx.waker()));
        ready!(poll_proceed(cx)); // as for a sleep
        let due = self.next.deadline();
        self.next.reset(self.tick_after(due, now));
        Poll::Ready(due)
    }

    /// The time between two ticks.
    pub fn period(&self) -> Duration {
        self.period
    }

    /// Sets what happens when a tick was missed.
    pub fn set_missed_tick(&mut self, missed_tick: MissedTick) {
        self.missed_tick = missed_tick;
    }

    /// Lets the next tick be a period from now.
    pub fn reset(&mut self) {
        self.next.reset(Instant::now() + self.period);
    }

    #[inline]
    fn tick_after(&self, due: Instant, now: Instant) -> Instant {
        let on_time = due + self.period;
        if on_time > now {
            return on_time;
        }
        match self.missed_tick {
            MissedTick::Delay => now + self.period,
            MissedTick::Burst => on_time,
            MissedTick::Skip => {
                let into_period = (now - due).as_nanos() % self.period.as_nanos();
                // Less than a period, which fits; a period of many years is not missed.
                let left = self.period.as_nanos() - into_period;
                now + Duration::from_nanos(u64::try_from(left).unwrap_or(u64::MAX))
            }
        }
    }
}

impl Stream for Interval {
    type Item = Instant;

    #[inline]
    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Instant>> {
        self.poll_tick(cx).map(Some)
    }
}
