//! The end of a runtime: who ends what, and what is reported of the rest.
//!
//! ```text
//!   Runtime::shutdown, or its drop             a worker's thread                     a thread of the blocking pool
//!   ──────────────────────────────             ─────────────────                     ─────────────────────────────
//!   close: nothing begins any more ──notify──▶ finishes the poll it is in            finishes the closure it is in
//!   wait, up to the deadline                   ends its own local tasks              departs
//!   end the rest                               end all tasks, and what waits for the pool
//!   report                                     give up its core
//! ```
//!
//! **Every thread that retires its core ends all tasks**, also those of the other cores, and so does the thread that ends the
//! runtime when it has waited. No worker waits for another, so one that is stuck in a poll keeps nothing alive but what is
//! its own. That several threads do it at once is safe, since a task has but one who ends it:
//!
//! | a live task that is | is ended by |
//! |---|---|
//! | idle or queued | the first to claim it (`State::claim`), on whose thread its future is dropped |
//! | in a poll | the thread that polls it, after the poll: it is marked by those who would have ended it |
//! | being dropped | the thread that does so; the others go on to the next task |
//! | local, or pinned and on its thread | its own thread only |
//! | spawned from now on | nobody: the registry refuses it, and the spawner drops it |
//!
//! A task stays in its registry until it is complete, so what is left there is what is stuck. The last core to retire closes the
//! reactors: then every wait on a socket fails.
//!
//! What must hold:
//!
//! * Nothing waits for a thread that waits for itself: inside one of the runtime's own tasks, the end is only begun.
//! * No future and no closure is dropped in the frame of a task; only on a thread that retires a core, or one outside.
//! * A thread that is stuck at the deadline is left behind. What is local to it is never touched: it is leaked, unless the thread
//!   comes back and ends it. The memory that it still needs is counted, and stays until then.
//!
//! What is not bounded: the destructors of futures and closures that the calling thread itself runs, on a runtime with one worker
//! or after the deadline; and those of thread-locals of the runtime's threads, once their work is done.
//!
//! Rejected: *to let the last core to retire end the tasks*. One worker that never comes back would keep every connection of all
//! others open.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::Relaxed as Statistic;

use super::context::{self, Context};
use super::core::Core;
use super::shared::{Home, Shared};
use crate::sys::clock::Deadline;
use crate::task::TaskInfo;
use crate::util::sync::atomic::{
    AtomicBool,
    Ordering::{Relaxed, Release},
};
use crate::util::sync::{Condvar, Mutex};

/// How far a runtime is on its way to the end.
#[derive(Debug)]
pub(super) struct Ending {
    closed: AtomicBool,
    left: Mutex<Left>,
    /// Notified when nothing is left.
    ended: Condvar,
    /// Tasks that were ended before they came into a registry, or on the thread that they were local to.
    tasks_ended_count: AtomicUsize,
}

/// What has not ended.
#[derive(Debug)]
struct Left {
    /// Those that have not been retired.
    cores: Vec<usize>,
    /// Those that the runtime started for its workers.
    threads_count: usize,
    /// Whether the last core to retire has still to close the reactors.
    reactors: bool,
}

impl Left {
    fn is_nothing(&self) -> bool {
        self.threads_count == 0 && !self.reactors
    }
}

impl Ending {
    pub(super) fn new(cores_count: usize) -> Self {
        Self {
            closed: AtomicBool::new(false),
            left: Mutex::new(Left {
                cores: (0..cores_count).collect(),
                threads_count: 0,
                reactors: true,
            }),
            ended: Condvar::new(),
            tasks_ended_count: AtomicUsize::new(0),
        }
    }

    /// So many threads will each call [`thread_ended`](Self::thread_ended).
    pub(super) fn expect_threads(&self, count: usize) {
        self.left.lock().threads_count = count;
    }

    /// One more thread will call [`thread_ended`](Self::thread_ended).
    pub(super) fn expect_thread(&self) {
        self.left.lock().threads_count += 1;
    }

    /// The calling thread does nothing more for the runtime.
    pub(super) fn thread_ended(&self) {
        self.change(|left| left.threads_count -= 1);
    }

    /// Tasks were ended that no registry of a core will count.
    pub(super) fn note_ended(&self, tasks_count: usize) {
        self.tasks_ended_count.fetch_add(tasks_count, Statistic);
    }

    /// Waits until all has ended. False if the deadline came first.
    pub(super) fn wait(&self, deadline: Deadline) -> bool {
        let mut left = self.left.lock();
        loop {
            if left.is_nothing() {
                return true;
            }
            let remaining = deadline.remaining();
            if remaining.is_zero() {
                return false;
            }
            (left, _) = self.ended.wait_timeout(left, remaining);
        }
    }

    fn change<R>(&self, change: impl FnOnce(&mut Left) -> R) -> R {
        let mut left = self.left.lock();
        let result = change(&mut left);
        if left.is_nothing() {
            self.ended.notify_all();
        }
        result
    }
}

impl Shared {
    #[inline]
    pub(super) fn is_closed(&self) -> bool {
        self.ending.closed.load(Relaxed) // a hint to leave; what must not be missed is under locks
    }

    /// Begins the end: no worker polls another task after the one it is polling, and no closure begins.
    pub(super) fn close(self: &Arc<Self>) {
        // Before the seat: whoever finds that closed retires core 0, and with it what waits for the pool.
        self.blocking.close();
        // Before the flag: whoever sees that and gives core 0 back finds the seat closed, and does not get the core again.
        let core = self.seat.close();
        self.ending.closed.store(true, Release);
        for worker in 0..self.workers_count() {
            self.notify(worker);
        }
        self.watch.call();
        match core {
            Some(core) if self.workers_count() == 1 => self.retire(core),
            Some(core) => self.give_up(core), // to end the tasks is for the others, who are in no task's frame
            None => {}
        }
    }

    /// Ends what can be ended here, and gives up a core for good.
    pub(super) fn retire(self: &Arc<Self>, core: Core) {
        if self.seat.is_closed() {
            self.end_tasks(core.index());
        } // otherwise the worker has died of a bug of ours
        self.give_up(core);
    }

    /// Gives up a core for good. The last one takes the reactors with it.
    fn give_up(self: &Arc<Self>, core: Core) {
        let index = core.index();
        drop(core);
        let is_last = self.ending.change(|left| {
            left.cores.retain(|left| *left != index);
            left.cores.is_empty()
        });
        if is_last {
            self.close_reactors();
            self.ending.change(|left| left.reactors = false);
        }
    }

    /// Ends what no other thread has ended. The calling thread is outside of the runtime, and has waited.
    pub(super) fn end_the_rest(self: &Arc<Self>) {
        self.end_tasks(0);
        self.close_reactors();
    }

    /// Drops what may be dropped here, in the name of `core`.
    ///
    /// Queues refuse first, so that a task that is woken while it ends goes nowhere; then every live task ends, wherever its
    /// references are.
    fn end_tasks(self: &Arc<Self>, core: usize) {
        let _context = context::enter(Context::Finisher(Home::new(self, core)).into());
        self.injector.close();
        self.blocking.cancel_queued();
        for remote in &self.remotes {
            self.ending.note_ended(remote.arrivals.close());
            remote.registry.close();
        }
    }

    /// The sockets and the timers learn that nobody will look after them.
    fn close_reactors(self: &Arc<Self>) {
        let _context = context::enter(Context::Finisher(Home::new(self, 0)).into());
        self.reactors.iter().for_each(|reactor| reactor.close());
        self.remotes.iter().for_each(|remote| remote.timers.close());
    }

    /// What is left at this moment, and what is not.
    #[inline]
    pub(super) fn report(&self) -> ShutdownReport {
        let mut stuck = Vec::new();
        let mut leaked_count = 0;
        let mut dropped_count = self.ending.tasks_ended_count.load(Statistic);
        let locals = self.locals.lock().clone();
        let registries = (self.remotes.iter()).map(|remote| &remote.registry);
        for registry in registries.chain(locals.iter().map(|registry| &**registry)) {
            let before = stuck.len();
            leaked_count += registry.survey(&mut stuck) - (stuck.len() - before);
            dropped_count += registry.ended_count();
        }
        ShutdownReport {
            tasks_dropped: dropped_count,
            tasks_stuck: stuck,
            tasks_leaked: leaked_count,
            workers_stuck: self.ending.left.lock().cores.clone(),
            closures_running: self.blocking.running(),
            closures_cancelled: self.blocking.take_cancelled(),
        }
    }
}

/// What became of a runtime that was told to [shut down](crate::Runtime::shutdown).
///
/// Prints as a sentence for people.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ShutdownReport {
    /// How many tasks were alive and have ended: dropped where they waited, or at the end of the poll they were in.
    pub tasks_dropped: usize,
    /// Tasks that were still in a poll, or in a destructor, at the deadline. Each keeps a thread, which was left behind.
    pub tasks_stuck: Vec<TaskInfo>,
    /// How many more tasks were not dropped, because they belong to a thread that was left behind.
    pub tasks_leaked: usize,
    /// Workers that were still busy at the deadline: with one of those tasks, with the main future of a `block_on`, or with a
    /// waker.
    pub workers_stuck: Vec<usize>,
    /// Blocking closures that were still running at the deadline.
    pub closures_running: Vec<TaskInfo>,
    /// Blocking closures that waited for a thread and were dropped.
    pub closures_cancelled: Vec<TaskInfo>,
}

impl ShutdownReport {
    /// Whether everything has ended. What was cancelled on the way does not count against it.
    pub fn is_clean(&self) -> bool {
        self.tasks_stuck.is_empty()
            && self.tasks_leaked == 0
            && self.workers_stuck.is_empty()
            && self.closures_running.is_empty()
    }
}

impl fmt::Display for ShutdownReport {
    #[inline]
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "the runtime has ended: {} tasks dropped, {} queued blocking closures cancelled",
            self.tasks_dropped,
            self.closures_cancelled.len()
        )?;
        for worker in &self.workers_stuck {
            write!(f, "; worker {worker} is still busy")?;
        }
        for task in &self.tasks_stuck {
            write!(f, "; {task} is still in a poll")?;
        }
        if self.tasks_leaked > 0 {
            write!(
                f,
                "; {} tasks of these threads are leaked",
                self.tasks_leaked
            )?;
        }
        for closure in &self.closures_running {
            write!(f, "; the blocking closure of {closure} still runs")?;
        }
        Ok(())
    }
}
