//! `Runtime` and `Handle`: what a program holds of a runtime.

use std::fmt;
use std::panic::Location;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::thread;
use std::time::Duration;

use super::block_on::block_on;
use super::builder::Builder;
use super::context::{self, Context, Entered};
use super::dump::TaskReport;
use super::metrics::Metrics;
use super::shared::{Home, Shared};
use super::shutdown::ShutdownReport;
use super::worker::Worker;
use crate::sys::clock::Deadline;
use crate::task::{self, JoinHandle, Meta};

/// A running runtime: its workers, their reactors and all tasks.
///
/// Most programs need only [`block_on`](crate::block_on()); this is for those that want several workers, or to keep a
/// runtime beside other code.
///
/// Dropping the runtime shuts it down: every worker finishes the poll it is in, every task and every waker is dropped, on
/// the thread that may drop it, and the threads end. The drop waits for that, except inside a task of the runtime itself,
/// where it only begins it. It waits for at most five seconds, then leaves threads that are stuck in a poll behind, and for no
/// blocking closure at all; [`shutdown`](Self::shutdown) lets you choose, and reports. What outlives the runtime is
/// harmless: a waker does nothing, `spawn` drops its future and gives a handle that says cancelled, a wait on a socket fails
/// with an error.
///
/// # Examples
///
/// ```
/// let runtime = wakeful::Builder::new().workers(2).build()?;
/// let sum = runtime.block_on(async {
///     let parts = [1, 2, 3].map(|n| wakeful::spawn(async move { n * n }));
///     let mut sum = 0;
///     for part in parts {
///         sum += part.await.unwrap();
///     }
///     sum
/// });
/// assert_eq!(sum, 14);
/// # std::io::Result::Ok(())
/// ```
pub struct Runtime {
    handle: Handle,
    /// Those of the workers; `None` when the end has begun.
    threads: Option<Vec<thread::JoinHandle<()>>>,
}

impl Runtime {
    /// A runtime with one worker per available CPU.
    ///
    /// # Errors
    ///
    /// When the system refuses a thread, a descriptor or memory.
    pub fn new() -> std::io::Result<Self> {
        Builder::new().build()
    }

    pub(super) fn from_parts(home: Arc<Home>, threads: Vec<thread::JoinHandle<()>>) -> Self {
        Self {
            handle: Handle { home },
            threads: Some(threads),
        }
    }

    /// A handle to this runtime, which can be cloned and sent to other threads.
    pub fn handle(&self) -> &Handle {
        &self.handle
    }

    /// Runs a future to its end on this thread, which drives worker 0 meanwhile.
    ///
    /// Tasks spawned on the runtime run beside it. On a runtime with several workers they go on after this returns; on one
    /// with a single worker they rest until the next call. Tasks of [`spawn_local`](crate::spawn_local) belong to this
    /// call and are dropped before it returns.
    ///
    /// While another thread is in `block_on` of the same runtime, this call is a guest: it waits for its future, runs no
    /// tasks, and `spawn_local` is refused in it. With a single worker it takes over when the other returns.
    ///
    /// # Panics
    ///
    /// Inside a task or another `block_on`, since it would block all tasks of the thread; and when the future panics.
    #[track_caller]
    pub fn block_on<F: Future>(&self, future: F) -> F::Output {
        block_on(&self.handle.home, future)
    }

    /// Spawns a task; see [`wakeful::spawn`](crate::spawn).
    #[track_caller]
    pub fn spawn<F>(&self, future: F) -> JoinHandle<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        self.handle.spawn(future)
    }

    /// Runs a closure that blocks, on a thread for such; see [`wakeful::spawn_blocking`](crate::spawn_blocking).
    #[track_caller]
    pub fn spawn_blocking<C, T>(&self, closure: C) -> JoinHandle<T>
    where
        C: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        self.handle.spawn_blocking(closure)
    }

    /// Makes this the thread's current runtime until the guard is dropped; see [`Handle::enter`].
    pub fn enter(&self) -> EnterGuard<'_> {
        self.handle.enter()
    }

    /// What the runtime holds at this moment, and what it has done.
    #[inline]
    pub fn metrics(&self) -> Metrics {
        self.handle.metrics()
    }

    /// Ends the runtime and says what became of it.
    ///
    /// Nothing begins any more: what is spawned is dropped, and its handle says cancelled. Every worker finishes the poll it is in;
    /// then all tasks are dropped. Blocking closures that wait for a thread are dropped, those that run have until the deadline to
    /// return, which is `deadline` from now. This returns as soon as everything has ended.
    ///
    /// What has not by then is left behind and [reported](ShutdownReport): a thread that is stuck in a poll or in a blocking
    /// closure goes on, and what belongs to it is leaked unless it comes back. All other tasks are dropped all the same.
    ///
    /// Inside a task of the runtime itself this does not wait, or it would wait for itself: it begins the shutdown and reports
    /// at once, and the calling task is among what is not over yet. Inside a blocking closure of the runtime it waits, for the
    /// others.
    ///
    /// The deadline does not interrupt a destructor. With a single worker the calling thread drops the tasks itself, with several
    /// only those that are left at the deadline.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// let runtime = wakeful::Builder::new().workers(2).build()?;
    /// runtime.spawn(std::future::pending::<()>());
    /// let closure = runtime.spawn_blocking(|| std::thread::sleep(Duration::from_millis(10)));
    ///
    /// let report = runtime.shutdown(Duration::from_secs(10));
    /// assert!(report.is_clean(), "{report}");
    /// assert_eq!(report.tasks_dropped, 1);
    /// # std::io::Result::Ok(())
    /// ```
    #[inline]
    pub fn shutdown(mut self, deadline: Duration) -> ShutdownReport {
        self.end(deadline, false);
        self.handle.home.shared.report()
    }

    /// Begins the end, if that has not been done, and waits for it where that is possible; for closures unless they are `spared`.
    fn end(&mut self, limit: Duration, closures_are_spared: bool) {
        let Some(threads) = self.threads.take() else {
            return;
        };
        let deadline = Deadline::after(limit);
        let shared = &self.handle.home.shared;
        shared.close();
        if context::current().is_some_and(|context| context.is_part_of(shared)) {
            return; // to wait for the threads would be to wait for this one
        }
        let all_ended = shared.ending.wait(deadline);
        shared.end_the_rest();
        let ended = (threads.into_iter()).filter(|thread| all_ended || thread.is_finished());
        for thread in ended {
            let _ = thread.join(); // a panic outside of tasks has been reported by its thread
        }
        shared
            .blocking
            .wait_until_departed(closures_are_spared, deadline);
    }
}

impl Drop for Runtime {
    fn drop(&mut self) {
        self.end(DROP_DEADLINE, true);
    }
}

impl fmt::Debug for Runtime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Runtime")
            .field("workers", &self.handle.workers_count())
            .finish_non_exhaustive()
    }
}

/// A reference to a runtime, for spawning from anywhere.
///
/// It does not keep the runtime going. What it keeps is the runtime's memory and its descriptors (two per worker), until the
/// last handle, waker and `JoinHandle` is gone.
#[derive(Clone)]
pub struct Handle {
    home: Arc<Home>,
}

impl Handle {
    /// The handle of the runtime that this thread is in.
    ///
    /// # Panics
    ///
    /// Outside a runtime. [`try_current`](Self::try_current) does not.
    #[track_caller]
    pub fn current() -> Self {
        Self {
            home: context::expect_current("`Handle::current`").home().clone(),
        }
    }

    /// The handle of the runtime that this thread is in, if it is in one.
    pub fn try_current() -> Option<Self> {
        context::current().map(|context| Self {
            home: context.home().clone(),
        })
    }

    /// Spawns a task; see [`wakeful::spawn`](crate::spawn).
    #[track_caller]
    pub fn spawn<F>(&self, future: F) -> JoinHandle<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        self.home.spawn(future, None, Location::caller())
    }

    /// Spawns a task with a name, which shows wherever the task is printed.
    #[track_caller]
    pub fn spawn_named<F>(&self, name: &str, future: F) -> JoinHandle<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        self.home
            .spawn(future, Some(name.into()), Location::caller())
    }

    /// Runs a closure that blocks, on a thread for such; see [`wakeful::spawn_blocking`](crate::spawn_blocking).
    #[track_caller]
    pub fn spawn_blocking<C, T>(&self, closure: C) -> JoinHandle<T>
    where
        C: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        self.home.spawn_blocking(closure, Location::caller())
    }

    /// Calls `make` on the thread of `worker` and runs the future it returns there, and nowhere else.
    ///
    /// The future need not be `Send`. It belongs to the thread that holds the worker at that time: on worker 0 that may be
    /// a thread in `block_on`, which drops it before it returns. On a runtime with one worker it waits for a `block_on`.
    ///
    /// # Panics
    ///
    /// When there is no such worker.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::rc::Rc;
    ///
    /// let runtime = wakeful::Builder::new().workers(2).build()?;
    /// let handle = runtime.handle().spawn_pinned(1, || {
    ///     let local = Rc::new(7); // may live across an await: the future never leaves its thread
    ///     async move {
    ///         wakeful::yield_now().await;
    ///         *local
    ///     }
    /// });
    /// assert_eq!(runtime.block_on(handle).unwrap(), 7);
    /// # std::io::Result::Ok(())
    /// ```
    #[track_caller]
    pub fn spawn_pinned<C, F>(&self, worker: usize, make: C) -> JoinHandle<F::Output>
    where
        C: FnOnce() -> F + Send + 'static,
        F: Future + 'static,
        F::Output: Send + 'static,
    {
        let count = self.workers_count();
        assert!(
            worker < count,
            "there is no worker {worker}: the runtime has {count}, numbered from 0"
        );
        self.home.spawn_pinned(worker, make, Location::caller())
    }

    /// Runs a future to its end on this thread; see [`Runtime::block_on`]. For threads that are no workers.
    ///
    /// After the runtime has shut down, the future is still polled to its end, but nothing in it that needs the runtime
    /// succeeds.
    ///
    /// # Panics
    ///
    /// As [`Runtime::block_on`].
    #[track_caller]
    pub fn block_on<F: Future>(&self, future: F) -> F::Output {
        block_on(&self.home, future)
    }

    /// Makes this the thread's current runtime until the guard is dropped.
    ///
    /// Inside, `spawn` works, and a socket that must wait registers with this runtime; futures are not driven. Guards that
    /// are nested must be dropped in the reverse order.
    pub fn enter(&self) -> EnterGuard<'_> {
        EnterGuard {
            _entered: context::enter(Rc::new(Context::Entered {
                home: self.home.clone(),
                behind: context::current(),
            })),
            _handle: self,
        }
    }

    /// How many workers the runtime has.
    pub fn workers_count(&self) -> usize {
        self.home.shared.workers_count()
    }

    /// What the runtime holds at this moment, and what it has done.
    #[inline]
    pub fn metrics(&self) -> Metrics {
        drop(context::with_worker(Worker::take_spare_timer)); // a task counts no timer that it has dropped
        Metrics::of(&self.home.shared)
    }

    /// Every live task, and what it does: for a server that stands still, and nobody knows why.
    ///
    /// Tasks go on while they are listed. It takes some microseconds per task, and no worker waits for it for longer than for a
    /// few hundred of them. Blocking closures, and the futures of `block_on`, are not among them; a task of
    /// [`spawn_pinned`](Self::spawn_pinned) is from the moment when its worker has taken it in.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    /// use wakeful::{TaskState, Wait};
    ///
    /// wakeful::block_on(async {
    ///     wakeful::spawn_named("patient", wakeful::time::sleep(Duration::from_secs(60)));
    ///     wakeful::yield_now().await;
    ///     let tasks = wakeful::Handle::current().tasks();
    ///     assert_eq!(tasks[0].info.name(), Some("patient"));
    ///     let TaskState::Waiting(waits) = &tasks[0].state else { panic!("{}", tasks[0]) };
    ///     assert!(matches!(waits[..], [Wait::Timer(due_in)] if due_in > Duration::from_secs(1)));
    /// });
    /// ```
    #[inline]
    pub fn tasks(&self) -> Vec<TaskReport> {
        drop(context::with_worker(Worker::take_spare_timer)); // a task waits for no timer that it has dropped
        self.home.shared.dump()
    }

    #[track_caller]
    pub(super) fn spawn_local<F>(
        future: F,
        location: &'static Location<'static>,
    ) -> JoinHandle<F::Output>
    where
        F: Future + 'static,
        F::Output: 'static,
    {
        let context = context::expect_current("`spawn_local`");
        let Some(worker) = context.worker() else {
            panic!(
                "`spawn_local` was called on a thread that runs no tasks of its runtime: another thread is in `block_on` of \
                 the same runtime, or this one has only entered it. Use `spawn`, or `Handle::spawn_pinned`"
            )
        };
        let meta = Meta {
            name: None,
            location,
            spawned_ms: worker.now_ms(),
        };
        let (task, runnable, handle) =
            task::new_local(future, worker.local().inbox().clone(), meta);
        shared_of(worker.home())
            .local_tasks_count
            .fetch_add(1, Relaxed); // a statistic
        worker.local().adopt(task, runnable);
        handle
    }
}

impl fmt::Debug for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handle")
            .field("workers", &self.workers_count())
            .finish_non_exhaustive()
    }
}

fn shared_of(home: &Home) -> &Shared {
    &home.shared
}

/// Ends the effect of [`Handle::enter`] when it is dropped.
#[derive(Debug)]
#[must_use = "the runtime is left as soon as the guard is dropped"]
pub struct EnterGuard<'a> {
    _entered: Entered,
    _handle: &'a Handle,
}

/// How long the drop of a runtime waits for its workers. Only a poll that never ends, or a machine that stands still, takes
/// longer than this; and who stops a service usually kills it after ten seconds, which leaves time for what comes after the drop.
const DROP_DEADLINE: Duration = Duration::from_secs(5);
