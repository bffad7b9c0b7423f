//! The core: what a worker needs to run tasks, apart from a thread.
//!
//! It can be handed from thread to thread, so it holds nothing that belongs to one. It also keeps the time: how long ago
//! reactor and injector were visited, and how often the clock must be read to know.

use std::cell::{Cell, RefCell};
use std::sync::Arc;
use std::task::Waker;
use std::time::Duration;

use super::contention::Contention;
use super::counters::Counters;
use super::polling::{BusyPoll, Polling};
use super::queue::{LocalQueue, Stealer};
use super::shared::Remote;
use super::watch::Siblings;
use crate::reactor::EVENTS_MAX;
use crate::sys::clock;
use crate::sys::epoll::EventBuffer;
use crate::task::Runnable;
use crate::util::rng::Rng;

/// What a worker needs to run tasks, and hands on when another thread is to run them.
#[derive(Debug)]
pub(crate) struct Core {
    index: usize,
    pub(super) queue: LocalQueue,
    pub(super) rng: Rng,
    /// Whether the thread's own tasks had the first go at the last poll.
    pub(super) local_was_first: Cell<bool>,
    /// How many times in a row the next task came from the next slot.
    next_streak: Cell<u8>,
    /// Polls since the last visit to reactor and injector.
    polls: Cell<u32>,
    /// The number of polls at which to read the clock again.
    look_at_polls: Cell<u32>,
    /// 1 while polls are slow, else [`POLLS_PER_LOOK`].
    look_every: Cell<u32>,
    visited_at: Cell<Duration>,
    /// A single worker leaves the other CPUs to the senders.
    gives_way: bool,
    pub(super) contention: Contention,
    /// How many nanoseconds a poll takes at present, on average.
    poll_nanos: Cell<u64>,
    /// What turns of a reactor fill; kept for its memory.
    pub(super) harvest: RefCell<Harvest>,
    pub(super) siblings: Siblings,
    pub(super) polling: Polling,
}

/// What one turn of a reactor brings.
#[derive(Debug)]
pub(super) struct Harvest {
    pub(super) events: EventBuffer,
    pub(super) woken: Vec<Waker>,
}

impl Harvest {
    pub(super) fn new() -> Self {
        Self {
            events: EventBuffer::with_capacity(EVENTS_MAX),
            woken: Vec::new(),
        }
    }
}

impl Core {
    /// `seed` is the runtime's; every core of it makes choices of its own.
    pub(crate) fn new(index: usize, workers_count: usize, seed: u64, busy_poll: BusyPoll) -> Self {
        Self {
            index,
            queue: LocalQueue::new(workers_count > 1),
            // Indices are small and seeds often are, so they must not meet in the same bits.
            rng: Rng::new(seed.rotate_left(32) ^ index as u64),
            local_was_first: Cell::new(false),
            next_streak: Cell::new(0),
            polls: Cell::new(0),
            look_at_polls: Cell::new(POLLS_PER_LOOK),
            look_every: Cell::new(POLLS_PER_LOOK),
            visited_at: Cell::new(clock::now()),
            gives_way: workers_count > 1,
            contention: Contention::new(),
            poll_nanos: Cell::new(WAKE_NANOS), // until it is known, any task is worth a helper
            harvest: RefCell::new(Harvest::new()),
            siblings: Siblings::new(index, workers_count),
            polling: Polling::new(busy_poll),
        }
    }

    pub(crate) fn index(&self) -> usize {
        self.index
    }

    pub(crate) fn stealer(&self) -> Stealer {
        self.queue.stealer()
    }

    /// The next stealable task. The next slot goes first, but not for ever: two tasks that wake each other would keep all
    /// others waiting.
    #[inline]
    pub(super) fn next_task(&self) -> Option<Runnable> {
        let streak = self.next_streak.get();
        if streak < NEXT_STREAK_MAX
            && let Some(task) = self.queue.take_next()
        {
            self.next_streak.set(streak + 1);
            return Some(task);
        }
        self.next_streak.set(0);
        self.queue.pop().or_else(|| self.queue.take_next())
    }

    /// Takes half of a sibling's ring: returns one task, and keeps the others in the own ring, which is empty.
    pub(super) fn steal(&self, remotes: &[Arc<Remote>]) -> Option<Runnable> {
        let first = self.rng.below(remotes.len());
        (first..first + remotes.len())
            .map(|at| at % remotes.len())
            .filter(|&victim| victim != self.index)
            .find_map(|victim| remotes[victim].stealer.steal_into(&self.queue))
    }

    /// Counts a poll, and says whether reactor and injector have waited long enough: [`POLLS_MAX`] polls, or
    /// [`VISIT_INTERVAL`]. The clock is read every few polls, and at each while they are slow.
    #[inline]
    pub(super) fn visit_is_due(&self) -> bool {
        let polls = self.polls.get() + 1;
        self.polls.set(polls);
        polls >= self.look_at_polls.get() && self.interval_is_over(polls)
    }

    fn interval_is_over(&self, polls: u32) -> bool {
        if polls >= POLLS_MAX {
            return true;
        }
        let over = clock::now().saturating_sub(self.visited_at.get()) >= VISIT_INTERVAL;
        self.look_every.set(if over { 1 } else { POLLS_PER_LOOK });
        self.look_at_polls
            .set((polls + self.look_every.get()).min(POLLS_MAX));
        over
    }

    /// The worker stops polling, to visit or to sleep; says when.
    pub(super) fn note_pause(&self, counters: &Counters) -> Duration {
        let now = clock::now();
        let polls = self.polls.replace(0);
        if polls > 0 {
            let nanos = now.saturating_sub(self.visited_at.get()).as_nanos() as u64;
            counters.busy_nanos.add(nanos);
            self.poll_nanos
                .set((self.poll_nanos.get() * 3 + nanos / u64::from(polls)) / 4);
        }
        now
    }

    /// Whether the worker should give its CPU away before it sleeps; see `Worker::give_way`.
    #[inline]
    pub(super) fn may_give_way(&self) -> bool {
        self.gives_way && self.polls.get() > 1 && !self.contention.is_known(self.visited_at.get())
    }

    /// A visit has been made; says when.
    pub(super) fn note_visit(&self) -> Duration {
        let now = clock::now();
        self.visited_at.set(now);
        self.look_at_polls.set(self.look_every.get());
        now
    }

    /// When the last visit was made.
    #[inline]
    pub(super) fn visited_at(&self) -> Duration {
        self.visited_at.get()
    }

    /// Whether somebody who is woken now would find work left: whether what waits takes this worker longer than waking
    /// somebody takes.
    #[inline]
    pub(super) fn is_backlogged(&self) -> bool {
        self.poll_nanos
            .get()
            .saturating_mul(self.queue.len() as u64)
            >= WAKE_NANOS
    }
}

/// A visit to reactor and injector is never farther away than so many polls, …
const POLLS_MAX: u32 = 61;

/// … nor than this, as far as the polls let us look.
const VISIT_INTERVAL: Duration = Duration::from_micros(200);

/// What it takes to wake a thread that sleeps, on a virtual machine.
const WAKE_NANOS: u64 = 1_000_000;

/// Reading the clock costs 20 to 30 ns, about as much as a short poll.
const POLLS_PER_LOOK: u32 = 16;

/// As many as let a request and its answer pass between two tasks.
const NEXT_STREAK_MAX: u8 = 3;
