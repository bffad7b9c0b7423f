//! Limiting how long a future may take.

use std::error::Error;
use std::fmt;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use pin_project_lite::pin_project;

use super::sleep::Sleep;
use super::{Instant, sleep_until};

/// Runs `future`, for `duration` at most, counted from the first poll.
///
/// The future is polled first: what is ready at once is never late, and costs neither a timer nor a look at the clock.
///
/// # Errors
///
/// [`Elapsed`] if the time is over before the future is ready. The future is then dropped with the `Timeout`.
///
/// # Panics
///
/// When it has to wait outside a runtime, and when the runtime has shut down.
///
/// # Cancel safety
///
/// That of `future`: to be late drops it, as any other reason does.
///
/// # Examples
///
/// ```
/// # wakeful::block_on(async {
/// use std::time::Duration;
/// use wakeful::time::timeout;
///
/// let late = timeout(Duration::from_millis(1), std::future::pending::<()>()).await;
/// assert!(late.is_err());
/// let in_time = timeout(Duration::from_secs(1), async { 7 }).await;
/// assert_eq!(in_time, Ok(7));
/// # });
/// ```
pub fn timeout<F: Future>(duration: Duration, future: F) -> Timeout<F> {
    Timeout {
        future,
        limit: Limit::Duration(duration),
    }
}

/// Runs `future`, until `deadline` at most. Otherwise like [`timeout`].
pub fn timeout_at<F: Future>(deadline: Instant, future: F) -> Timeout<F> {
    Timeout {
        future,
        limit: Limit::Sleep(sleep_until(deadline)),
    }
}

pin_project! {
    /// The future of [`timeout`] and [`timeout_at`].
    #[derive(Debug)]
    #[must_use = "futures do nothing unless awaited"]
    pub struct Timeout<F> {
        #[pin]
        future: F,
        limit: Limit,
    }
}

#[derive(Debug)]
enum Limit {
    /// It has not been polled yet.
    Duration(Duration),
    Sleep(Sleep),
}

impl Limit {
    /// It ends at `deadline`.
    #[inline]
    fn begin(&mut self, deadline: Instant) -> &mut Sleep {
        *self = Self::Sleep(sleep_until(deadline));
        match self {
            Self::Sleep(sleep) => sleep,
            Self::Duration(_) => unreachable!("it has just begun"),
        }
    }
}

impl<F> Timeout<F> {
    /// The future that is limited.
    pub fn get_ref(&self) -> &F {
        &self.future
    }

    /// The future that is limited.
    pub fn get_mut(&mut self) -> &mut F {
        &mut self.future
    }

    /// Gives the future back, without its limit.
    pub fn into_inner(self) -> F {
        self.future
    }
}

impl<F: Future> Future for Timeout<F> {
    type Output = Result<F::Output, Elapsed>;

    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        if let Poll::Ready(output) = this.future.poll(cx) {
            return Poll::Ready(Ok(output));
        }
        let waited = match this.limit {
            Limit::Sleep(sleep) => Pin::new(sleep).poll(cx),
            limit @ &mut Limit::Duration(duration) => {
                let now = Instant::now();
                limit.begin(now + duration).poll_at(now, cx.waker())
            }
        };
        waited.map(|()| Err(Elapsed(())))
    }
}

/// The time was over before the future was ready.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub struct Elapsed(());

impl fmt::Display for Elapsed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the time for the operation is over")
    }
}

impl Error for Elapsed {}

impl From<Elapsed> for io::Error {
    fn from(elapsed: Elapsed) -> Self {
        Self::new(io::ErrorKind::TimedOut, elapsed)
    }
}
