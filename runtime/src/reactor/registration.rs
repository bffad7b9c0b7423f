//! A descriptor's membership in a reactor: made at the first wait, replaceable, ended on drop.
//!
//! Before the first wait there is no [`Source`], only two assumptions, *readable* and *writable*: a socket that is fresh
//! from `accept` is simply tried, and a request whose answer fits in one read and one write costs no `epoll_ctl`. The first
//! `EAGAIN` (or short read) takes the assumption away, the next wait registers, and `EPOLL_CTL_ADD` reports the present
//! state as an edge.
//!
//! A registration can move to another reactor: the new one is joined before the old one is left, so a failure leaves the
//! source where it was, and no event is missed. The source stays the same, and whoever waits goes on waiting.

use std::io;
use std::os::fd::BorrowedFd;
use std::sync::Arc;
use std::task::{Context, Poll};

use super::readiness::{Readiness, Snapshot};
use super::source::{Home, Interest, Source, WaitKey, Waited};
use super::{Reactors, shut_down};
use crate::util::sync::atomic::{
    AtomicU8,
    Ordering::{AcqRel, Acquire},
};
use crate::util::sync::{Mutex, OnceLock};

/// The right to wait for one descriptor. The owner of the descriptor owns this too, and drops it, or calls
/// [`deregister`](Self::deregister), before it closes the descriptor.
#[derive(Debug)]
pub(crate) struct Registration {
    source: OnceLock<Arc<Source>>,
    /// What is assumed while there is no source.
    assumed: AtomicU8,
    /// Held while the home changes.
    moving: Mutex<()>,
}

impl Registration {
    /// For a descriptor that is probably ready for reading and writing: it is tried before it is waited for.
    pub(crate) fn optimistic() -> Self {
        Self::assuming(Readiness::READABLE | Readiness::WRITABLE)
    }

    /// For a descriptor that is known to have to wait, such as a socket that is connecting.
    pub(crate) fn waiting() -> Self {
        Self::assuming(Readiness::NONE)
    }

    fn assuming(readiness: Readiness) -> Self {
        Self {
            source: OnceLock::new(),
            assumed: AtomicU8::new(readiness.bits()),
            moving: Mutex::new(()),
        }
    }

    /// Where to [wait](Self::wait) for the descriptor, which is registered first if need be, where `place` says. `None`
    /// without a registration, if the descriptor is assumed to be ready.
    ///
    /// # Errors
    ///
    /// When the descriptor cannot be registered.
    pub(crate) fn source_for(
        &self,
        fd: BorrowedFd<'_>,
        interest: Interest,
        place: fn() -> Option<Place>,
    ) -> io::Result<Option<&Source>> {
        match self.source.get() {
            Some(source) => Ok(Some(source)),
            None if self.assumes(interest) => Ok(None),
            None => self.join(fd, place).map(Some),
        }
    }

    /// Ready when `interest` is satisfied, as far as is known; the system call then made says for certain. `source` is the
    /// descriptor's.
    ///
    /// A future passes a place for its key, and [`forget`](Self::forget)s it when it is dropped; a `poll_*` method passes
    /// `None`. Moves to another reactor if that is due: `place` is asked only then.
    ///
    /// # Errors
    ///
    /// When the runtime has shut down.
    #[inline]
    pub(crate) fn wait(
        &self,
        source: &Source,
        fd: BorrowedFd<'_>,
        interest: Interest,
        key: Option<&mut Option<WaitKey>>,
        place: fn() -> Option<Place>,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<Snapshot>> {
        match source.wait(interest, key, cx) {
            Waited::Pending => Poll::Pending,
            Waited::SteadilyElsewhere => {
                self.follow(fd, place);
                Poll::Pending
            }
            Waited::Ready(seen) if seen.readiness().intersects(Readiness::SHUT_DOWN) => {
                Poll::Ready(Err(shut_down()))
            }
            Waited::Ready(seen) => Poll::Ready(Ok(seen)),
        }
    }

    /// What is known of the source now. `None` before the first wait.
    pub(crate) fn readiness(&self) -> Option<Readiness> {
        self.source
            .get()
            .map(|source| source.readiness().readiness())
    }

    /// Where those wait who wait for the descriptor. `None` before the first wait.
    pub(crate) fn source(&self) -> Option<&Arc<Source>> {
        self.source.get()
    }

    /// The same; if it is `None`, who waits first sees all that the caller did before.
    pub(crate) fn source_after(&self) -> Option<&Arc<Source>> {
        if self.source.get().is_none() {
            drop(self.moving.lock());
        }
        self.source.get()
    }

    /// The state to pass to [`clear`](Self::clear) after an operation that is tried without waiting first.
    #[inline]
    pub(crate) fn observe(&self) -> Ready<'_> {
        match self.source.get() {
            Some(source) => Ready::Seen(source, source.readiness()),
            None => Ready::Assumed,
        }
    }

    /// The operation that followed `ready` found nothing to do (or less than it had room for): wait for the next event,
    /// unless that has come already.
    #[inline]
    pub(crate) fn clear(&self, ready: Ready<'_>, interest: Interest) {
        match ready {
            Ready::Seen(source, seen) => source.clear(seen, interest.satisfied_by()),
            // If it has been registered meanwhile, nobody asks the assumptions any more, and ADD has reported the state.
            Ready::Assumed => drop(
                self.assumed
                    .fetch_and(!interest.satisfied_by().bits(), AcqRel),
            ),
        }
    }

    /// Takes away the waker of a future that waits no longer.
    #[inline]
    pub(crate) fn forget(&self, key: &WaitKey) {
        if let Some(source) = self.source.get() {
            source.forget(key);
        }
    }

    /// Leaves the reactor. To be called before the descriptor is closed: a duplicate of it would keep sending events.
    pub(crate) fn deregister(&self) {
        if let Some(source) = self.source.get() {
            let _moving = self.moving.lock();
            if let Some(home) = source.set_home(None) {
                home.leave();
            }
        }
    }

    fn assumes(&self, interest: Interest) -> bool {
        self.assumed.load(Acquire) & interest.satisfied_by().bits() != 0
    }

    #[cold]
    fn join(&self, fd: BorrowedFd<'_>, place: fn() -> Option<Place>) -> io::Result<&Source> {
        let _moving = self.moving.lock();
        if let Some(source) = self.source.get() {
            return Ok(source); // another task was faster
        }
        let Place { reactors, stand } = place().unwrap_or_else(|| {
            panic!(
                "a descriptor has to wait, and this thread knows no wakeful runtime: await it inside `wakeful::block_on` \
                 or a spawned task, or enter a runtime's context with `Handle::enter` first"
            )
        });
        let source = Arc::new(Source::default());
        let home = reactors.join(fd, &source, reactors.choose(stand))?;
        source.set_home(Some(home));
        Ok(self.source.get_or_init(|| source))
    }

    /// Moves to the worker that keeps running the task, if that is the better home.
    #[cold]
    fn follow(&self, fd: BorrowedFd<'_>, place: fn() -> Option<Place>) {
        let (Some(source), Some(Place { reactors, stand })) = (self.source.get(), place()) else {
            return;
        };
        let _moving = self.moving.lock();
        let Some(home) = source.home() else { return };
        if Arc::ptr_eq(&reactors, &home.reactors)
            && let Some(better) = reactors.better_than(usize::from(home.reactor), stand)
            && let Ok(moved) = reactors.join(fd, source, better)
        {
            source.set_home(Some(moved));
            home.leave();
        }
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        self.deregister();
    }
}

impl Home {
    /// Takes the source out of its reactor.
    fn leave(&self) {
        self.reactors
            .get(usize::from(self.reactor))
            .leave(self.fd, self.token);
    }
}

/// Where somebody stands who begins to wait.
#[derive(Debug)]
pub(crate) struct Place {
    /// The reactors of the thread's runtime.
    pub(crate) reactors: Arc<Reactors>,
    pub(crate) stand: Stand,
}

/// On which thread somebody begins to wait.
#[derive(Copy, Clone, Debug)]
pub(crate) enum Stand {
    /// On that of a worker, by a task that other workers may run too.
    Worker(usize),
    /// On that of a worker, by a task that runs nowhere else.
    Pinned(usize),
    /// On one that turns no reactor of the runtime.
    Elsewhere,
}

/// What was known before an operation; [`Registration::clear`] wants it back.
#[derive(Copy, Clone, Debug)]
pub(crate) enum Ready<'a> {
    /// Nothing yet.
    Assumed,
    /// The source's readiness word.
    Seen(&'a Source, Snapshot),
}

impl Ready<'_> {
    /// Whether `interest` is satisfied, by what was seen.
    #[inline]
    pub(crate) fn satisfies(self, interest: Interest) -> bool {
        match self {
            Self::Assumed => false,
            Self::Seen(_, seen) => seen.readiness().intersects(interest.satisfied_by()),
        }
    }

    /// Whether something was seen that forbids to conclude from a short read that the next one would block: hang-up, error
    /// or the peer's end of stream may wait behind the data, and a read stops at urgent data. No event will announce
    /// again what lies behind.
    #[inline]
    pub(crate) fn is_exceptional(self) -> bool {
        match self {
            Self::Assumed => false,
            Self::Seen(_, seen) => seen
                .readiness()
                .intersects(Readiness::READ_CLOSED | Readiness::HUNG_UP | Readiness::URGENT),
        }
    }
}
