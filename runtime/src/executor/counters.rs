//! What a worker counts as it goes, for [`super::metrics`].
//!
//! Every count has one writer, the thread that holds the core, so that to count is a load and a store: no read-modify-write, on
//! lines that nobody else writes. Whoever reads sees each count a moment late, and never one that goes back.
//!
//! * **Polls** are counted as they begin, and together with the rounds of the worker's loop that found no task they are its
//!   *tick*: it stands still while the worker is stuck; see [`super::watch`]. So to count polls costs nothing.
//! * **What is polled** is shown by its address, to be compared with those of live tasks and for nothing else. No task is at 0,
//!   where there is none, nor at [`MAIN_FUTURE`].
//! * **Times of polls** are samples, since to read the clock costs as much as a short poll: one in [`SAMPLE_EVERY`] tasks that are
//!   queued is marked with the time, and when its poll begins and ends the clock is read. That gives both how long it waited
//!   and how long it took.
//! * **Busy time** comes from the readings that the worker makes at each visit to its reactor in any case.
//!
//! All of it, with the question for an observer and the watch, takes some 19 instructions of an echo; the counts and the question eleven.
//! Against a build without any of it throughput was 1.02 times as high with one worker (quartiles 0.98 and 1.12) and 1.03 with two
//! (1.01 and 1.09): no loss that could be told from the noise. (64 connections, the server on one CPU and the load on the other, 13
//! interleaved pairs; bound by the load, which took 96 % of its CPU.)
//!
//! Rejected: *a mark for each wake.* It would be a reading of the clock per wake, some 20 ns. *Sampling by time* needs one too, and
//! by polls alone tells nothing of the wait before them.

use std::array;
use std::cell::Cell;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::task::Waker;
use std::time::Duration;

use super::metrics::{BUCKETS_COUNT, Histogram};
use crate::sys::clock;
use crate::task::{self, Runnable};

/// The counts of one worker.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    polls: Count,
    /// Rounds of the worker's loop without a task.
    idle_rounds: Count,
    /// See [`polled`](Self::polled).
    polled: AtomicUsize,
    pub(super) busy_nanos: Count,
    pub(super) parks: Count,
    pub(super) turns: Count,
    pub(super) events: Count,
    pub(super) steals_tried: Count,
    pub(super) steals_made: Count,
    pub(super) injected: Count,
    pub(super) sweeps: Count,
    pub(super) poll_times: Times,
    pub(super) waits: Times,
}

impl Counters {
    /// A poll of what has this address begins.
    #[inline]
    pub(super) fn begin_poll(&self, address: usize) {
        self.polls.add(1);
        self.polled.store(address, Relaxed);
    }

    #[inline]
    pub(super) fn end_poll(&self) {
        self.polled.store(0, Relaxed);
    }

    /// The poll of what has this address goes on, after another thread had the core.
    pub(super) fn resume_poll(&self, address: usize) {
        self.polled.store(address, Relaxed);
    }

    /// The worker has found nothing to run.
    pub(super) fn note_idle_round(&self) {
        self.idle_rounds.add(1);
    }

    pub(super) fn polls(&self) -> u64 {
        self.polls.get()
    }

    /// Another one each time the worker begins something.
    #[inline]
    pub(super) fn tick(&self) -> u64 {
        self.polls.get().wrapping_add(self.idle_rounds.get())
    }

    /// The address of the task that is being polled, [`MAIN_FUTURE`], or 0.
    pub(super) fn polled(&self) -> usize {
        self.polled.load(Relaxed)
    }
}

/// Chooses the tasks that are timed, of those that one thread queues.
#[derive(Debug, Default)]
pub(super) struct Sampler {
    until_next: Cell<u32>,
}

impl Sampler {
    /// `task` is about to be queued.
    #[inline]
    pub(super) fn note(&self, task: &Runnable) {
        match self.until_next.get().checked_sub(1) {
            Some(fewer) => self.until_next.set(fewer),
            None => self.mark(task),
        }
    }

    /// The tasks of `wakers` are about to be queued, by the worker that has taken their events.
    #[inline]
    pub(super) fn note_all(&self, wakers: &[Waker]) {
        let until_next = self.until_next.get() as usize;
        match wakers.get(until_next) {
            None => self.until_next.set((until_next - wakers.len()) as u32),
            Some(waker) => self.mark_woken(waker),
        }
    }

    #[cold]
    fn mark(&self, task: &Runnable) {
        self.until_next.set(SAMPLE_EVERY - 1);
        task.header().mark_queued(clock::now());
    }

    #[cold]
    fn mark_woken(&self, waker: &Waker) {
        self.until_next.set(SAMPLE_EVERY - 1);
        task::mark_woken(waker, clock::now());
    }
}

/// A count with one writer.
#[derive(Debug, Default)]
pub(super) struct Count(AtomicU64);

impl Count {
    #[inline]
    pub(super) fn add(&self, more: u64) {
        self.0.store(self.get().wrapping_add(more), Relaxed);
    }

    #[inline]
    pub(super) fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

/// How often something took how long; one writer.
#[derive(Debug)]
pub(super) struct Times {
    counts: [Count; BUCKETS_COUNT],
    sum_nanos: Count,
}

impl Times {
    pub(super) fn add(&self, time: Duration) {
        self.counts[Histogram::bucket_of(time)].add(1);
        self.sum_nanos
            .add(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX));
    }

    #[inline]
    pub(super) fn snapshot(&self) -> Histogram {
        Histogram::new(
            array::from_fn(|bucket| self.counts[bucket].get()),
            Duration::from_nanos(self.sum_nanos.get()),
        )
    }
}

impl Default for Times {
    fn default() -> Self {
        Self {
            counts: array::from_fn(|_| Count::default()),
            sum_nanos: Count::default(),
        }
    }
}

/// In [`Counters::polled`]: the future of a `block_on`.
pub(super) const MAIN_FUTURE: usize = 1;

/// One in so many tasks that are queued is timed.
pub(super) const SAMPLE_EVERY: u32 = 64;
