//! The core: what a worker needs to run tasks, apart from a thread.
//!
//! It can be handed from thread to thread, so it holds nothing that belongs to one. It also keeps the time: how long ago
//! reactor and injector were visited, and how often the clock must be read to know.

use std::cell::{Cell, RefCell};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::task::Waker;
use std::time::Duration;

use super::queue::{LocalQueue, Stealer};
use super::shared::Remote;
use crate::sys::clock;
use crate::task::Runnable;
use crate::util::rng::Rng;

/// What a worker needs to run tasks, and hands on when another thread is to run them.
#[derive(Debug)]
pub(crate) struct Core {
    index: usize,
    pub(super) queue: LocalQueue,
    rng: Rng,
    /// Whether the thread's own tasks had the first go at the last poll.
    pub(super) local_was_first: Cell<bool>,
    tick: Cell<u64>,
    /// How many times in a row the next task came from the next slot.
    next_streak: Cell<u8>,
    /// Polls since the last visit to reactor and injector.
    polls: Cell<u32>,
    /// The number of polls at which to read the clock again.
    look_at_polls: Cell<u32>,
    /// 1 while polls are slow, else [`POLLS_PER_LOOK`].
    look_every: Cell<u32>,
    visited_at: Cell<Duration>,
    /// Wakers that the reactor collected; kept for its memory.
    pub(super) woken: RefCell<Vec<Waker>>,
    /// The sibling ticks seen at the last unsuccessful search; see [`Core::take_stranded`].
    seen_ticks: RefCell<Vec<u64>>,
}

impl Core {
    pub(crate) fn new(index: usize, workers_count: usize) -> Self {
        Self {
            index,
            queue: LocalQueue::new(),
            rng: Rng::new(index as u64),
            local_was_first: Cell::new(false),
            tick: Cell::new(0),
            next_streak: Cell::new(0),
            polls: Cell::new(0),
            look_at_polls: Cell::new(POLLS_PER_LOOK),
            look_every: Cell::new(POLLS_PER_LOOK),
            visited_at: Cell::new(clock::now()),
            woken: RefCell::default(),
            seen_ticks: RefCell::new(vec![0; workers_count]),
        }
    }

    pub(crate) fn index(&self) -> usize {
        self.index
    }

    pub(crate) fn stealer(&self) -> Stealer {
        self.queue.stealer()
    }

    /// Shows the siblings that the worker has come back from a task.
    #[inline]
    pub(super) fn publish_tick(&self, remote: &Remote) {
        let tick = self.tick.get() + 1;
        self.tick.set(tick);
        remote.tick.store(tick, Relaxed); // they compare it with itself
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
        let victims = || {
            let all = (first..first + remotes.len()).map(|at| at % remotes.len());
            all.filter(|&at| at != self.index)
        };
        victims()
            .find_map(|victim| remotes[victim].stealer.steal_into(&self.queue))
            .or_else(|| victims().find_map(|victim| self.take_stranded(victim, &remotes[victim])))
    }

    /// The task in a sibling's next slot, if the sibling has not moved since this worker last looked: it is stuck in a long
    /// poll. Taking it from a healthy one would tear apart what belongs together.
    fn take_stranded(&self, victim: usize, remote: &Remote) -> Option<Runnable> {
        let tick = remote.tick.load(Relaxed);
        let seen = std::mem::replace(&mut self.seen_ticks.borrow_mut()[victim], tick);
        (seen == tick)
            .then(|| remote.stealer.steal_next())
            .flatten()
    }

    /// Counts a poll, and says whether reactor and injector have waited long enough: [`POLLS_MAX`] polls, or
    /// [`VISIT_INTERVAL`]. The clock is read every few polls, and at each while they are slow.
    #[inline]
    pub(super) fn visit_is_due(&self) -> bool {
        let polls = self.polls.get() + 1;
        self.polls.set(polls);
        polls >= POLLS_MAX || polls >= self.look_at_polls.get() && self.interval_is_over(polls)
    }

    fn interval_is_over(&self, polls: u32) -> bool {
        let over = clock::now().saturating_sub(self.visited_at.get()) >= VISIT_INTERVAL;
        self.look_every.set(if over { 1 } else { POLLS_PER_LOOK });
        self.look_at_polls.set(polls + self.look_every.get());
        over
    }

    /// A visit has been made; says when.
    pub(super) fn note_visit(&self) -> Duration {
        let now = clock::now();
        self.visited_at.set(now);
        self.polls.set(0);
        self.look_at_polls.set(self.look_every.get());
        now
    }
}

/// A visit to reactor and injector is never farther away than so many polls, …
const POLLS_MAX: u32 = 61;

/// … nor than this, as far as the polls let us look.
const VISIT_INTERVAL: Duration = Duration::from_micros(200);

/// Reading the clock costs 20 to 30 ns, about as much as a short poll.
const POLLS_PER_LOOK: u32 = 16;

/// As many as let a request and its answer pass between two tasks.
const NEXT_STREAK_MAX: u8 = 3;
