//! Closures that block: how they get from a runtime to its [pool](crate::blocking), and the pool its threads.
//!
//! A thread of the pool is in the runtime's context for all its life, as one that has entered it: what a closure calls may
//! spawn, make sockets and `block_on`. It keeps the runtime's memory, as any handle does, and lets go of it before it departs:
//! whoever has waited for the threads finds nothing of them left but the thread itself, for a moment.

use std::panic::Location;
use std::rc::Rc;
use std::sync::Arc;

use super::context::{self, Context};
use super::shared::Home;
use crate::blocking::{Job, Submitted};
use crate::sys::clock;
use crate::task::{JoinHandle, Meta};

/// Runs a closure that blocks, or computes for long, on a thread for such, so that it keeps no task waiting.
///
/// The thread is one that an earlier closure has left idle, or a new one. At most [`Builder::blocking_threads_max`] run at a
/// time; further closures wait for them in a queue, first in, first out. Inside the closure the runtime is entered:
/// [`spawn`](crate::spawn) works there, and so does `Handle::current().block_on(…)`.
///
/// The closure runs whether or not the handle is awaited. [`abort`](JoinHandle::abort) keeps it from beginning, but does not
/// stop it once it has begun. A panic in it becomes the handle's error, as for any task. After the runtime has begun to shut
/// down, the closure is dropped at once and the handle says cancelled; the same happens to a closure that waits then, and to
/// one for which the system refuses the very first thread. (If it refuses one more, the closures wait for those there are.)
///
/// # Blocking
///
/// When [`Builder::blocking_queue_max`] closures wait already, this call **blocks** the calling thread until there is room.
/// On a worker that holds up its other tasks, and it never ends if the closures before it wait for one of those.
///
/// # Panics
///
/// Outside a runtime.
///
/// # Examples
///
/// ```
/// wakeful::block_on(async {
///     let digest = wakeful::spawn_blocking(|| (0..1_000_000_u64).fold(0, |sum, n| sum ^ n * n));
///     assert!(digest.await.is_ok());
/// });
/// ```
///
/// [`Builder::blocking_threads_max`]: crate::Builder::blocking_threads_max
/// [`Builder::blocking_queue_max`]: crate::Builder::blocking_queue_max
#[track_caller]
pub fn spawn_blocking<C, T>(closure: C) -> JoinHandle<T>
where
    C: FnOnce() -> T + Send + 'static,
    T: Send + 'static,
{
    context::expect_current("`spawn_blocking`")
        .home()
        .spawn_blocking(closure, Location::caller())
}

/// Runs a closure that blocks and does nothing that anybody wants but its result: a shutdown does not wait for it.
///
/// # Panics
///
/// Outside a runtime, with a sentence that names `what` needs one.
#[track_caller]
pub(crate) fn spawn_spared<C, T>(what: &str, name: &str, closure: C) -> JoinHandle<T>
where
    C: FnOnce() -> T + Send + 'static,
    T: Send + 'static,
{
    let context = context::expect_current(what);
    let home = context.home();
    let (job, handle) = Job::new(closure, home.blocking_meta(Some(name), Location::caller()));
    home.submit(job.spared());
    handle
}

impl Home {
    /// Hands a closure to the pool.
    pub(super) fn spawn_blocking<C, T>(
        self: &Arc<Self>,
        closure: C,
        location: &'static Location<'static>,
    ) -> JoinHandle<T>
    where
        C: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        let (job, handle) = Job::new(closure, self.blocking_meta(None, location));
        self.submit(job);
        handle
    }

    #[inline]
    fn blocking_meta(&self, name: Option<&str>, location: &'static Location<'static>) -> Meta {
        Meta {
            name: name.map(Into::into),
            location,
            spawned_ms: self.shared.millis(clock::now()),
        }
    }

    #[inline]
    fn submit(self: &Arc<Self>, job: Job) {
        match self.shared.blocking.submit(job) {
            Submitted::Queued => {}
            Submitted::NeedsThread(key) => self.start_blocking_thread(key),
            Submitted::Refused(job) => job.cancel(),
        }
    }

    #[cold]
    #[inline]
    fn start_blocking_thread(self: &Arc<Self>, key: usize) {
        let home = self.clone();
        let body = move || run_blocking_thread(home, key);
        let started = (self.shared.threads).start(format_args!("blocking-{key}"), body);
        if started.is_err() {
            self.shared.blocking.thread_was_refused(key); // the count of such is in the metrics
        }
    }
}

/// The life of a thread for blocking closures.
#[inline]
fn run_blocking_thread(home: Arc<Home>, key: usize) {
    let pool = home.shared.blocking.clone();
    {
        let shared = home.shared.clone();
        let _entered = context::enter(Rc::new(Context::Entered { home, behind: None }));
        // A worker may sleep without a timeout until no closure is out, and nobody else tells it: see `sleep_virtually`.
        let on_rest = || {
            if shared.clock.is_virtual() {
                shared.notify(0);
            }
        };
        pool.serve(key, || shared.millis(clock::now()), on_rest);
    }
    pool.depart();
}
