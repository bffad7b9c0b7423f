//! Every live task of a runtime, and what it is doing.
//!
//! The registries know which tasks live, and their headers what they have done. What a task *waits for* nobody writes down: it is
//! found where it left its waker. A dump walks the sources and the timers and compares the wakers' tasks with those that live;
//! so the waits of a program that nobody asks cost nothing.
//!
//! 1. Take a reference to each live task, so that no address is used for another one meanwhile.
//! 2. Walk the sources and the timers, and note the address of the task and what it waits for.
//! 3. Look at each task: does it run, is it queued, or does it wait? One that waited before step 2 too, and has not been polled
//!    since, waits for what was found. If others have begun to wait meanwhile, step 2 is repeated, [`ROUNDS_MAX`] times in all.
//!
//! The timer of a socket's deadline or idle timeout wakes no task but who waits at the socket, and may go off too soon. So such a
//! moment is found at the source too, whose [`Limit`](crate::reactor::Limit) is asked for what holds at present.
//!
//! Each lock is held for [`STEP`] entries at a time, so that no worker waits long for one. What a task waits for through a waker that is not
//! its own (that of a `FuturesUnordered`, say), and whatever is not this runtime's (a channel, a lock, another task), is not known.
//!
//! Rejected: *a note in the task of what it waits for*, written at each wait and cleared after it. It would make every wait
//! dearer, and be right only for those that write it.

use std::fmt;
use std::os::fd::RawFd;
use std::sync::atomic::{Ordering::Acquire, fence};
use std::time::Duration;

use super::shared::Shared;
use crate::reactor::Direction;
use crate::sys::clock;
use crate::task::{self, Phase, TaskInfo, TaskRef};

/// A live task, as [`Handle::tasks`](crate::Handle::tasks) found it.
///
/// It prints as one line for people, such as
/// `task 7 (spawned at src/main.rs:12:5) waits until descriptor 9 is readable; 3 polls, the last 1.2s ago; alive for 60.0s`.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct TaskReport {
    /// Which task it is.
    pub info: TaskInfo,
    /// What it does.
    pub state: TaskState,
    /// How long ago it was spawned, to a few milliseconds.
    pub age: Duration,
    /// How often it was polled, modulo 2³²; the poll that it is in counts.
    pub polls: u32,
    /// How long ago its last poll began, to a few milliseconds. `None` if there was none.
    pub since_poll: Option<Duration>,
}

/// What a task does.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TaskState {
    /// It is being polled, or dropped.
    Running {
        /// The worker that does it; `None` for a thread that holds no worker's core at the time.
        worker: Option<usize>,
    },
    /// It is due, and waits for a worker; or it was polled again and again while the list was made.
    Queued,
    /// It waits for what has its waker: all of these that are known. With none of them it waits for something that is not this
    /// runtime's, or for another task: a channel, a lock, a handle.
    Waiting(Vec<Wait>),
}

/// Something that a task waits for.
#[derive(Copy, Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Wait {
    /// Data, a connection, or the end of the stream on this descriptor.
    Readable(RawFd),
    /// Room for data on this descriptor, or that it is connected.
    Writable(RawFd),
    /// A moment that is so far away; zero if it has come. [`Duration::MAX`] is never. Beside a descriptor it may be the end that a
    /// deadline or an idle timeout of the socket sets to the wait.
    Timer(Duration),
}

impl Shared {
    /// Every live task.
    #[inline]
    pub(super) fn dump(&self) -> Vec<TaskReport> {
        let locals = self.locals.lock().clone();
        let registries = (self.remotes.iter()).map(|remote| &remote.registry);
        let mut tasks = Vec::new();
        for registry in registries.chain(locals.iter().map(|registry| &**registry)) {
            registry.collect(STEP, &mut tasks);
        }
        let mut waits = Vec::new();
        let mut before: Vec<_> = Vec::new();
        for _ in 0..ROUNDS_MAX {
            before.clear();
            before.extend(tasks.iter().map(past));
            waits = self.waits();
            let is_settled = |(task, before): (&TaskRef, &(Phase, u32))| {
                let now = present(task);
                now.0 != Phase::Idle || now == *before
            };
            if tasks.iter().zip(&before).all(is_settled) {
                break;
            }
        }
        let now_ms = self.millis(clock::now());
        (tasks.iter().zip(before))
            .filter_map(|(task, before)| self.report_of(task, before, &waits, now_ms))
            .collect()
    }

    /// What tasks wait for, in the order of their addresses.
    #[inline]
    fn waits(&self) -> Vec<(usize, Wait)> {
        let mut waits = Vec::new();
        let now = self.clock.now();
        for reactor in self.reactors.iter() {
            reactor.visit_waiters(STEP, |fd, direction, until, waker| {
                let Some(task) = task::address_of(waker) else {
                    return;
                };
                waits.push(match direction {
                    Direction::Read => (task, Wait::Readable(fd)),
                    Direction::Write => (task, Wait::Writable(fd)),
                });
                waits.extend(until.map(|at| (task, Wait::Timer(at.saturating_sub(now)))));
            });
        }
        for remote in &self.remotes {
            remote.timers.visit(|deadline, waker| {
                let due_in = deadline.map_or(Duration::MAX, |at| at.saturating_sub(now));
                waits.extend(task::address_of(waker).map(|task| (task, Wait::Timer(due_in))));
            });
        }
        waits.sort_unstable();
        waits
    }

    /// `None` if the task has completed meanwhile.
    #[inline]
    fn report_of(
        &self,
        task: &TaskRef,
        before: (Phase, u32),
        waits: &[(usize, Wait)],
        now_ms: u32,
    ) -> Option<TaskReport> {
        let header = task.header();
        let address = header.address();
        let now @ (phase, polls) = present(task);
        let state = match phase {
            Phase::Complete => return None,
            Phase::Queued => TaskState::Queued,
            Phase::Running => TaskState::Running {
                worker: (self.remotes.iter())
                    .position(|remote| remote.counters.polled() == address),
            },
            Phase::Idle => {
                let first = waits.partition_point(|(task, _)| *task < address);
                let own = waits[first..]
                    .iter()
                    .take_while(|(task, _)| *task == address);
                let own: Vec<_> = own.map(|(_, wait)| *wait).collect();
                match own.is_empty() && before != now {
                    true => TaskState::Queued, // it has begun to wait since then, for what is not known
                    false => TaskState::Waiting(own),
                }
            }
        };
        // A worker may have looked at the clock since `now_ms` was read; and the milliseconds come round.
        let since = |ms: u32| match now_ms.wrapping_sub(ms) {
            future if future > u32::MAX / 2 => Duration::ZERO,
            past => Duration::from_millis(past.into()),
        };
        Some(TaskReport {
            info: task.info(),
            state,
            age: since(header.spawned_ms()),
            polls,
            since_poll: (polls > 0).then(|| since(header.last_poll_ms())),
        })
    }
}

impl fmt::Display for TaskReport {
    #[inline]
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}; {} polls", self.info, self.state, self.polls)?;
        if let Some(since) = self.since_poll {
            write!(f, ", the last {since:.1?} ago")?;
        }
        write!(f, "; alive for {:.1?}", self.age)
    }
}

impl fmt::Display for TaskState {
    #[inline]
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Running {
                worker: Some(worker),
            } => write!(f, "runs on worker {worker}"),
            Self::Running { worker: None } => f.write_str("runs"),
            Self::Queued => f.write_str("is queued"),
            Self::Waiting(waits) if waits.is_empty() => {
                f.write_str("waits for a channel, a lock or another task")
            }
            Self::Waiting(waits) => {
                f.write_str("waits until ")?;
                for (number, wait) in waits.iter().enumerate() {
                    let separator = if number > 0 { " or " } else { "" };
                    write!(f, "{separator}{wait}")?;
                }
                Ok(())
            }
        }
    }
}

impl fmt::Display for Wait {
    #[inline]
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Readable(fd) => write!(f, "descriptor {fd} is readable"),
            Self::Writable(fd) => write!(f, "descriptor {fd} is writable"),
            Self::Timer(Duration::MAX) => f.write_str("a moment that never comes"),
            Self::Timer(due_in) => write!(f, "a moment in {due_in:.1?}"),
        }
    }
}

/// Where a task is, and how often it had been polled before that.
///
/// If this is what [`present`] says later, and the task waits, it has waited all the time in between.
fn past(task: &TaskRef) -> (Phase, u32) {
    let polls = task.header().polls_count();
    fence(Acquire);
    (task.phase(), polls)
}

/// Where a task is, and how often it has been polled by then.
fn present(task: &TaskRef) -> (Phase, u32) {
    let phase = task.phase();
    fence(Acquire);
    (phase, task.header().polls_count())
}

/// How often is looked for what tasks wait for that have only begun to.
const ROUNDS_MAX: usize = 3;

/// How many entries of a list are looked at under its lock at a time.
const STEP: usize = 256;
