//! What a spawner gets: the handle of a task, and the future that cancels it.

use std::fmt;
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::pin::Pin;
use std::task::{Context, Poll};

use super::raw::Joiner;
use super::{JoinError, TaskId};

/// The right to a task's result. Await it to get the output.
///
/// Dropping the handle detaches the task: it runs on, and its output is dropped when it finishes.
///
/// The handle resolves to an [`Err`] if the task [panicked](JoinError::is_panic), or was [cancelled](JoinError::is_cancelled) by
/// [`abort`](Self::abort), by [`cancel`](Self::cancel) or by the end of its runtime. A panic of the future's destructor counts as
/// a panic of the task, and takes precedence over an output and over a cancellation.
///
/// # Panics
///
/// Polling the handle again after it has resolved panics.
///
/// # Cancel safety
///
/// Polling through `&mut handle` and giving up loses nothing: the result stays with the task until a poll returns it.
pub struct JoinHandle<T> {
    joiner: Joiner<T>,
}

impl<T> JoinHandle<T> {
    pub(super) fn new(joiner: Joiner<T>) -> Self {
        Self { joiner }
    }

    /// Has the task stopped at its next suspension point, without waiting for it.
    ///
    /// A task that is not running is scheduled once more, to have its future dropped on a thread where it may be; one that is in
    /// the middle of a poll has it dropped when the poll returns `Pending`. If the poll returns the output instead, the output
    /// stands. Aborting a finished task does nothing.
    pub fn abort(&self) {
        self.joiner.task().abort();
    }

    /// Whether the task's result is there: its future has been dropped, and awaiting the handle will not wait.
    pub fn is_finished(&self) -> bool {
        self.joiner.task().header().state.is_complete()
    }

    /// The task's number.
    pub fn id(&self) -> TaskId {
        self.joiner.task().header().id()
    }

    /// Aborts the task, at once, and returns a future that waits until its future has been dropped.
    ///
    /// That resolves to the output if the task finished all the same. Dropping it does not take the abort back.
    pub fn cancel(self) -> Cancel<T> {
        self.abort();
        Cancel { handle: self }
    }
}

impl<T> Future for JoinHandle<T> {
    type Output = Result<T, JoinError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.joiner.poll(cx)
    }
}

impl<T> fmt::Debug for JoinHandle<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("JoinHandle")
            .field(self.joiner.task().header())
            .finish()
    }
}

// No `T` lies in the handle, and a panic leaves the task's state consistent.
impl<T> Unpin for JoinHandle<T> {}
impl<T> UnwindSafe for JoinHandle<T> {}
impl<T> RefUnwindSafe for JoinHandle<T> {}

/// Waits for the end of a task that was told to stop. Made by [`JoinHandle::cancel`].
///
/// Resolves when the task's future has been dropped: to a [cancelled](JoinError::is_cancelled) error, or to what the task came to
/// before the abort reached it.
///
/// # Panics
///
/// Polling it again after it has resolved panics.
#[must_use = "the task has been told to stop; await this to know that it did"]
pub struct Cancel<T> {
    handle: JoinHandle<T>,
}

impl<T> Future for Cancel<T> {
    type Output = Result<T, JoinError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.handle.joiner.poll(cx)
    }
}

impl<T> fmt::Debug for Cancel<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Cancel")
            .field(self.handle.joiner.task().header())
            .finish()
    }
}
