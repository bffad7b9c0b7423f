//! When a silent connection is probed.

use std::io;
use std::time::Duration;

use crate::sys::socket::Socket;

/// After how long a silence the peer is asked whether it is still there, and when it is given up.
///
/// What is not set stays as the system has it (on most, two hours, then nine probes 75 seconds apart).
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use wakeful::net::Keepalive;
///
/// // A peer that has vanished is noticed after at most 60 + 3 × 10 seconds.
/// let keepalive = Keepalive::new()
///     .with_idle(Duration::from_secs(60))
///     .with_interval(Duration::from_secs(10))
///     .with_count(3);
/// assert_eq!(keepalive.count(), Some(3));
/// ```
#[derive(Copy, Clone, PartialEq, Eq, Debug, Default)]
#[must_use = "it takes effect when a socket is given it"]
pub struct Keepalive {
    idle: Option<Duration>,
    interval: Option<Duration>,
    count: Option<u32>,
}

impl Keepalive {
    /// Probes as the system does by default.
    pub const fn new() -> Self {
        Self {
            idle: None,
            interval: None,
            count: None,
        }
    }

    /// The first probe goes out after this long without a packet. Rounded up to seconds.
    pub const fn with_idle(self, idle: Duration) -> Self {
        Self {
            idle: Some(idle),
            ..self
        }
    }

    /// Further probes are this far apart. Rounded up to seconds.
    pub const fn with_interval(self, interval: Duration) -> Self {
        Self {
            interval: Some(interval),
            ..self
        }
    }

    /// So many probes in a row stay unanswered before the connection fails with
    /// [`TimedOut`](io::ErrorKind::TimedOut).
    pub const fn with_count(self, count: u32) -> Self {
        Self {
            count: Some(count),
            ..self
        }
    }

    /// See [`with_idle`](Self::with_idle).
    pub const fn idle(&self) -> Option<Duration> {
        self.idle
    }

    /// See [`with_interval`](Self::with_interval).
    pub const fn interval(&self) -> Option<Duration> {
        self.interval
    }

    /// See [`with_count`](Self::with_count).
    pub const fn count(&self) -> Option<u32> {
        self.count
    }

    /// What `socket` does, everything set; `None` if it does not probe.
    pub(super) fn of(socket: &Socket) -> io::Result<Option<Self>> {
        if !socket.keepalive()? {
            return Ok(None);
        }
        let (idle, interval, count) = socket.keepalive_timing()?;
        Ok(Some(Self {
            idle: Some(idle),
            interval: Some(interval),
            count: Some(count),
        }))
    }

    /// Makes `socket` probe, or not.
    pub(super) fn apply(keepalive: Option<Self>, socket: &Socket) -> io::Result<()> {
        if let Some(Self {
            idle,
            interval,
            count,
        }) = keepalive
        {
            socket.set_keepalive_timing(idle, interval, count)?;
        }
        socket.set_keepalive(keepalive.is_some())
    }
}
