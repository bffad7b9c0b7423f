//! Telling somebody when tasks are spawned, polled and gone.
//!
//! Spawns and ends are told by the [registry](super::registry), through which every task comes and goes exactly once, however it
//! ends; polls by the worker. One trait and not a closure for each moment, so that what belongs together (a span that is
//! entered and left) has one place, and a runtime without an observer asks one question per poll.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use crate::task::TaskInfo;
use crate::util::wake::discard;

/// Is told of the tasks of a runtime: for tracing. See [`Builder::observer`](crate::Builder::observer).
///
/// The methods are called on the thread on which the thing happens, several of them at a time, with no lock held; so they should be
/// short. A panic in one is ignored. Blocking closures and the futures of `block_on` are no tasks.
///
/// For each task the calls come in this order: [`spawned`](Self::spawned); for each poll
/// [`poll_begins`](Self::poll_begins) and [`poll_ends`](Self::poll_ends), on one thread; [`ended`](Self::ended).
///
/// # Examples
///
/// ```
/// use std::sync::Arc;
/// use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
/// use wakeful::{Observer, TaskInfo};
///
/// #[derive(Default)]
/// struct Counts {
///     alive: AtomicUsize,
///     polls: AtomicUsize,
/// }
///
/// impl Observer for Counts {
///     fn spawned(&self, _: &TaskInfo) {
///         self.alive.fetch_add(1, Relaxed);
///     }
///
///     fn poll_begins(&self, _: &TaskInfo) {
///         self.polls.fetch_add(1, Relaxed);
///     }
///
///     fn ended(&self, _: &TaskInfo) {
///         self.alive.fetch_sub(1, Relaxed);
///     }
/// }
///
/// let counts = Arc::new(Counts::default());
/// let runtime = wakeful::Builder::new().workers(1).observer(counts.clone()).build()?;
/// runtime.block_on(async { wakeful::spawn(wakeful::yield_now()).await.unwrap() });
/// drop(runtime);
/// assert_eq!(counts.polls.load(Relaxed), 2);
/// assert_eq!(counts.alive.load(Relaxed), 0);
/// # std::io::Result::Ok(())
/// ```
pub trait Observer: Send + Sync + 'static {
    /// A task comes to be, on the thread that spawns it; one of [`Handle::spawn_pinned`](crate::Handle::spawn_pinned) on its
    /// worker's thread.
    fn spawned(&self, task: &TaskInfo) {
        let _ = task;
    }

    /// A task is about to be polled, or to be dropped because it was aborted.
    fn poll_begins(&self, task: &TaskInfo) {
        let _ = task;
    }

    /// The poll is over, whether or not the task is.
    fn poll_ends(&self, task: &TaskInfo) {
        let _ = task;
    }

    /// A task has returned, panicked, or was dropped before.
    fn ended(&self, task: &TaskInfo) {
        let _ = task;
    }
}

impl<T: Observer + ?Sized> Observer for Arc<T> {
    fn spawned(&self, task: &TaskInfo) {
        (**self).spawned(task);
    }

    fn poll_begins(&self, task: &TaskInfo) {
        (**self).poll_begins(task);
    }

    fn poll_ends(&self, task: &TaskInfo) {
        (**self).poll_ends(task);
    }

    fn ended(&self, task: &TaskInfo) {
        (**self).ended(task);
    }
}

/// Somebody's observer.
#[derive(Clone)]
pub(crate) struct Observing(Arc<AssertUnwindSafe<Box<dyn Observer>>>);

impl Observing {
    pub(super) fn new(observer: impl Observer) -> Self {
        Self(Arc::new(AssertUnwindSafe(Box::new(observer))))
    }

    pub(super) fn spawned(&self, task: &TaskInfo) {
        self.tell(|observer| observer.spawned(task));
    }

    pub(super) fn ended(&self, task: &TaskInfo) {
        self.tell(|observer| observer.ended(task));
    }

    /// Tells of a poll around it.
    pub(super) fn around<R>(&self, task: &TaskInfo, poll: impl FnOnce() -> R) -> R {
        self.tell(|observer| observer.poll_begins(task));
        let result = poll();
        self.tell(|observer| observer.poll_ends(task));
        result
    }

    fn tell(&self, tell: impl FnOnce(&dyn Observer)) {
        if let Err(payload) = catch_unwind(AssertUnwindSafe(|| tell(&***self.0))) {
            discard(payload);
        }
    }
}

impl fmt::Debug for Observing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Observing")
    }
}
