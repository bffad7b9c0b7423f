//! The executor: workers that run tasks, and how they share the work.
//!
//! ```text
//!             spawn / wake on this worker                    wake from any other thread
//!                        │                                              │
//!          ┌─────────────▼───────────┐      overflow        ┌───────────▼──────────┐
//!  Core k  │ next slot   ring of 256 │─────────────────────▶│ injector (one, lock) │
//!          │ reactor k   registry k  │◀─────────────────────│                      │
//!          └───────▲───────────┬─────┘        visit         └──────────────────────┘
//!                  │ borrows   └───── steal half ───▶ another core
//!          thread: Worker { core, local tasks }
//! ```
//!
//! * A [`core::Core`] is what a worker needs to run tasks; a thread that holds one is a [`worker::Worker`]. The two are
//!   apart so that a core can change its thread: `block_on` borrows core 0 from a stand-in ([`seat`]).
//! * A wake on a worker goes to its own ring, so the worker that turned the reactor runs what it woke, and the connection
//!   stays where it is warm. A wake from elsewhere goes to the [`injector`].
//! * Between tasks, every 61 polls at the latest, and after 200 µs where it looks at the clock by then, a worker visits its reactor
//!   and the injector. It looks at the clock every 16 polls, and at each since the last stretch between two visits was slow; a task
//!   that yields after a slow poll goes behind what the visit brings, where no thief sees it: the sibling that takes the quick ones
//!   stays free for more. With the clock it looks at the injector. It takes no more events
//!   than its ring has room for, but at least 8, and leaves half of the room to what was injected.
//! * A worker with nothing to do steals, and then sleeps in its own reactor. How it does that without missing work is in
//!   [`idle`].
//! * A worker with more work than it can do before a sibling is awake wakes one. What it misjudges, because a task takes
//!   longer than those before it, the watch finds; and so it does, as do the siblings, the events of a worker that does not come
//!   to its reactor ([`watch`]).
//! * Tasks that are not `Send` belong to a thread ([`local`]).
//!
//! # No event waits behind a busy worker
//!
//! A reactor per worker means that a task which computes for 50 ms would keep not only its thread but the connections of a core. Four
//! parties see to it that it does not:
//!
//! | who | when | does |
//! |---|---|---|
//! | a sibling that turns its own reactor | a worker's tick has stood still for 250 µs or more | turns that worker's reactor, fires those of its timers that are half a millisecond late, and runs what that wakes |
//! | a sibling that sleeps on guard: one, while anybody is awake | the same for 100 µs, later a millisecond | the same |
//! | the watch, a thread | the same, seen every 1 to 10 ms; rests when all is quiet | the same, and has others take what the worker had queued; tells of stalls |
//! | the task itself | it says that it blocks: [`block_in_place`] | gives the core to a stand-in at once |
//!
//! The tick costs the worker nothing: it is its count of polls, together with the rounds in which it found none. Who helps wakes
//! tasks as anybody does, so they land where they may run: `Send` ones in the helper's ring or in the injector, others in the
//! inbox of their thread, where they wait. When the worker comes back it finds its reactor with fewer events and its queue
//! shorter, which is what it finds after any poll. The protocols are in [`watch`], [`idle`] and [`in_place`], the models in
//! `models.rs`: a sibling's turn and the watch's help beside a worker that parks or comes back, the watch that goes to rest beside one
//! that wakes, and a core that changes hands. What is local to the stuck thread waits with it, and nothing else does.
//!
//! # What can be looked into
//!
//! * [`Handle::metrics`]: what each worker counts as it goes ([`counters`], [`metrics`]).
//! * [`Handle::tasks`]: what each live task does and waits for, found by looking where wakers lie ([`dump`]).
//! * [`Builder::on_stall`]: which task keeps a worker, while it is at it ([`stall`]).
//! * [`Builder::observer`]: every spawn, poll and end ([`observer`]).
//!
//! # Shutdown
//!
//! `Shared::close` raises a flag and wakes everybody. A thread that sees it ends its local tasks, retires its core, and ends
//! all other tasks that are not in a poll, wherever they are queued. A future is only ever dropped on a thread that may drop it,
//! and never while it is being polled. Who ends what, and what becomes of a thread that does not come, is in [`shutdown`].
//!
//! # Rejected
//!
//! * *One epoll instance for all workers.* If one thread waits in it, the hang returns in another form: whoever has the reactor and
//!   is stuck keeps the events of all, and every message of the others crosses threads. If all wait in it, an event may go
//!   to any of them, so a registration must be one-shot or a task may be woken twice, and each wait is a system call
//!   (`epoll_ctl`, some 300 ns, where an echo takes 6 µs); `EPOLLEXCLUSIVE` is of no help, since it chooses among instances and not
//!   among those who wait in one. And no connection stays where it is warm. See also [`crate::reactor`].
//! * *Spreading fresh tasks over the workers.* Connections would be spread, but every `spawn` of a short task would pay a
//!   queue hop and a notification. Placing the **sources** does the same for connections and costs `spawn` nothing
//!   (`Reactors::choose`); sources of which the task keeps running elsewhere move there, and away from a worker whose tasks are
//!   slow as soon as another has come for them.
//! * *Waking a sibling for every second task in the ring.* Waking a thread costs as much as four echoes; with 64 connections on
//!   two workers, throughput was 0.88 times tokio's with it and 0.99 times without.
//! * *A parked worker on watch in place of the thread*, who sleeps in its own reactor with a time limit while others are busy. It is
//!   the one that the next piece of work wakes, and then nobody watches; and who fell asleep while all were well sees nothing. We
//!   have such a guard all the same, beside the thread and not in its place: it sees most stalls, and sooner, and the thread the
//!   rest. Its looks cost nothing that the kernel's accounting shows: at 1 000 messages a second over 64 connections two workers
//!   used 100 ms of CPU time in 3 s with a guard that looks every 100 µs, 80 with one that looks every millisecond while there is
//!   nothing to find, and 100 without one.
//! * *A shorter time slice for the workers' threads* (`sched_setattr`, 100 µs for some 3 ms), so that whoever wakes on the CPU of one that
//!   computes waits for less. The 99th percentile beside such a task was 1.3 to 3.4 ms with it and 1.1 to 3.0 without, and threads and
//!   processes that a task starts would inherit it.
//! * *Sweeping every sibling at each visit.* A system call for each sibling that is well: with eight workers that is seven for
//!   every one that brings something, 1 µs or more every 200 µs of each worker, and connections leave the worker where they are
//!   warm. To look at a tick is a load, and only those are asked whose tick stands still.
//! * *Nested epoll descriptors*, so that a sleeping worker hears of the events of all. Each event then wakes whoever sleeps, also
//!   when its owner is about to take it: measured with eight threads that sleep, each in an instance that holds the eight of the
//!   sockets, eight switches to a woken thread for each event, where there is one with an instance each. And whoever hears of an
//!   event needs a second `epoll_wait` to take it, some 700 ns.
//! * *A main future behind a condition variable.* It is usually the accept loop, and every connection would cross threads.

mod block_on;
mod budget;
mod builder;
mod clock;
mod contention;
mod context;
mod core;
mod counters;
mod dump;
mod group;
mod idle;
mod in_place;
mod injector;
mod local;
mod metrics;
mod observer;
mod polling;
mod queue;
mod registry;
mod runtime;
mod seat;
mod shared;
mod shutdown;
mod spawn_blocking;
mod stall;
mod task_local;
mod timers;
mod watch;
mod worker;
mod yield_now;

#[cfg(all(test, loom))]
pub(crate) mod models;

use std::panic::Location;

pub(crate) use self::budget::{poll_proceed, spend_on_copied};
pub use self::builder::Builder;
pub(crate) use self::clock::{now, now_before};
pub(crate) use self::context::place;
pub use self::dump::{TaskReport, TaskState, Wait};
pub use self::group::TaskGroup;
pub use self::in_place::block_in_place;
pub use self::metrics::{Histogram, Metrics, WorkerMetrics};
pub use self::observer::Observer;
pub use self::polling::BusyPoll;
pub use self::runtime::{EnterGuard, Handle, Runtime};
pub use self::shutdown::ShutdownReport;
pub use self::spawn_blocking::spawn_blocking;
pub(crate) use self::spawn_blocking::spawn_spared;
pub use self::stall::{Culprit, Stall};
pub use self::task_local::{Scope, TaskLocal};
pub(crate) use self::timers::{Timer, advance_virtual_time};
pub use self::yield_now::{YieldNow, yield_now};
use crate::task::JoinHandle;

/// Runs a future to its end on a runtime with one worker, made for it: this thread. No other thread is started.
///
/// Everything spawned inside is dropped before this returns.
///
/// # Panics
///
/// Inside a task or another `block_on`; when the system refuses the descriptors that a runtime needs (one epoll instance and
/// one eventfd); and when the future panics.
///
/// # Examples
///
/// ```
/// let answer = wakeful::block_on(async { wakeful::spawn(async { 42 }).await.unwrap() });
/// assert_eq!(answer, 42);
/// ```
#[track_caller]
pub fn block_on<F: Future>(future: F) -> F::Output {
    context::refuse_nested_block_on(None);
    let runtime = Builder::new()
        .workers(1)
        .build()
        .expect("a runtime needs an epoll instance and an eventfd");
    runtime.block_on(future)
}

/// Spawns a task onto the current runtime: it runs beside the caller, on any worker.
///
/// The task runs whether or not the handle is awaited, and goes on when the handle is dropped. After the runtime has begun
/// to shut down, the future is dropped at once and the handle says cancelled.
///
/// # Panics
///
/// Outside a runtime.
///
/// # Examples
///
/// ```
/// wakeful::block_on(async {
///     let task = wakeful::spawn(async { "done" });
///     assert_eq!(task.await.unwrap(), "done");
/// });
/// ```
#[track_caller]
pub fn spawn<F>(future: F) -> JoinHandle<F::Output>
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    context::expect_current("`spawn`").spawn(future, None, Location::caller())
}

/// Spawns a task with a name, which shows wherever the task is printed. Otherwise like [`spawn`].
///
/// # Panics
///
/// Outside a runtime.
///
/// # Examples
///
/// ```
/// wakeful::block_on(async {
///     let task = wakeful::spawn_named("answer", async { panic!("at once") });
///     let error = task.await.unwrap_err();
///     assert!(error.to_string().contains("`answer`"));
/// # Err::<(), _>(error)
/// }).unwrap_err();
/// ```
#[track_caller]
pub fn spawn_named<F>(name: &str, future: F) -> JoinHandle<F::Output>
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    let context = context::expect_current("`spawn_named`");
    context.spawn(future, Some(name.into()), Location::caller())
}

/// Spawns a task that stays on this thread, so its future need not be `Send`.
///
/// It is dropped, finished or not, when the thread leaves the runtime: inside `block_on`, before that returns; on a worker's
/// own thread, at the shutdown.
///
/// # Panics
///
/// On a thread that runs no tasks: outside a runtime, in a context that was only entered, or in a `block_on` beside another
/// one of the same runtime.
///
/// # Examples
///
/// ```
/// use std::cell::Cell;
/// use std::rc::Rc;
///
/// wakeful::block_on(async {
///     let count = Rc::new(Cell::new(0));
///     let task = wakeful::spawn_local({
///         let count = count.clone();
///         async move { count.set(count.get() + 1) }
///     });
///     task.await.unwrap();
///     assert_eq!(count.get(), 1);
/// });
/// ```
#[track_caller]
pub fn spawn_local<F>(future: F) -> JoinHandle<F::Output>
where
    F: Future + 'static,
    F::Output: 'static,
{
    Handle::spawn_local(future, Location::caller())
}
