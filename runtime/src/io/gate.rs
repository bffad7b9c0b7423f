//! When a descriptor may be used, and for how long somebody waits for that: all of an `AsyncFd` but what it wraps.
//!
//! What is known to be ready is asked of its readiness word, in line with the operation. To wait is one call, which does not
//! depend on the type of what is wrapped, so a program has it once: it leaves the waker, and asks the deadlines, if there are any.
//! (A message waits once. In two calls, one for the registration and one for the source, it took 45 instructions more.)

use std::fmt;
use std::io;
use std::os::fd::BorrowedFd;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use super::deadline::Deadlines;
use super::idle::IdleLimit;
use crate::executor::{place, poll_proceed};
use crate::reactor::{Direction, Interest, Ready, Registration, Snapshot, Source, WaitKey};
use crate::time::Instant;
use crate::util::sync::OnceLock;

/// The registration of one descriptor, and the limits of waiting for it.
pub(super) struct Gate {
    registration: Registration,
    /// Nothing until there is a limit.
    limits: OnceLock<Box<Limits>>,
}

/// How long operations on one descriptor may wait.
struct Limits {
    deadlines: Deadlines,
    idle: IdleLimit,
}

impl Gate {
    pub(super) fn new(registration: Registration) -> Self {
        Self {
            registration,
            limits: OnceLock::new(),
        }
    }

    /// Ready when `interest` is satisfied, as far as is known; see [`Registration::wait`].
    #[inline]
    pub(super) fn poll_ready(
        &self,
        fd: BorrowedFd<'_>,
        interest: Interest,
        key: Option<&mut Option<WaitKey>>,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<Ready<'_>>> {
        match self.registration.observe() {
            ready if ready.satisfies(interest) => {
                // The wait is over, and the source at hand: not left to the drop, which would have to find it again.
                if let (Some(key), Ready::Seen(source, _)) = (key, ready)
                    && let Some(left) = key
                {
                    source.forget(left);
                    *key = None;
                }
                Poll::Ready(Ok(ready))
            }
            Ready::Seen(source, _) => self
                .wait(source, fd, interest, key, cx)
                .map_ok(|seen| Ready::Seen(source, seen)),
            Ready::Assumed => self.wait_first(fd, interest, key, cx),
        }
    }

    /// The task begins to wait at the `source` of the descriptor, unless that is ready after all.
    #[inline(never)]
    fn wait(
        &self,
        source: &Source,
        fd: BorrowedFd<'_>,
        interest: Interest,
        key: Option<&mut Option<WaitKey>>,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<Snapshot>> {
        match (self.registration).wait(source, fd, interest, key, place, cx) {
            Poll::Pending if self.limits.get().is_some() => self.poll_limits(interest, cx).map(Err),
            polled => polled,
        }
    }

    /// The task begins to wait for a descriptor that nobody has waited for, unless that is assumed to be ready.
    #[inline(never)]
    fn wait_first(
        &self,
        fd: BorrowedFd<'_>,
        interest: Interest,
        key: Option<&mut Option<WaitKey>>,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<Ready<'_>>> {
        match self.registration.source_for(fd, interest, place) {
            Ok(Some(source)) => self
                .wait(source, fd, interest, key, cx)
                .map_ok(|seen| Ready::Seen(source, seen)),
            Ok(None) => Poll::Ready(Ok(Ready::Assumed)),
            Err(error) => Poll::Ready(Err(explain(error))),
        }
    }

    /// The task has begun to wait: an error if that has taken too long already.
    #[cold]
    fn poll_limits(&self, interest: Interest, cx: &mut Context<'_>) -> Poll<io::Error> {
        let passed = match interest {
            Interest::Readable => "the read deadline has passed",
            Interest::Writable => "the write deadline has passed",
            Interest::ReadClosed | Interest::HungUp => return Poll::Pending, // no operations
        };
        let (Some(limits), Some(source)) = (self.limits.get(), self.registration.source()) else {
            return Poll::Pending;
        };
        let direction = interest.direction();
        let what = match limits.deadlines.of(direction).poll_passed(source) {
            Poll::Ready(()) => passed,
            Poll::Pending => {
                ready!(limits.idle.poll_passed(direction, source));
                "nothing has happened for as long as the idle timeout allows"
            }
        };
        ready!(poll_proceed(cx)); // who tries again and again must not keep his worker
        Poll::Ready(io::Error::new(io::ErrorKind::TimedOut, what))
    }

    /// See [`Registration::observe`].
    #[inline]
    pub(super) fn observe(&self) -> Ready<'_> {
        self.registration.observe()
    }

    /// See [`Registration::clear`].
    #[inline]
    pub(super) fn clear(&self, ready: Ready<'_>, interest: Interest) {
        self.registration.clear(ready, interest);
    }

    /// See [`Registration::forget`].
    #[inline]
    pub(super) fn forget(&self, key: &WaitKey) {
        self.registration.forget(key);
    }

    /// See [`Registration::readiness`]. For people.
    pub(super) fn readiness(&self) -> impl fmt::Debug {
        self.registration.readiness()
    }

    #[inline]
    pub(super) fn set_deadline(&self, direction: Direction, deadline: Option<Instant>) {
        if deadline.is_none() && self.limits.get().is_none() {
            return;
        }
        let time = deadline.map(Instant::since_zero);
        (self.limits().deadlines)
            .of(direction)
            .set(time, || self.registration.source_after());
    }

    pub(super) fn deadline(&self, direction: Direction) -> Option<Instant> {
        let limits = self.limits.get()?;
        limits.deadlines.of(direction).get().map(Instant::at)
    }

    #[inline]
    pub(super) fn set_idle_timeout(&self, limit: Option<Duration>) {
        if limit.is_some() || self.limits.get().is_some() {
            self.limits().idle.set(limit);
        }
    }

    pub(super) fn idle_timeout(&self) -> Option<Duration> {
        self.limits.get()?.idle.get()
    }

    #[inline]
    fn limits(&self) -> &Limits {
        self.limits.get_or_init(|| {
            Box::new(Limits {
                deadlines: Deadlines::new(),
                idle: IdleLimit::new(),
            })
        })
    }
}

/// Says in words what epoll_ctl(2) refused.
#[cold]
fn explain(error: io::Error) -> io::Error {
    match error.kind() {
        io::ErrorKind::PermissionDenied => io::Error::new(
            io::ErrorKind::Unsupported,
            "epoll cannot wait for this kind of descriptor, such as a regular file or a directory: use blocking calls, on \
             a thread that may block",
        ),
        io::ErrorKind::AlreadyExists => io::Error::new(
            io::ErrorKind::AlreadyExists,
            "the descriptor is waited for through another `AsyncFd` or socket already: share that one",
        ),
        _ => error,
    }
}
