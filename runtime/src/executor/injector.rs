//! The queue that any thread may push to: tasks woken or spawned from outside, and what overflowed from a ring.

use std::collections::VecDeque;

use super::counters::SAMPLE_EVERY;
use crate::sys::clock;
use crate::sys::lock::Mutex;
use crate::task::Runnable;
use crate::util::sync::atomic::{
    AtomicUsize,
    Ordering::{Acquire, Release},
};

/// A locked queue with a length that can be read without the lock.
#[derive(Debug)]
pub(crate) struct Injector {
    queue: Mutex<Queue>,
    /// Written under the lock.
    len: AtomicUsize,
}

#[derive(Debug, Default)]
struct Queue {
    tasks: VecDeque<Runnable>,
    /// How many were pushed; comes round.
    pushed_count: u32,
    closed: bool,
}

impl Injector {
    pub(crate) fn new() -> Self {
        Self {
            queue: Mutex::new(Queue::default()),
            len: AtomicUsize::new(0),
        }
    }

    /// How many tasks wait.
    #[inline]
    pub(crate) fn len(&self) -> usize {
        self.len.load(Acquire)
    }

    /// Appends tasks.
    ///
    /// After [`close`](Self::close) they are released instead: the runtime is gone, and the registry has ended them or is
    /// about to.
    pub(crate) fn push(&self, tasks: impl IntoIterator<Item = Runnable>) {
        let mut tasks = tasks.into_iter();
        let mut queue = self.queue.lock();
        if !queue.closed {
            let mut count = queue.pushed_count;
            queue.tasks.extend(tasks.by_ref().inspect(|task| {
                if count.is_multiple_of(SAMPLE_EVERY) {
                    task.header().mark_queued(clock::now());
                }
                count = count.wrapping_add(1);
            }));
            queue.pushed_count = count;
            self.len.store(queue.tasks.len(), Release);
        }
        drop(queue);
        tasks.for_each(drop); // outside the lock: the last reference frees the task
    }

    /// Takes up to `max` of the oldest tasks and gives each to `take`.
    pub(crate) fn pop(&self, max: usize, mut take: impl FnMut(Runnable)) {
        if self.len() == 0 {
            return;
        }
        let mut queue = self.queue.lock();
        let count = max.min(queue.tasks.len());
        queue.tasks.drain(..count).for_each(&mut take);
        self.len.store(queue.tasks.len(), Release);
    }

    /// Refuses tasks from now on and releases those that wait.
    pub(crate) fn close(&self) {
        let mut queue = self.queue.lock();
        queue.closed = true;
        let tasks = std::mem::take(&mut queue.tasks);
        self.len.store(0, Release);
        drop(queue);
        drop(tasks);
    }
}
