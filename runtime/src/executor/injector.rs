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

impl Queue {
    /// Counts the tasks from `first` on, which have just been pushed, and marks some of them to be timed.
    fn mark_samples(&mut self, first: usize) {
        let until_next = self.pushed_count.wrapping_neg() % SAMPLE_EVERY; // a power of two, so coming round is no matter
        let next = first + until_next as usize;
        if next < self.tasks.len() {
            let now = clock::now();
            for task in self.tasks.range(next..).step_by(SAMPLE_EVERY as usize) {
                task.header().mark_queued(now);
            }
        }
        let count = (self.tasks.len() - first) as u32;
        self.pushed_count = self.pushed_count.wrapping_add(count);
    }
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
        let mut queue = self.queue.lock();
        if queue.closed {
            drop(queue);
            return tasks.into_iter().for_each(drop); // outside the lock: the last reference frees the task
        }
        let waited = queue.tasks.len();
        for task in tasks {
            queue.tasks.push_back(task);
        }
        queue.mark_samples(waited);
        self.len.store(queue.tasks.len(), Release);
    }

    /// Takes up to `max` of the oldest tasks and gives each to `take`.
    pub(crate) fn pop(&self, max: usize, mut take: impl FnMut(Runnable)) {
        if self.len() == 0 {
            return;
        }
        let mut queue = self.queue.lock();
        let count = max.min(queue.tasks.len());
        for _ in 0..count {
            queue.tasks.pop_front().into_iter().for_each(&mut take);
        }
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
