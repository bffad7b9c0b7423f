//! A moment of the runtime's clock.
//!
//! A type of its own: `std::time::Instant` knows only the system's clock, and would pass a virtual one by.

use std::fmt;
use std::ops::{Add, AddAssign, Sub, SubAssign};
use std::time::Duration;

use crate::executor;

/// A moment, of the system's monotonic clock or of a runtime's virtual one.
///
/// Like `std::time::Instant`, with two differences: [`now`](Self::now) goes by the clock of the runtime that the thread is in,
/// and addition saturates, at a moment that never comes.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use wakeful::time::Instant;
///
/// let now = Instant::now();
/// assert_eq!((now + Duration::from_secs(2)) - now, Duration::from_secs(2));
/// assert!(now + Duration::MAX > now + Duration::from_secs(1 << 40));
/// ```
#[derive(Copy, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Instant(Duration);

impl Instant {
    /// The present. Outside a runtime that of the system's clock.
    #[inline]
    pub fn now() -> Self {
        Self(executor::now())
    }

    /// The present, or if `deadline` is far away a moment shortly before it.
    #[inline]
    pub(super) fn now_before(deadline: Self) -> Self {
        Self(executor::now_before(deadline.0))
    }

    /// How long ago it was; zero for a moment to come.
    #[inline]
    pub fn elapsed(self) -> Duration {
        Self::now() - self
    }

    /// How long before it `earlier` was; `None` if that is later.
    pub fn checked_duration_since(self, earlier: Self) -> Option<Duration> {
        self.0.checked_sub(earlier.0)
    }

    /// How long before it `earlier` was; zero if that is later.
    pub fn saturating_duration_since(self, earlier: Self) -> Duration {
        self.0.saturating_sub(earlier.0)
    }

    /// The moment that is `since_zero` after the clock's zero.
    pub(crate) fn at(since_zero: Duration) -> Self {
        Self(since_zero)
    }

    /// The time since the clock's zero.
    #[inline]
    pub(crate) fn since_zero(self) -> Duration {
        self.0
    }
}

impl Add<Duration> for Instant {
    type Output = Self;

    #[inline]
    fn add(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(duration))
    }
}

impl AddAssign<Duration> for Instant {
    fn add_assign(&mut self, duration: Duration) {
        *self = *self + duration;
    }
}

/// Saturates at the clock's zero.
impl Sub<Duration> for Instant {
    type Output = Self;

    fn sub(self, duration: Duration) -> Self {
        Self(self.0.saturating_sub(duration))
    }
}

impl SubAssign<Duration> for Instant {
    fn sub_assign(&mut self, duration: Duration) {
        *self = *self - duration;
    }
}

/// Saturates at zero.
impl Sub for Instant {
    type Output = Duration;

    #[inline]
    fn sub(self, earlier: Self) -> Duration {
        self.saturating_duration_since(earlier)
    }
}

/// As far from the present as the other is.
impl From<std::time::Instant> for Instant {
    fn from(other: std::time::Instant) -> Self {
        let (now, others_now) = (Self::now(), std::time::Instant::now());
        match other.checked_duration_since(others_now) {
            Some(ahead) => now + ahead,
            None => now - others_now.duration_since(other),
        }
    }
}

/// As far from the present as the other is, or as far as can be said: a moment that never comes is 30 years away.
impl From<Instant> for std::time::Instant {
    fn from(other: Instant) -> Self {
        let (now, others_now) = (Self::now(), Instant::now());
        let ahead = (other - others_now).min(FAR);
        let behind = others_now - other;
        (now + ahead).checked_sub(behind).unwrap_or(now)
    }
}

impl fmt::Debug for Instant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Instant").field(&self.0).finish()
    }
}

/// Further than a program waits, and near enough for the standard library to count.
const FAR: Duration = Duration::from_secs(30 * 365 * 24 * 60 * 60);
