//! Telling which task keeps its worker.
//!
//! The [watch](super::watch) sees when a worker's tick stands still while it does not sleep. From the first look at a tick the
//! time is counted; when that is the threshold, the stall is reported, and again when the tick has moved on or the worker sleeps.
//! The watch looks four times in a threshold at least, so a report comes after one threshold and a quarter, and a millisecond.
//! The workers do nothing for it but what they do for the metrics: they show the address of what they poll.
//!
//! The address is compared with those of the live tasks. If the tick is the same after that as before, the worker was in one poll
//! all the time; a task that is being polled is in its registry and is not freed, so it is that task.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use super::counters::MAIN_FUTURE;
use super::shared::Shared;
use crate::sys::clock;
use crate::sys::thread::ThreadState;
use crate::task::TaskInfo;
use crate::util::wake::discard;

/// A worker that did not come back from a poll for longer than a threshold; see
/// [`Builder::on_stall`](crate::Builder::on_stall).
///
/// It prints as one line for people, such as
/// `worker 0 is kept by task 7 (spawned at src/main.rs:12:5) for 103.1ms already; its thread sleeps in clock_nanosleep`.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Stall {
    /// Which worker.
    pub worker: usize,
    /// What keeps it.
    pub culprit: Culprit,
    /// For how long at least, up to now.
    pub duration: Duration,
    /// What the kernel says of the worker's thread. `None` when the stall is over.
    pub thread: Option<ThreadState>,
}

/// What keeps a worker.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Culprit {
    /// The poll, or the destructor, of this task.
    Task(TaskInfo),
    /// The poll of the future that a `block_on` was given.
    MainFuture,
    /// No poll: a waker that is not a task's, or a machine that gives the thread no CPU.
    NoTask,
}

impl Stall {
    /// Whether the worker has come back: this is the second report.
    pub fn is_over(&self) -> bool {
        self.thread.is_none()
    }
}

impl fmt::Display for Stall {
    #[inline]
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (worker, culprit, duration) = (self.worker, &self.culprit, self.duration);
        match &self.thread {
            Some(thread) => write!(
                f,
                "worker {worker} is kept by {culprit} for {duration:.1?} already; its thread {thread}"
            ),
            None => write!(
                f,
                "worker {worker} was kept by {culprit} for {duration:.1?}, and goes on"
            ),
        }
    }
}

impl fmt::Display for Culprit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Task(task) => task.fmt(f),
            Self::MainFuture => f.write_str("the future of a `block_on`"),
            Self::NoTask => f.write_str("something that is no task"),
        }
    }
}

type Callback = Box<dyn Fn(&Stall) + Send + Sync>;

/// What is called for a stall, and when.
#[derive(Clone)]
pub(super) struct OnStall {
    pub(super) threshold: Duration,
    pub(super) callback: Arc<AssertUnwindSafe<Callback>>,
}

impl fmt::Debug for OnStall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("OnStall").field(&self.threshold).finish()
    }
}

/// What the watch knows of the workers' progress.
#[derive(Debug)]
pub(super) struct Stalls {
    on_stall: Option<OnStall>,
    threshold: Duration,
    workers: Vec<Progress>,
}

#[derive(Debug)]
struct Progress {
    tick: u64,
    /// When the tick was first seen, or the worker last seen asleep.
    since: Duration,
    /// What was reported, until it is over.
    stall: Option<Stall>,
}

/// What a look at a worker has shown.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub(super) enum Look {
    Moved,
    Asleep,
    Stuck,
}

impl Stalls {
    pub(super) fn new(on_stall: Option<OnStall>, workers_count: usize) -> Self {
        Self {
            threshold: (on_stall.as_ref()).map_or(COUNTED_FROM, |on_stall| on_stall.threshold),
            on_stall,
            workers: (0..workers_count)
                .map(|_| Progress {
                    tick: 0,
                    since: clock::now(),
                    stall: None,
                })
                .collect(),
        }
    }

    /// How long the watch may wait between two looks, where `at_most` is what it would like to.
    pub(super) fn period(&self, at_most: Duration) -> Duration {
        at_most.min(self.threshold / 4)
    }

    /// Looks at `worker`, and reports a stall that has begun or ended.
    pub(super) fn look(&mut self, shared: &Shared, worker: usize, now: Duration) -> Look {
        let remote = &shared.remotes[worker];
        let progress = &mut self.workers[worker];
        let tick = remote.counters.tick();
        let look = match std::mem::replace(&mut progress.tick, tick) == tick {
            false => Look::Moved,
            true if remote.parker.is_parked() => Look::Asleep,
            true => Look::Stuck,
        };
        let duration = now.saturating_sub(progress.since);
        match look {
            Look::Stuck if progress.stall.is_none() && duration >= self.threshold => {
                if let Some(stall) = find(shared, worker, tick, duration) {
                    remote.stalls.add(1);
                    self.call(&stall);
                    self.workers[worker].stall = Some(stall);
                }
            }
            Look::Stuck => {}
            Look::Moved | Look::Asleep => {
                progress.since = now;
                if let Some(begun) = progress.stall.take() {
                    self.call(&Stall {
                        duration,
                        thread: None,
                        ..begun
                    });
                }
            }
        }
        look
    }

    /// A callback that panics has been heard of by whoever wanted to know.
    fn call(&self, stall: &Stall) {
        if let Some(OnStall { callback, .. }) = &self.on_stall
            && let Err(payload) = catch_unwind(AssertUnwindSafe(|| callback(stall)))
        {
            discard(payload);
        }
    }
}

/// What keeps `worker`. `None` if it has moved on from `tick` meanwhile, and if no thread has its core.
#[cold]
fn find(shared: &Shared, worker: usize, tick: u64, duration: Duration) -> Option<Stall> {
    let remote = &shared.remotes[worker];
    let culprit = match remote.counters.polled() {
        0 => Culprit::NoTask,
        MAIN_FUTURE => Culprit::MainFuture,
        address => shared
            .task_at(address)
            .map_or(Culprit::NoTask, Culprit::Task),
    };
    let thread = (*remote.thread.lock())?.state();
    (remote.counters.tick() == tick).then_some(Stall {
        worker,
        culprit,
        duration,
        thread: Some(thread),
    })
}

/// A stall counts from here on where nobody has said from where.
const COUNTED_FROM: Duration = Duration::from_millis(100);

/// The watch does not look more often than once a millisecond.
pub(super) const THRESHOLD_MIN: Duration = Duration::from_millis(4);
