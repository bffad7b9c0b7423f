//! Tasks that are not `Send`. They belong to a thread, not to a core, and are never stolen.
//!
//! Their thread keeps a plain queue. A wake, or an abort, from another thread goes through the locked [`Inbox`], so a
//! local task is polled and dropped on its own thread only. When the thread leaves its runtime, what is left is dropped
//! there and then.
//!
//! The inbox must wake its thread, and a thread may hold a core (then it sleeps in that core's reactor) or none (then it
//! sleeps in `thread::park`). [`Inbox::seat`] says which. Both sides go through the lock of the inbox: the thread first
//! changes the seat and then empties the inbox, the sender first fills the inbox and then reads the seat.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::sync::{Arc, OnceLock, Weak};

use super::context;
use super::counters::Sampler;
use super::registry::Registry;
use super::shared::Shared;
use crate::task::{Ended, Runnable, Schedule, TaskRef};
use crate::util::sync::Mutex;
use crate::util::sync::atomic::{
    AtomicBool, AtomicUsize,
    Ordering::{Relaxed, Release},
};
use crate::util::sync::thread::{self, Thread};

/// The local tasks of the thread that owns this.
#[derive(Debug)]
pub(crate) struct LocalTasks {
    queue: RefCell<VecDeque<Runnable>>,
    /// Whether there is something in it: asked before each poll of the thread, of whatever task.
    queued: Cell<bool>,
    sampler: Sampler,
    /// Shared, so that the report of a shutdown can tell of a thread that is stuck; changed by this thread only.
    live: Arc<Registry>,
    inbox: Arc<Inbox>,
}

impl LocalTasks {
    /// For the current thread, which holds no core yet.
    pub(crate) fn new(shared: &Arc<Shared>) -> Self {
        let observer = shared.remotes[0].registry.observer().cloned();
        let live = Arc::new(Registry::new(LOCAL, observer));
        shared.locals.lock().push(live.clone());
        Self {
            queue: RefCell::default(),
            queued: Cell::new(false),
            sampler: Sampler::default(),
            live,
            inbox: Arc::new(Inbox {
                shared: Arc::downgrade(shared),
                thread: thread::current(),
                seat: AtomicUsize::new(NO_CORE),
                mail: Mutex::default(),
                filled: AtomicBool::new(false),
            }),
        }
    }

    pub(crate) fn inbox(&self) -> &Arc<Inbox> {
        &self.inbox
    }

    /// Takes a new task in, which has been counted, and queues it.
    pub(crate) fn adopt(&self, task: TaskRef, runnable: Runnable) {
        match self.live.insert(task) {
            Ok(()) => self.push(runnable),
            Err(task) => {
                task.shutdown(); // spawned by the destructor of another that was ended
                self.uncount(1);
            }
        }
    }

    pub(crate) fn push(&self, runnable: Runnable) {
        self.sampler.note(&runnable);
        self.queue.borrow_mut().push_back(runnable);
        self.queued.set(true);
    }

    /// The next task, those of the inbox after those that were here before.
    #[inline]
    pub(crate) fn pop(&self) -> Option<Runnable> {
        if self.inbox.filled.load(Relaxed) {
            self.empty_inbox();
        }
        let mut queue = self.queue.borrow_mut();
        let first = queue.pop_front();
        self.queued.set(!queue.is_empty());
        first
    }

    /// Whether there is something to run.
    #[inline]
    pub(crate) fn has_tasks(&self) -> bool {
        self.queued.get() || self.inbox.filled.load(Relaxed)
    }

    /// Whether the thread has no local task.
    pub(crate) fn is_empty(&self) -> bool {
        self.live.len() == 0
    }

    /// Lets go of a task that has completed.
    pub(crate) fn remove(&self, ended: Ended) {
        self.live.remove(ended);
    }

    /// The thread holds another core now, or none. Returns with the inbox emptied.
    pub(crate) fn move_to(&self, core: Option<usize>) {
        self.inbox.seat.store(core.unwrap_or(NO_CORE), Relaxed); // published by the lock that follows
        self.empty_inbox();
    }

    /// Ends all tasks. Wakes that come later are released. A second time there is nothing to do.
    pub(crate) fn close(&self) {
        let mail = {
            let mut mail = self.inbox.mail.lock();
            if std::mem::replace(&mut mail.closed, true) {
                return; // or what has ended would be counted again
            }
            std::mem::take(&mut mail.runnables)
        };
        drop(mail); // what they stand for ends below
        self.live.close();
        let left = self.queue.take();
        self.queued.set(false);
        drop(left);
        let ended = self.live.ended_count();
        self.uncount(ended);
        if let Some(shared) = self.inbox.shared.upgrade() {
            (shared.locals.lock()).retain(|live| !Arc::ptr_eq(live, &self.live));
            if shared.is_closed() {
                shared.ending.note_ended(ended);
            }
        }
    }

    fn uncount(&self, count: usize) {
        if let Some(shared) = self.inbox.shared.upgrade() {
            shared.local_tasks_count.fetch_sub(count, Relaxed); // a statistic
        }
    }

    fn empty_inbox(&self) {
        let runnables = {
            let mut mail = self.inbox.mail.lock();
            self.inbox.filled.store(false, Relaxed); // under the lock, as every change of it
            std::mem::take(&mut mail.runnables)
        };
        let mut queue = self.queue.borrow_mut();
        queue.extend(runnables);
        self.queued.set(!queue.is_empty());
    }
}

/// Where other threads leave local tasks that they woke.
#[derive(Debug)]
pub(crate) struct Inbox {
    shared: Weak<Shared>,
    thread: Thread,
    /// The core that the thread holds, or [`NO_CORE`].
    seat: AtomicUsize,
    mail: Mutex<Mail>,
    /// Whether there is mail; changed under the lock.
    filled: AtomicBool,
}

#[derive(Debug, Default)]
struct Mail {
    runnables: Vec<Runnable>,
    closed: bool,
}

impl Schedule for Arc<Inbox> {
    fn schedule(&self, runnable: Runnable) {
        let context = context::current();
        let worker = context.as_ref().and_then(|context| context.worker());
        match worker.map(|worker| worker.local()) {
            Some(local) if Self::ptr_eq(&local.inbox, self) => local.push(runnable),
            _ => self.send(runnable),
        }
    }
}

impl Inbox {
    #[cold]
    fn send(&self, runnable: Runnable) {
        let mut mail = self.mail.lock();
        if mail.closed {
            drop(mail);
            return; // the thread has ended the task, or is about to; this is only a reference to it
        }
        mail.runnables.push(runnable);
        self.filled.store(true, Release);
        let seat = self.seat.load(Relaxed); // see the module's note on the lock
        drop(mail);
        match self.shared.upgrade() {
            Some(shared) if seat != NO_CORE => shared.notify(seat),
            _ => self.thread.unpark(),
        }
    }
}

/// The scheduler of a task that was made for a thread before that thread took it in.
///
/// It is woken only after its first poll, and by then it is bound.
#[derive(Clone, Debug, Default)]
pub(crate) struct Pinned(Arc<OnceLock<Arc<Inbox>>>);

impl Pinned {
    pub(crate) fn bind(&self, inbox: &Arc<Inbox>) {
        let _ = self.0.set(inbox.clone());
    }
}

impl Schedule for Pinned {
    fn schedule(&self, runnable: Runnable) {
        self.0
            .get()
            .expect("a task is bound to its thread before it first runs")
            .schedule(runnable);
    }
}

/// In [`Inbox::seat`]: the thread holds no core.
const NO_CORE: usize = usize::MAX;

/// In a [`RegistryKey`](crate::task::RegistryKey): the task is registered with a thread.
pub(crate) const LOCAL: u32 = u32::MAX;
