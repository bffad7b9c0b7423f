//! The blocking pool: threads for closures that block.
//!
//! A closure is a task, a future that calls it at its first and only poll, so results, panics, aborts and `JoinHandle`s are
//! those of every task. It waits in one queue, first in, first out, and the threads take from there.
//!
//! ```text
//!   submit ──▶ queue ──▶ a thread runs it            the life of a thread:
//!     │
//!     ├─ a thread is idle: notify it                   started ──▶ busy ◀──────▶ idle
//!     ├─ else there may be more: start one                          │ closed      │ time is over, or closed
//!     └─ else one that is busy will come                            ▼             ▼
//!                                                                  leaving ──▶ departed
//! ```
//!
//! All of it is decided under one lock, taken once by a submit and once by a thread between two closures. This module starts
//! no thread and knows no runtime: [`Pool::submit`] tells its caller to start one, which then calls [`Pool::serve`].
//!
//! What must hold:
//!
//! * **A closure in the queue has a thread coming**: an idle one that was notified for it, one that was started for it, or as
//!   many as there may be, all busy. A thread lies down only when the queue is empty, and is up again under the lock of
//!   whoever fills it.
//! * Idle threads are a stack, from which the last but one is notified. So a pool that needs two threads keeps three, and the
//!   others find that their time is over.
//! * When the system refuses a thread, work waits for those there are. If there is none, nobody would ever come: then what is
//!   queued is cancelled, and the handles say so.
//! * A full queue makes `submit` wait, and nothing is lost.
//! * After [`Pool::close`] no closure begins; those in the queue are cancelled by [`Pool::cancel_queued`], which drops them and
//!   is therefore for a thread that may run code of others. Running ones end when they like: somebody may wait for them,
//!   with a deadline, and be told which they are. For those that are spared nobody waits, and nobody is told.
//! * `present` counts the threads of the system, also those that are only on their way in or out. It bounds nothing, but who
//!   waits for the end waits for it.
//!
//! Rejected: *to notify the thread that lay down last*. It may be on its way to sleep still, and a submit that follows the end of
//! a closure at once then took 3.3 times as long as on tokio, on two CPUs; the last but one takes as long (0.4 to 1.2 times). *To
//! notify the one that has slept longest*, as one condition for all does: 0.7 times, but a closure now and then keeps every
//! thread of a past burst alive. *Handing a closure to a thread directly*, which a busy thread that comes free earlier could not
//! take. *Running a closure on the submitting thread* when no other is to be had: it would block the worker that the closure was
//! kept away from.

#[cfg(all(test, loom))]
mod models;

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use crate::sys::clock::Deadline;
use crate::task::{self, JoinHandle, Meta, Runnable, Schedule, TaskInfo, TaskRef};
use crate::util::slab::Slab;
use crate::util::sync::thread::{self, Thread};
use crate::util::sync::{Condvar, Mutex, MutexGuard};

/// The queue of closures and the threads that run them.
#[derive(Debug)]
pub(crate) struct Pool {
    state: Mutex<State>,
    /// There is room in the queue.
    room: Condvar,
    /// A thread has departed, after the close.
    departed: Condvar,
    limits: Limits,
}

/// How large a pool may become.
#[derive(Clone, Debug)]
pub(crate) struct Limits {
    /// Threads at a time, at least 1.
    pub(crate) threads_max: usize,
    /// Closures that wait, at least 1.
    pub(crate) queue_max: usize,
    /// How long a thread waits for work before it ends.
    pub(crate) idle: Duration,
}

#[derive(Debug, Default)]
struct State {
    queue: VecDeque<Job>,
    /// Those that take from the queue, or soon will.
    threads: Slab<PoolThread>,
    /// Keys of the idle ones; the last lay down last.
    idle: Vec<usize>,
    running_count: usize,
    present_count: usize,
    submitters_waiting_count: usize,
    refused_count: u64,
    closed: bool,
    /// What [`Pool::cancel_queued`] has cancelled.
    cancelled: Vec<TaskInfo>,
}

#[derive(Debug, Default)]
struct PoolThread {
    /// `None` until the thread runs.
    thread: Option<Thread>,
    running: Option<TaskRef>,
    /// Whether what it runs is [spared](Job::spared).
    is_spared: bool,
    is_idle: bool,
    bed: Arc<Bed>,
}

/// Where one thread waits for work. Of its own, so that the right one is notified.
#[derive(Debug)]
struct Bed(Condvar);

/// A closure on its way to a thread.
#[derive(Debug)]
pub(crate) struct Job {
    task: TaskRef,
    runnable: Runnable,
    is_spared: bool,
}

/// What to do after a submit.
#[must_use]
#[derive(Debug)]
pub(crate) enum Submitted {
    /// Nothing: a thread will come.
    Queued,
    /// Start a thread that calls [`Pool::serve`] and [`Pool::depart`] with this key; if the system refuses it, call
    /// [`Pool::thread_was_refused`].
    NeedsThread(usize),
    /// The pool is closed: cancel it.
    Refused(Job),
}

impl Pool {
    pub(crate) fn new(limits: Limits) -> Self {
        debug_assert!(limits.threads_max > 0 && limits.queue_max > 0);
        Self {
            state: Mutex::default(),
            room: Condvar::new(),
            departed: Condvar::new(),
            limits,
        }
    }

    /// Queues a closure. Blocks while the queue is full.
    #[inline]
    pub(crate) fn submit(&self, job: Job) -> Submitted {
        let mut state = self.state.lock();
        while state.queue.len() >= self.limits.queue_max && !state.closed {
            state.submitters_waiting_count += 1;
            state = self.room.wait(state);
            state.submitters_waiting_count -= 1;
        }
        if state.closed {
            return Submitted::Refused(job);
        }
        state.queue.push_back(job);
        if let Some(bed) = state.rouse_one() {
            drop(state); // or it would wake to wait for the lock
            bed.0.notify_one();
            return Submitted::Queued;
        }
        if state.threads.len() < self.limits.threads_max {
            state.present_count += 1;
            return Submitted::NeedsThread(state.threads.insert_with(|_| PoolThread::default()));
        }
        Submitted::Queued
    }

    /// Runs closures until there is none for as long as a thread may be idle, or the pool closes.
    ///
    /// Calls `on_rest` when it has run something and nothing waits, after it has ceased to be
    /// [outstanding](Self::outstanding). The caller lets go of what it holds of the runtime, and calls
    /// [`depart`](Self::depart).
    pub(crate) fn serve(&self, key: usize, now_ms: impl Fn() -> u32, on_rest: impl Fn()) {
        self.state.lock().thread(key).thread = Some(thread::current());
        while let Some(runnable) = self.next(key, &on_rest) {
            let _ = runnable.run(now_ms()); // it is complete, and in no registry
        }
    }

    /// The thread has nothing more to do with the pool.
    pub(crate) fn depart(&self) {
        let mut state = self.state.lock();
        state.present_count -= 1;
        if state.closed {
            self.departed.notify_all();
        }
    }

    /// There is no thread for this key.
    #[inline]
    pub(crate) fn thread_was_refused(&self, key: usize) {
        let mut state = self.state.lock();
        state.threads.remove(key);
        state.refused_count += 1;
        let nobody_comes = state.threads.is_empty() && !state.closed;
        let stranded = match nobody_comes {
            true => std::mem::take(&mut state.queue),
            false => VecDeque::new(),
        };
        drop(state);
        if !stranded.is_empty() {
            self.room.notify_all();
        }
        stranded.into_iter().for_each(Job::cancel);
        self.depart();
    }

    /// From now on no closure is taken, and none begins. Runs no code of others.
    pub(crate) fn close(&self) {
        let mut state = self.state.lock();
        state.closed = true;
        while let Some(bed) = state.rouse_one() {
            bed.0.notify_one();
        }
        drop(state);
        self.room.notify_all();
    }

    /// After the close: drops the closures that wait.
    pub(crate) fn cancel_queued(&self) {
        let queue = {
            let mut state = self.state.lock();
            debug_assert!(state.closed);
            std::mem::take(&mut state.queue)
        };
        if queue.is_empty() {
            return;
        }
        let infos: Vec<_> = queue.iter().map(|job| job.task.info()).collect();
        queue.into_iter().for_each(Job::cancel);
        self.state.lock().cancelled.extend(infos);
    }

    /// After the close: waits until every thread has departed, except the calling one if it is of this pool, and those that
    /// run a closure that is [spared](Job::spared), or any closure if all are `spared`.
    pub(crate) fn wait_until_departed(&self, spared: bool, deadline: Deadline) {
        let mut state = self.state.lock();
        let own = state.running_here();
        loop {
            let staying = match spared {
                true => state.running_count,
                false => state.staying_count(own),
            };
            let remaining = deadline.remaining();
            if state.present_count <= staying || remaining.is_zero() {
                return;
            }
            (state, _) = self.departed.wait_timeout(state, remaining);
        }
    }

    /// The closures that run, except the one that asks and those that are [spared](Job::spared).
    #[inline]
    pub(crate) fn running(&self) -> Vec<TaskInfo> {
        let state = self.state.lock();
        let own = state.running_here();
        let others = (state.threads.iter()).filter(|(key, _)| Some(*key) != own);
        others
            .filter(|(_, thread)| !thread.is_spared)
            .filter_map(|(_, thread)| thread.running.as_ref())
            .filter(|task| !task.is_complete())
            .map(TaskRef::info)
            .collect()
    }

    /// The closures that were cancelled because the pool was closed. Tells of each once.
    pub(crate) fn take_cancelled(&self) -> Vec<TaskInfo> {
        std::mem::take(&mut self.state.lock().cancelled)
    }

    /// How many closures wait or run.
    ///
    /// A closure counts a moment longer than it runs: its handle has been woken by then.
    pub(crate) fn outstanding(&self) -> usize {
        let state = self.state.lock();
        state.queue.len() + state.running_count
    }

    /// Whether a closure would not have to wait for one before it, as far as can be told.
    pub(crate) fn begins_at_once(&self) -> bool {
        let state = self.state.lock();
        let threads_count = state.threads.len();
        let has_thread = threads_count < self.limits.threads_max
            || threads_count > state.running_count + state.queue.len();
        has_thread && !state.closed
    }

    /// How many closures wait.
    pub(crate) fn queued(&self) -> usize {
        self.state.lock().queue.len()
    }

    /// How many threads there are.
    pub(crate) fn threads_count(&self) -> usize {
        self.state.lock().present_count
    }

    /// How many threads the system has refused.
    pub(crate) fn refused_count(&self) -> u64 {
        self.state.lock().refused_count
    }

    /// The thread has run what it took before. Waits for the next closure; `None` if it is to leave.
    fn next(&self, key: usize, on_rest: impl Fn()) -> Option<Runnable> {
        let mut done; // declared first: perhaps the last reference, and not to be dropped under the lock
        let mut state = self.state.lock();
        done = state.note_done(key);
        let mut time_is_over = false;
        loop {
            if state.closed {
                state.remove(key);
                return None;
            }
            if let Some(job) = state.queue.pop_front() {
                if state.submitters_waiting_count > 0 {
                    self.room.notify_one();
                }
                return Some(state.note_begun(key, job));
            }
            if time_is_over {
                state.remove(key);
                return None;
            }
            if done.is_some() {
                drop(state);
                done = None; // not kept for as long as the thread is idle
                on_rest();
                state = self.state.lock();
                continue;
            }
            let bed = state.lie_down(key);
            (state, time_is_over) = self.sleep(state, &bed);
            time_is_over &= state.thread(key).is_idle;
        }
    }

    /// Releases the lock until the thread is notified or its time is over, or for no reason at all.
    fn sleep<'a>(
        &'a self,
        state: MutexGuard<'a, State>,
        bed: &Bed,
    ) -> (MutexGuard<'a, State>, bool) {
        if self.limits.idle.is_zero() {
            drop(state); // it may be idle for a moment, as far as others can tell
            return (self.state.lock(), true);
        }
        bed.0.wait_timeout(state, self.limits.idle)
    }
}

impl State {
    fn thread(&mut self, key: usize) -> &mut PoolThread {
        self.threads
            .get_mut(key)
            .expect("a thread has its key until it leaves")
    }

    /// One of the idle threads, if there is any, is idle no more. The caller notifies it.
    fn rouse_one(&mut self) -> Option<Arc<Bed>> {
        let last = self.idle.len().checked_sub(1)?;
        let key = self.idle.remove(last.saturating_sub(1));
        let thread = self.thread(key);
        thread.is_idle = false;
        Some(thread.bed.clone())
    }

    fn lie_down(&mut self, key: usize) -> Arc<Bed> {
        let thread = self.thread(key);
        let bed = thread.bed.clone();
        if !std::mem::replace(&mut thread.is_idle, true) {
            self.idle.push(key);
        }
        bed
    }

    /// The thread is idle no more, by itself.
    fn get_up(&mut self, key: usize) {
        if std::mem::replace(&mut self.thread(key).is_idle, false) {
            self.idle.retain(|idle| *idle != key);
        }
    }

    fn note_begun(&mut self, key: usize, job: Job) -> Runnable {
        self.get_up(key);
        self.running_count += 1;
        let thread = self.thread(key);
        thread.running = Some(job.task);
        thread.is_spared = job.is_spared;
        job.runnable
    }

    fn note_done(&mut self, key: usize) -> Option<TaskRef> {
        let done = self.thread(key).running.take();
        self.running_count -= usize::from(done.is_some());
        done
    }

    fn remove(&mut self, key: usize) {
        self.get_up(key);
        self.threads.remove(key);
    }

    /// How many threads a shutdown does not wait for: the one that it runs on, and those with a closure that is spared.
    fn staying_count(&self, own: Option<usize>) -> usize {
        let is_spared = |thread: &PoolThread| thread.running.is_some() && thread.is_spared;
        let threads = self.threads.iter();
        threads
            .filter(|(key, thread)| Some(*key) == own || is_spared(thread))
            .count()
    }

    /// The key of the calling thread, if a closure of this pool calls.
    fn running_here(&self) -> Option<usize> {
        let here = thread::current().id();
        let is_here = |thread: &PoolThread| {
            (thread.thread.as_ref()).is_some_and(|thread| thread.id() == here)
        };
        let found = self.threads.iter().find(|(_, thread)| is_here(thread));
        found.map(|(key, _)| key)
    }
}

impl Job {
    /// A task that calls `closure`.
    pub(crate) fn new<C, T>(closure: C, meta: Meta) -> (Self, JoinHandle<T>)
    where
        C: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        let (task, runnable, handle) = task::new(Call(Some(closure)), Once, meta);
        let job = Self {
            task,
            runnable,
            is_spared: false,
        };
        (job, handle)
    }

    /// Makes a closure of it that no shutdown waits for or tells of: nobody wants what it does if not its result.
    pub(crate) fn spared(mut self) -> Self {
        self.is_spared = true;
        self
    }

    /// Drops the closure; the handle says cancelled.
    pub(crate) fn cancel(self) {
        self.task.shutdown();
    }
}

impl Default for Bed {
    fn default() -> Self {
        Self(Condvar::new())
    }
}

/// The future of a closure: ready at the first poll.
struct Call<C>(Option<C>);

impl<C: FnOnce() -> T, T> Future for Call<C> {
    type Output = T;

    fn poll(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<T> {
        let closure = self.0.take().expect("ready at the first poll");
        Poll::Ready(closure())
    }
}

// A closure is called by value, wherever it is.
impl<C> Unpin for Call<C> {}

/// The scheduler of a task that is queued as it is made, and never again: it has no waker, and an abort finds it scheduled,
/// running or complete.
struct Once;

impl Schedule for Once {
    fn schedule(&self, _: Runnable) {
        unreachable!("a closure is queued once")
    }
}
