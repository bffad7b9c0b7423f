//! The two references that an executor holds: the one that runs a task, and the one that knows it lives.

use std::fmt;
use std::ptr::NonNull;

use super::header::Header;
use super::raw::Task;
use super::state::Phase;
use super::{RegistryKey, TaskInfo};

/// The right and the duty to run a task once.
///
/// There is at most one per task at any time, and it holds a reference. Dropping it merely releases that: the task stays
/// SCHEDULED, wakes find it so and do nothing, and it never runs again until [`TaskRef::shutdown`] claims it.
pub(crate) struct Runnable(pub(super) Task);

impl Runnable {
    /// Polls the future once, or drops it if the task was aborted. Panics of the future are caught and become the task's result.
    ///
    /// If a shutdown has claimed the task in the meantime, this only releases the reference, and says [`Ran::Idle`].
    ///
    /// # Panics
    ///
    /// If the task is local to another thread.
    #[inline]
    pub(crate) fn run(self, now_ms: u32) -> Ran {
        self.0.run(now_ms)
    }

    pub(crate) fn header(&self) -> &Header {
        self.0.header()
    }

    /// Which task it is.
    pub(crate) fn info(&self) -> TaskInfo {
        TaskInfo::new(self.header())
    }

    /// A pointer for the slot of a queue; [`from_raw`](Self::from_raw), in `raw.rs`, takes it back.
    #[inline]
    pub(crate) fn into_raw(self) -> NonNull<Header> {
        self.0.into_raw()
    }
}

/// What became of a task that was run.
#[must_use]
#[derive(Debug)]
pub(crate) enum Ran {
    /// It waits for a wake, or was finished by another already: nothing to do.
    Idle,
    /// It was woken during its own poll: to be queued again, behind the others.
    Again(Runnable),
    /// This run finished it: to be removed from the registry. Said at most once per task, and never of a task that a shutdown
    /// finished. (A shutdown that met the task in its poll leaves the finishing to the run, which then names a key that the
    /// registry has just emptied.)
    Complete(Ended),
}

/// The reference of the run that has finished a task.
pub(crate) struct Ended(pub(super) Task);

impl Ended {
    /// Where the registry has the task.
    #[inline]
    pub(crate) fn key(&self) -> RegistryKey {
        self.0.header().key()
    }

    /// Releases this reference together with the registry's, if it still had one.
    #[inline]
    pub(crate) fn release(self, registered: Option<TaskRef>) {
        if let Some(registered) = registered {
            self.0.drop_both(registered.0);
        }
    }
}

/// The registry's reference.
#[derive(Clone)]
pub(crate) struct TaskRef(pub(super) Task);

impl TaskRef {
    /// Notes the task's place in the registry, before the `Runnable` is handed on.
    pub(crate) fn set_key(&self, key: RegistryKey) {
        self.header().set_key(key);
    }

    /// Ends the task now: drops the future in place and completes with a `JoinError` that says cancelled, waking the joiner.
    ///
    /// It does so whether or not the task is scheduled; the `Runnable` that may still lie in a queue does nothing when it is run.
    /// A task in the middle of a poll is only marked, and its runner drops the future after the poll; a complete one is left
    /// alone. A task local to another thread is aborted, as its handle would do it: its own thread drops the future, if it ever
    /// runs the task again.
    pub(crate) fn shutdown(&self) {
        self.0.shutdown();
    }

    /// Whether the future is gone and the result written.
    pub(crate) fn is_complete(&self) -> bool {
        self.header().state.is_complete()
    }

    /// Whether a thread is in the future's poll or in its destructor at this moment.
    pub(crate) fn is_running(&self) -> bool {
        self.phase() == Phase::Running
    }

    /// Where it is in its life at this moment.
    pub(crate) fn phase(&self) -> Phase {
        self.header().state.phase()
    }

    /// Which task it is.
    pub(crate) fn info(&self) -> TaskInfo {
        TaskInfo::new(self.header())
    }

    pub(crate) fn header(&self) -> &Header {
        self.0.header()
    }
}

impl fmt::Debug for Runnable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Runnable").field(self.header()).finish()
    }
}

impl fmt::Debug for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Ended").field(self.0.header()).finish()
    }
}

impl fmt::Debug for TaskRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("TaskRef").field(self.header()).finish()
    }
}
