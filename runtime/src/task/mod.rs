//! Tasks: a future, its state and its waker in one allocation.
//!
//! Four kinds of reference share a task, and each can do one thing:
//!
//! ```text
//!   Runnable    run it once          made at spawn, by a wake, by an abort; goes up through `Schedule`
//!   Waker       have it run again    made by cloning the waker that a poll is lent
//!   JoinHandle  get its result       made at spawn
//!   TaskRef     end it               made at spawn, for the registry of live tasks
//! ```
//!
//! [`state`] is the atomic word that keeps them apart, [`raw`] the allocation. Queues, threads and the registry belong to the
//! layer above, of which this one knows [`Schedule`] and nothing else: no wake or abort ever polls or drops a future in the
//! caller's frame (W7), it only hands on a `Runnable`.

mod again;
mod error;
mod header;
mod id;
mod info;
mod join;
mod pinned;
mod raw;
mod runnable;
mod state;
mod waker;

#[cfg(all(test, loom))]
mod models;
#[cfg(all(test, not(loom)))]
mod reference;
#[cfg(all(test, not(loom)))]
mod tests;

use std::panic::Location;
use std::sync::Arc;

pub(crate) use self::again::run_again;
pub use self::error::JoinError;
pub(crate) use self::header::Header;
pub use self::id::TaskId;
pub use self::info::TaskInfo;
pub use self::join::{Cancel, JoinHandle};
pub(crate) use self::runnable::{Ended, Ran, Runnable, TaskRef};
pub(crate) use self::state::Phase;
pub(crate) use self::waker::{address_of, mark_woken};

use self::pinned::PinnedFuture;
pub(crate) use self::raw::Due;
use self::raw::Task;

/// The way up: where a task that was woken goes. Not called by spawning itself.
pub(crate) trait Schedule: Send + Sync + Sized + 'static {
    /// Takes a task that is due, from any thread, and runs it later: never inside the call.
    fn schedule(&self, runnable: Runnable);

    /// The same for a task whose `Runnable` may be the only reference, so that `self` may be freed as soon as it is out of the
    /// caller's hands.
    ///
    /// By default a second reference is held meanwhile, which costs two read-modify-writes. A scheduler that takes what it
    /// needs out of itself first can save them.
    #[inline]
    fn schedule_due(due: Due<Self>) {
        due.hold(Self::schedule);
    }
}

/// What describes a task to people.
#[derive(Debug)]
pub(crate) struct Meta {
    pub(crate) name: Option<Arc<str>>,
    pub(crate) location: &'static Location<'static>,
    pub(crate) spawned_ms: u32,
}

/// A task's place in the registry of live tasks: a core and an index there. One word, so that a header keeps it in an atomic and
/// a run returns it in a register.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct RegistryKey(u64);

impl RegistryKey {
    /// Before the registry has given one.
    const NONE: Self = Self(u64::MAX);

    pub(crate) fn new(core: u32, index: u32) -> Self {
        Self(u64::from(core) << 32 | u64::from(index))
    }

    #[inline]
    pub(crate) fn core(self) -> u32 {
        (self.0 >> 32) as u32
    }

    #[inline]
    pub(crate) fn index(self) -> usize {
        self.0 as u32 as usize
    }
}

/// Makes a task, scheduled from the start: the caller queues the `Runnable`.
pub(crate) fn new<F, S>(
    future: F,
    scheduler: S,
    meta: Meta,
) -> (TaskRef, Runnable, JoinHandle<F::Output>)
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
    S: Schedule,
{
    let (task, runnable, joiner) = Task::new(future, scheduler, meta);
    (TaskRef(task), Runnable(runnable), JoinHandle::new(joiner))
}

/// Makes a task whose future is polled and dropped by the calling thread only.
///
/// Every part may still be woken, aborted and dropped anywhere. Running it on another thread panics; if its last reference goes
/// on another thread while it is unfinished, it is leaked.
pub(crate) fn new_local<F, S>(
    future: F,
    scheduler: S,
    meta: Meta,
) -> (TaskRef, Runnable, JoinHandle<F::Output>)
where
    F: Future + 'static,
    F::Output: 'static,
    S: Schedule,
{
    let (task, runnable, joiner) = Task::new_local(future, scheduler, meta);
    (TaskRef(task), Runnable(runnable), JoinHandle::new(joiner))
}

/// Makes a task whose future is made by `make` at the first poll, and belongs to the thread that polls it from then on.
///
/// Until then it may be sent, ended and dropped anywhere, as `make` may.
pub(crate) fn new_pinned<C, F, S>(
    make: C,
    scheduler: S,
    meta: Meta,
) -> (TaskRef, Runnable, JoinHandle<F::Output>)
where
    C: FnOnce() -> F + Send + 'static,
    F: Future + 'static,
    F::Output: Send + 'static,
    S: Schedule,
{
    let (task, runnable, joiner) = Task::new_pinned(PinnedFuture::new(make), scheduler, meta);
    (TaskRef(task), Runnable(runnable), JoinHandle::new(joiner))
}
